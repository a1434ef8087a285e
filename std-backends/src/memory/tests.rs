//! Tests of the storages in memory, with threads and clocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use traffik_core::storage::WhenFull;
use traffik_core::{ErrorKind, FixedWindow, Gcra, Limiter, ManualClock, Rate, TokenBucket};

/// On average, one in a thousand keys finds no room in a storage for as many keys. The hashes are the same
/// each time.
#[test]
fn the_nominal_capacity_displaces_next_to_nothing() {
    for capacity in [1_000usize, 10_000, 200_000] {
        let storages = 400_000 / capacity;
        let displaced = |seed: usize| {
            let storage = Memory::builder().capacity(capacity).clock(ManualClock::default());
            let storage = storage.build_with(seed as u64);
            let limiter = Limiter::new(Gcra::new(Rate::per_minute(1)), &storage);
            (0..capacity as u64).for_each(|key| assert!(limiter.check(&key).unwrap().is_allowed()));
            let displaced = storage.counters().evictions as usize;
            assert_eq!(storage.len(), capacity - displaced);
            displaced
        };
        let displaced: usize = (0..storages).map(displaced).sum();
        println!("{displaced} of {} keys, {capacity} at a time", capacity * storages);
        assert!(displaced <= capacity * storages / 1_000, "{displaced} of {}", capacity * storages);
    }
}

#[test]
fn a_full_storage_refuses_new_keys_and_keeps_the_old() {
    let storage =
        Memory::builder().capacity(8).when_full(WhenFull::Refuse).clock(ManualClock::default()).build();
    let limiter = Limiter::new(FixedWindow::new(Rate::per_minute(1)), &storage);
    let (mut kept, mut refused) = (Vec::new(), 0);
    for key in 0..1_000u64 {
        match limiter.check(&key) {
            Ok(decision) => kept.extend(decision.is_allowed().then_some(key)),
            Err(error) => refused += u64::from(error.kind() == ErrorKind::Full),
        }
    }
    assert_eq!((kept.len() as u64 + refused, storage.counters().refusals), (1_000, refused));
    assert!(kept.iter().all(|key| !limiter.check(key).unwrap().is_allowed()));
    storage.clear();
    assert!(storage.is_empty() && limiter.check(&kept[0]).unwrap().is_allowed());
}

#[test]
fn threads_admit_exactly_the_limit() {
    const THREADS: u64 = 8;
    let limiter = Limiter::new(
        TokenBucket::new(Rate::per_day(10_000)),
        Memory::builder().clock(ManualClock::default()).build(),
    );
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    admitted.fetch_add(limiter.check("hot").unwrap().is_allowed().into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 10_000);
}

/// Keys that compete for their sets, as many in use as there is room for. On a real clock, each has another
/// hit only after minutes.
#[test]
fn threads_admit_exactly_the_limit_of_keys_in_one_set() {
    const KEYS: u64 = 16;
    let storage = Memory::builder().capacity(10).when_full(WhenFull::Refuse).build();
    let limiter = Limiter::new(TokenBucket::new(Rate::per_day(500)), storage);
    let admitted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (limiter, admitted) = (&limiter, &admitted);
            scope.spawn(move || {
                for hit in 0..100 * KEYS {
                    let key = (hit * (2 * thread + 1) + thread) % KEYS;
                    let allowed = limiter.check(&key).unwrap().is_allowed();
                    admitted[key as usize].fetch_add(allowed.into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(admitted.into_iter().all(|admitted| admitted.into_inner() == 500));
}

/// Each thread names two keys of many in its own order: no deadlock, and both are charged or neither.
#[test]
fn threads_that_name_keys_in_any_order_do_not_block_each_other() {
    const KEYS: u64 = 40;
    let storage = Memory::builder().capacity(10_000).clock(ManualClock::default()).build();
    let limiter = Limiter::new(TokenBucket::new(Rate::per_day(100)), storage);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (limiter, admitted) = (&limiter, &admitted);
            scope.spawn(move || {
                for hit in 0..5_000 {
                    let (one, other) = ((hit * 7 + thread) % KEYS, (hit * 11 + 3 * thread) % KEYS);
                    let both = limiter.check_together([&one, &other], 1).unwrap();
                    admitted.fetch_add(u64::from(both.is_allowed()) * 2, Ordering::Relaxed);
                }
            });
        }
    });
    let used: u64 = (0..KEYS).map(|key| 100 - u64::from(limiter.peek(&key, 0).unwrap().remaining())).sum();
    assert_eq!(admitted.into_inner(), used);
}

#[test]
fn a_batch_decides_as_one_after_another() {
    let memory = || Memory::builder().capacity(100).clock(ManualClock::default()).build();
    let limit = TokenBucket::new(Rate::per_minute(3));
    let (batch, single) = (Limiter::new(limit, memory()), Limiter::new(limit, memory()));
    let keys: Vec<u64> = (0..200).map(|hit| hit * hit % 37).collect();
    let mut answers = Vec::new();
    batch.check_many(&keys, |key, answer| answers.push((*key, answer)));
    let expected: Vec<_> = keys.iter().map(|key| (*key, single.check(key))).collect();
    assert_eq!(answers, expected);
}

/// A real clock and real threads: never more than the burst and the refill meanwhile.
#[test]
fn a_real_clock_admits_no_more_than_the_bound() {
    let limiter = Limiter::new(Gcra::new(Rate::per_second(10_000)).burst(100).unwrap(), Memory::new(16));
    let began = limiter.now();
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while limiter.now().since(began) < Duration::from_millis(100) {
                    admitted.fetch_add(limiter.check("hot").unwrap().is_allowed().into(), Ordering::Relaxed);
                }
            });
        }
    });
    let bound = 100 + limiter.now().micros_since(began) * 10_000 / 1_000_000;
    let admitted = admitted.into_inner();
    assert!((1..=bound).contains(&admitted), "{admitted} of {bound}");
}

#[test]
fn a_panic_under_the_lock_does_not_close_the_storage() {
    let storage = Memory::<Gcra>::new(1);
    let panicked = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let _guard = storage.shards.tables().next();
                panic!("while the lock is held");
            })
            .join()
    });
    assert!(panicked.is_err());
    let op = Op::Check(Hit::new(1));
    assert!(storage.apply(&Gcra::new(Rate::per_second(1)), "key", &op, storage.now()).is_ok());
}

/// One client is denied again and again among many that are not: its name is kept, but only if names are
/// tracked.
#[test]
fn whoever_is_denied_is_known_by_name() {
    for names in [0, 64] {
        let storage = Memory::builder().clock(ManualClock::default()).track_denied_keys(names).build();
        let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(2)), &storage);
        for turn in 0..10u64 {
            let _ = limiter.check(&("greedy", 7u8)).unwrap();
            let _ = limiter.check(&turn).unwrap();
            limiter.check_many(&["batch"], |_, answer| assert!(answer.is_ok()));
            let _ = limiter.check_together(["batch", "third"], 1).unwrap();
            let _ = limiter.peek("only asked", 3).unwrap();
        }
        let denied: Vec<_> = storage.denied(9).into_iter().map(|it| (it.name, it.denials)).collect();
        // Of "batch" two are admitted, one alone and one together; 18 are not.
        let expected = [("batch".to_owned(), 18), ("greedy 7".to_owned(), 8)];
        assert_eq!(denied, if names == 0 { &[][..] } else { &expected });
        storage.clear();
        assert!(storage.denied(9).is_empty());
    }
}

/// New keys pass through a storage that is far too small: the one client that is limited gets not one
/// admission too many, since an exhausted key is not given up while others are there.
#[test]
fn a_flood_of_new_keys_lets_no_limited_client_through() {
    let storage = Memory::builder().capacity(1_000).clock(ManualClock::default()).build();
    let limiter = Limiter::new(Gcra::new(Rate::per_second(10)).burst(20).unwrap(), &storage);
    let mut admitted = 0;
    for key in 0..200_000u64 {
        assert!(limiter.check(&key).unwrap().is_allowed());
        admitted += u64::from(limiter.check("limited").unwrap().is_allowed());
        storage.clock().advance(Duration::from_micros(100));
    }
    assert!(storage.counters().evictions > 100_000);
    // 20 at once and 10 in each of the 20 seconds less the last tenth of a millisecond.
    assert_eq!(admitted, 20 + 199);
}

/// A thread that was interrupted between reading the clock and asking has an earlier time, even of the tick
/// before: nothing is forgotten.
#[test]
fn a_reading_that_comes_late_forgets_nothing() {
    const TICK: u64 = 1 << 21;
    let limit = Gcra::new(Rate::per_second(10_000)).burst(100).unwrap();
    let begin = 1_800_000_000_000_000 / TICK * TICK;
    for late in [0, 1, 9_000, 20_000, 500_000, 1_000_000] {
        let memory = Memory::builder().capacity(16).clock(ManualClock::default()).build();
        let admitted = |at| {
            let op = Op::Check(Hit::new(1));
            let check = || memory.apply(&limit, "hot", &op, Timestamp::from_micros(at)).unwrap().is_allowed();
            (0..300).filter(|_| check()).count()
        };
        assert_eq!(admitted(begin + 1), 100, "{late}");
        assert_eq!(admitted(begin + 1 - late), 0, "{late} us late");
        assert_eq!(admitted(begin + 1), 0, "{late} us late");
        assert_eq!(admitted(begin + 1 + 5_000), 50, "{late} us late");
        // Another limit has a hit recorded at a late time.
        let wider = Gcra::new(Rate::per_second(10_000)).burst(101).unwrap();
        let one = Op::Check(Hit::new(1));
        let decision =
            memory.apply(&wider, "hot", &one, Timestamp::from_micros(begin + 5_001 - late)).unwrap();
        assert!(decision.is_allowed(), "{late}");
        assert_eq!(admitted(begin + 5_001), 0, "{late} us late");
    }
}
