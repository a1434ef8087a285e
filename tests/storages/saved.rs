//! Firmware's storages over a reset: no key has more than it had, none is locked, and no wait is wrong.

// Chooses what a critical section is.
use critical_section as _;

use std::sync::Arc;
use std::time::Duration;

use traffik::laws::storage;
use traffik::{
    Clock, ErrorKind, Fixed, FixedWindow, Gcra, HeapLog, Hit, Limiter, ManualClock, OneKey, Op, Rate, Shared,
    SlidingLog, Storage, StorageError, Strategy, Timestamp, TokenBucket, rate,
};

type Uptime = Arc<ManualClock>;

/// Late enough that a clock can be set back by days; in the middle of a window.
const START: Timestamp = Timestamp::from_micros(1_800_000_012_345_678);

fn at(now: Timestamp) -> Uptime {
    Arc::new(ManualClock::new(now))
}

/// A storage that can be saved.
trait Saved<S: Strategy>: Storage<S> + Sized {
    const ROOM: usize;
    fn boot(clock: Uptime, seed: u64) -> Self;
    fn save(&self, out: &mut [u8]) -> Result<usize, StorageError>;
    fn restore(&self, bytes: &[u8]) -> Result<(), StorageError>;

    fn image(&self) -> Vec<u8> {
        let mut image = vec![0xff; Self::ROOM];
        let length = self.save(&mut image).unwrap();
        image.truncate(length);
        image
    }
}

macro_rules! saved {
    ($type:ty, $boot:expr) => {
        impl<S: Strategy> Saved<S> for $type {
            const ROOM: usize = Self::SAVED;

            fn boot(clock: Uptime, seed: u64) -> Self {
                let boot: fn(Uptime, u64) -> Self = $boot;
                boot(clock, seed)
            }

            fn save(&self, out: &mut [u8]) -> Result<usize, StorageError> {
                Self::save(self, out)
            }

            fn restore(&self, bytes: &[u8]) -> Result<(), StorageError> {
                Self::restore(self, bytes)
            }
        }
    };
}

saved!(Fixed<S, Uptime, 8>, Self::new);
saved!(Fixed<S, Uptime, 12, Shared<0>>, Self::shared);
saved!(Fixed<S, Uptime, 130>, Self::new);
saved!(OneKey<S, Uptime>, |clock, _| Self::new(clock));
saved!(OneKey<S, Uptime, Shared<1>>, |clock, _| Self::shared(clock));

/// A storage that is never reset beside one that is, which has to answer alike.
///
/// At each boot an uptime begins at some seconds, or else the clock knows the time and says how long it was
/// off.
fn agrees<S: Strategy, M: Saved<S>>(strategy: &S, is_uptime: bool) {
    let name = format!("{}, uptime: {is_uptime}", std::any::type_name::<(S, M)>());
    let (clock, mut device) = (at(START), at(START));
    let (steady, mut reset) = (M::boot(Arc::clone(&clock), 1), M::boot(Arc::clone(&device), 1));
    let mut draw = 7u64;
    for step in 0..400u64 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if step % 9 == 8 {
            let image = reset.image();
            let off = Duration::from_micros((draw >> 40) % 3_000_000);
            device = if is_uptime {
                at(Timestamp::EPOCH + off)
            } else {
                clock.advance(off);
                at(storage_now::<S>(&steady))
            };
            reset = M::boot(Arc::clone(&device), step);
            reset.restore(&image).unwrap();
        }
        assert_eq!(reset.now(), steady.now(), "{name}");
        let (key, cost) = ((draw >> 33) % 3, (draw >> 50) % 3);
        let op = Op::Check(Hit::new(<S::Cost as traffik::Cost>::uniform(cost as u32)));
        let told = (reset.apply_now(strategy, &key, &op), steady.apply_now(strategy, &key, &op));
        assert_eq!(told.0, told.1, "{name}, step {step}");
        assert_eq!(reset.load(&key), steady.load(&key), "{name}, step {step}");
        let passes = Duration::from_micros((draw >> 20) % 400_000);
        clock.advance(passes);
        device.advance(passes);
    }
}

fn storage_now<S: Strategy>(storage: &impl Storage<S>) -> Timestamp {
    storage.now()
}

macro_rules! with_each_limit {
    ($check:ident) => {
        for rate in [rate!("5/s"), rate!("7/3s"), rate!("20/min")] {
            macro_rules! each {
                ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                    let make: fn(Rate) -> Option<_> = $make;
                    $check(make(rate).unwrap());
                };
            }
            traffik::every_strategy!(each);
            $check((TokenBucket::new(rate), FixedWindow::new(rate!("30/min"))));
        }
    };
}

#[test]
fn a_storage_that_was_reset_decides_as_one_that_was_not() {
    fn check<S: Strategy>(strategy: S) {
        for is_uptime in [true, false] {
            agrees::<S, Fixed<S, Uptime, 8>>(&strategy, is_uptime);
            agrees::<S, OneKey<S, Uptime>>(&strategy, is_uptime);
        }
        agrees::<S, Fixed<S, Uptime, 12, Shared<0>>>(&strategy, true);
        agrees::<S, OneKey<S, Uptime, Shared<1>>>(&strategy, true);
    }
    with_each_limit!(check);
    agrees::<Gcra, Fixed<Gcra, Uptime, 130>>(&Gcra::new(rate!("7/3s")), true);
}

/// An uptime that has come to more than the time of saving: that much certainly went by.
#[test]
fn an_uptime_beyond_the_time_of_saving_counts() {
    let limit = TokenBucket::new(rate!("1/min"));
    let before = Limiter::new(limit, Fixed::<TokenBucket, Uptime, 8>::boot(at(Timestamp::EPOCH), 1));
    assert!(before.check("key").unwrap().is_allowed());
    let booted = Fixed::<TokenBucket, Uptime, 8>::boot(at(Timestamp::from_micros(20_000_000)), 2);
    booted.restore(&before.storage().image()).unwrap();
    let after = Limiter::new(limit, booted);
    assert_eq!(after.check("key").unwrap().retry_after(), Some(Duration::from_secs(40)));
}

/// Also a state of a clock that was set back before it was saved, and of one that is set back afterwards.
#[test]
fn a_restored_storage_locks_no_key_out() {
    fn check<S: Strategy>(strategy: S) {
        fn holds<S: Strategy, M: Saved<S>>(strategy: &S) {
            let clock = at(START);
            let before = M::boot(Arc::clone(&clock), 1);
            let one = Op::Check(Hit::new(<S::Cost as traffik::Cost>::uniform(1)));
            for _ in 0..100 {
                let _ = before.apply_now(strategy, &"key", &one).unwrap();
            }
            clock.set(Timestamp::from_micros(START.as_micros() - 40 * 86_400_000_000));
            // For as long as it can be set back in what follows.
            let device = at(Timestamp::from_micros(40 * 86_400_000_000));
            let after = M::boot(Arc::clone(&device), 2);
            after.restore(&before.image()).unwrap();
            let began = storage_now::<S>(&after);
            assert_eq!(began, storage_now::<S>(&before));
            while let traffik::Outcome::Deny { retry_after } =
                traffik::Verdict::outcome(&after.apply_now(strategy, &"key", &one).unwrap())
            {
                device.advance(retry_after);
                let lasted = storage_now::<S>(&after).micros_since(began);
                assert!(lasted <= strategy.max_ttl(), "{}", std::any::type_name::<(S, M)>());
            }
            let ahead = storage_now::<S>(&after).micros_since(device.now());
            let set = |now: Timestamp| device.set(Timestamp::from_micros(now.as_micros() - ahead));
            assert_eq!(storage::clock_may_be_set_back(strategy, &after, set), Ok(()));
        }
        holds::<S, Fixed<S, Uptime, 8>>(&strategy);
        holds::<S, OneKey<S, Uptime>>(&strategy);
    }
    with_each_limit!(check);
}

/// Bytes that are refused change nothing.
fn refuses<S: Strategy, M: Saved<S>>(storage: &M, bytes: &[u8]) -> bool {
    let before = storage.image();
    let refused = storage.restore(bytes).map_err(|error| error.kind()) == Err(ErrorKind::Corrupt);
    refused && storage.image() == before
}

#[test]
fn changed_bytes_are_refused_and_change_nothing() {
    fn check<S: Strategy, M: Saved<S>>(strategy: S) {
        let used = |seed| {
            let limiter = Limiter::new(strategy.clone(), M::boot(at(START), seed));
            for key in 0..seed {
                let _ = limiter.check(&key).unwrap();
            }
            limiter
        };
        let (image, other) = (used(2).storage().image(), used(3));
        let name = std::any::type_name::<(S, M)>();
        for bit in 0..image.len() * 8 {
            let mut flipped = image.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refuses(other.storage(), &flipped), "{name}: bit {bit}");
        }
        for length in 0..image.len() {
            assert!(refuses(other.storage(), &image[..length]), "{name}: {length} bytes");
        }
        assert!(refuses(other.storage(), &[0xff; 4_096]) && refuses(other.storage(), &[0; 4_096]));
        // As it lies in a page of flash that was erased before.
        let page = [&*image, &[0xff; 100]].concat();
        other.storage().restore(&page).unwrap();
        assert_eq!(other.storage().image(), image);
    }
    check::<_, Fixed<_, _, 8>>(Gcra::new(rate!("1/h")));
    check::<_, OneKey<_, _>>(Gcra::new(rate!("1/h")));
    check::<_, Fixed<_, _, 8>>(SlidingLog::<3>::new(rate!("3/h")).unwrap());
    check::<_, OneKey<_, _>>((TokenBucket::new(rate!("5/h")), FixedWindow::new(rate!("3/h"))));
}

#[test]
fn what_another_storage_saved_is_refused() {
    fn image<S: Strategy, M: Saved<S>>(strategy: S) -> Vec<u8> {
        let limiter = Limiter::new(strategy, M::boot(at(START), 1));
        assert!(traffik::Verdict::outcome(&limiter.check(&0).unwrap()).is_allowed());
        limiter.storage().image()
    }
    let bucket = || TokenBucket::new(rate!("2/h"));
    let mine = Fixed::<TokenBucket, Uptime, 8>::boot(at(START), 1);
    let one = OneKey::<TokenBucket, Uptime>::boot(at(START), 1);
    for foreign in [
        image::<_, Fixed<_, _, 8>>(FixedWindow::new(rate!("2/h"))),
        image::<_, Fixed<_, _, 8>>((bucket(), bucket())),
        image::<_, Fixed<_, _, 12, Shared<0>>>(bucket()),
    ] {
        assert!(refuses(&mine, &foreign) && refuses(&one, &foreign));
    }
    assert!(refuses(&mine, &image::<_, OneKey<_, _>>(bucket())));
    assert!(refuses(&one, &image::<_, Fixed<_, _, 8>>(bucket())));
    assert!(refuses(&one, &image::<_, OneKey<_, _>>(FixedWindow::new(rate!("2/h")))));
    // Buckets of all kinds share their states.
    assert!(!refuses(&mine, &image::<_, Fixed<_, _, 8>>(Gcra::new(rate!("2/h")))));
}

/// A larger table takes over all of a smaller one, as long as both are of one set.
#[test]
fn a_table_may_grow_over_a_reset() {
    fn moves<const FROM: usize, const TO: usize>() -> Result<usize, ErrorKind> {
        let limit = TokenBucket::new(rate!("100/h"));
        let before = Limiter::new(limit, Fixed::<TokenBucket, _, FROM>::new(at(START), 1));
        for key in 0..FROM as u32 {
            assert!(before.check_n(&key, key % 90 + 1).unwrap().is_allowed());
        }
        let mut image = vec![0; <Fixed<TokenBucket, Uptime, FROM>>::SAVED];
        let length = before.storage().save(&mut image).unwrap();
        let after = Limiter::new(limit, Fixed::<TokenBucket, _, TO>::new(at(START), 2));
        after.storage().restore(&image[..length]).map_err(|error| error.kind())?;
        for key in 0..FROM as u32 {
            assert_eq!(after.peek(&key, 0).unwrap().remaining(), 100 - (key % 90 + 1));
        }
        Ok(after.storage().len())
    }
    assert_eq!(moves::<8, 8>(), Ok(8));
    assert_eq!(moves::<8, 9>(), Ok(8));
    assert_eq!(moves::<64, 127>(), Ok(64));
    assert_eq!(moves::<5, 100>(), Ok(5));
    for refused in [moves::<9, 8>(), moves::<64, 128>(), moves::<128, 256>()] {
        assert_eq!(refused, Err(ErrorKind::Corrupt));
    }
}

#[test]
fn a_buffer_that_is_too_short_is_refused() {
    type Small = Fixed<Gcra, Uptime, 2>;
    let limiter = Limiter::new(Gcra::new(rate!("1/h")), Small::new(at(START), 1));
    assert!(limiter.check("a").unwrap().is_allowed() && limiter.check("b").unwrap().is_allowed());
    let mut out = [0; Small::SAVED];
    for length in 0..Small::SAVED {
        let saved = limiter.storage().save(&mut out[..length]);
        assert_eq!(saved.map_err(|error| error.kind()), Err(ErrorKind::Invalid), "{length}");
    }
    assert_eq!(limiter.storage().save(&mut out), Ok(Small::SAVED));
}

/// A state on the heap is saved as any other.
#[test]
fn a_log_on_the_heap_is_saved() {
    type Logs = Fixed<HeapLog, Uptime, 2>;
    let limit = HeapLog::new(rate!("5/h")).unwrap();
    let before = Limiter::new(limit, Logs::new(at(START), 1));
    assert!(before.check_n("key", 4).unwrap().is_allowed());
    let mut image = vec![0; Logs::SAVED];
    let length = before.storage().save(&mut image).unwrap();
    let after = Limiter::new(limit, Logs::new(at(START), 2));
    after.storage().restore(&image[..length]).unwrap();
    assert_eq!(after.peek("key", 0).unwrap().remaining(), 1);
}

/// A clock that learns the time of day after the restore, and one whose battery was empty: what the storage
/// was ahead of it before is not added to the time of day, nor carried on by the next image.
#[test]
fn the_time_of_day_is_that_of_the_clock_also_if_it_is_set_late() {
    type Table = Fixed<FixedWindow, Uptime, 8>;
    let mut image = Table::boot(at(START), 1).image();
    for boot in 1..=4 {
        let clock = at(Timestamp::from_micros(7));
        let table = Table::boot(Arc::clone(&clock), boot);
        table.restore(&image).unwrap();
        assert!(storage_now::<FixedWindow>(&table) >= START);
        let now = START.plus_micros(boot * 3_600_000_000);
        clock.set(now);
        assert_eq!(storage_now::<FixedWindow>(&table), now);
        image = table.image();
    }
}
