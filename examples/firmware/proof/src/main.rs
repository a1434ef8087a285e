//! Calls every operation on each limit, at rates and times unknown at compile time. The panic handler calls a
//! function that does not exist, so the program links only if no panic is reachable. It is linked, and never
//! run.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use core::time::Duration;

use figures::registers::{RADIO, RANDOM, READING, SENSOR, WAIT, read, write};
use figures::{SharedKey, Uptime};
use traffik_core::storage::WhenFull;
use traffik_core::strategy::{Cost, Scale};
use traffik_core::{
    All, Class, Clock, Fixed, Gcra, Hit, Hours, Label, Limiter, Op, Outcome, Priority, Rate, Ratio, Storage,
    Strategy, Tiered, TimeOfDay, Timestamp, TokenBucket, Verdict,
};

board::begin_with!(main);

fn main() -> ! {
    loop {
        let period = Duration::from_micros(word().into());
        let Ok(rate) = Rate::new(read(READING), period) else { continue };
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                make(rate).into_iter().for_each(scaled);
            };
        }
        traffik_core::every_strategy!(each);
        let bucket = TokenBucket::new(rate);
        let hour = |word: u32| (word as u8, (word >> 8) as u8);
        let hours = [Hours::new(hour(word()), hour(word()), ratio())];
        TimeOfDay::new(bucket, hours).into_iter().for_each(every);
        Priority::new(bucket, [(Label(word()), ratio())]).into_iter().for_each(every);
        Tiered::new(bucket, [(Label(word()), ratio()), (Label(word()), ratio())])
            .into_iter()
            .for_each(scaled);
        every((Gcra::new(rate), bucket));
        every(All([bucket; 2]));
        // Other types of keys, and the other storage.
        let gcra = Gcra::new(rate).tolerance(period).unwrap_or(Gcra::new(rate));
        let table: Fixed<Gcra, Uptime, 32> = Fixed::new(Uptime, word().into());
        let limiter = Limiter::new(gcra, black_box(&table));
        done(&limiter, "sensor");
        done(&limiter, &[1, 2, 3]);
        done(&Limiter::new(gcra, black_box(&SharedKey::<Gcra, Uptime>::shared(Uptime))), &());
        // Shows that the proof can fail.
        #[cfg(feature = "panics")]
        write(RADIO, [word(), 0, 1][read(SENSOR) as usize]);
    }
}

/// Returns a number unknown to the compiler.
fn word() -> u32 {
    read(RANDOM)
}

fn ratio() -> Ratio {
    Ratio::new(u64::from(word()) << 32 | u64::from(word()), word().into()).unwrap_or(Ratio::ONE)
}

/// Calls every operation on a limit and on the limits derived from it.
fn scaled<S: Scale>(strategy: S) {
    strategy.part(ratio()).and_then(|part| part.scaled(ratio())).into_iter().for_each(every);
    every(strategy);
}

/// Calls every operation on a limit.
fn every<S: Strategy>(strategy: S) {
    let table = Fixed::<S, Uptime, 32>::new(Uptime, word().into()).when_full(WhenFull::Refuse);
    let (limiter, key) = (Limiter::new(strategy, black_box(&table)), &("sensor", read(SENSOR)));
    done(&limiter, key);
    let _ = limiter
        .check_together([key, &("radio", 1)], S::Cost::uniform(word()))
        .map(|all| write(WAIT, all.is_atomic().into()));
    limiter.check_many(&[("sensor", 2), ("radio", 2)], |key, answer| {
        write(RADIO, key.1);
        let _ = answer.map(show);
    });
    let counters = table.counters();
    write(RADIO, table.len() as u32 + counters.evictions as u32 + counters.refusals as u32);
}

#[inline(never)]
fn done<S: Strategy, K: traffik_core::Key + ?Sized>(limiter: &Limiter<S, &impl Storage<S>>, key: &K) {
    let cost = S::Cost::uniform(read(READING));
    let mut class = Class::default();
    (class.tier, class.priority) = (Label(word()), Label(word()));
    (class.region, class.instance) = (Label(word()), Label(word()));
    let at = Timestamp::from_micros(u64::from(word()) << 32 | u64::from(word()));
    let hit = Hit::new(cost).with_class(class);
    let check = limiter.apply(key, &Op::Check(hit), at);
    if let Ok(receipt) = check.map(show) {
        let _ = limiter.apply(key, &Op::Refund(hit, receipt), at).map(show);
        let _ = limiter.refund(key, cost, receipt).map(show);
    }
    let _ = limiter.apply(key, &Op::Charge(hit), Uptime.now()).map(show);
    for answer in [
        limiter.check_n(key, cost),
        limiter.peek(key, cost),
        limiter.status(key),
        limiter.charge(key, cost),
        limiter.reset(key),
    ] {
        let _ = answer.map(show);
    }
    let _ = limiter.stat(key).map(|stat| drop(black_box(stat)));
    if let Ok(state) = limiter.storage().load(key) {
        black_box(limiter.strategy().stat(&state, class, at));
    }
}

/// Reads every figure of a decision.
fn show<V: Verdict>(verdict: V) -> V::Receipt {
    let duration = |it: Duration| {
        write(RADIO, it.as_secs() as u32);
        write(RADIO, it.subsec_nanos());
    };
    match verdict.outcome() {
        Outcome::Allow { after } => duration(after),
        Outcome::Deny { retry_after } => duration(retry_after),
        Outcome::Never => {}
    }
    verdict.for_each(&mut |decision| {
        write(RADIO, decision.limit());
        write(RADIO, decision.remaining());
        duration(decision.window());
        duration(decision.reset_after());
        duration(decision.more_after().unwrap_or_default());
        write(RADIO, decision.rate().map_or(0, Rate::limit));
    });
    verdict.receipt()
}

unsafe extern "C" {
    fn a_panic_can_be_reached() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: the function does not exist, so a program that can reach this call does not link.
    unsafe { a_panic_can_be_reached() }
}
