//! Two threads at once: on one key, and on keys of their own.

use std::time::Instant;

use traffik_backends::MonotonicClock;
use traffik_core::{ManualClock, Timestamp};

use crate::bare::Bare;
use crate::race::{CHECKS, ROUNDS, Report, median, next};
use crate::{admits, at, governor, ours, seen};

/// Runs the same on so many threads at once: nanoseconds of all of it, over the checks of one.
fn on_threads(threads: u64, run: impl Fn(u64) + Sync) -> f64 {
    let time = || {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let run = &run;
                scope.spawn(move || run(thread));
            }
        });
        began.elapsed().as_nanos() as f64 / CHECKS as f64
    };
    time();
    median((0..ROUNDS).map(|_| time()).collect())
}

/// One key that both threads ask for.
pub fn hot_key(report: &mut Report) {
    println!("\none hot key on two threads, ns a check");
    let (governor, exact) = (governor::<u64>(), ours(10_000, MonotonicClock::default()));
    let theirs = on_threads(2, |_| (0..CHECKS).for_each(|_| seen(governor.check_key(&7).is_ok())));
    let ours = on_threads(2, |_| (0..CHECKS).for_each(|_| seen(admits(exact.check(&7u64)))));
    println!("  {:<52} {theirs:>8.2} ns\n  {:<52} {ours:>8.2} ns", "governor", "default clock");
    report.line("default clock, over governor", ours / theirs, "", 0.5);
}

/// Each thread asks for keys that the other does not: what a second thread adds, and what it adds to a bare table.
pub fn keys_of_their_own(report: &mut Report, keys: u64) {
    println!("\n{keys} keys, half of them for each of two threads, ns a check");
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let (exact, bare) = (ours(keys, ManualClock::new(now)), Bare::<0>::new(keys));
    let asked = |thread: u64| {
        let mut random = 88_172_645_463_325_252u64 + thread;
        (0..CHECKS).map(move |_| next(&mut random) % (keys / 2) + thread * (keys / 2))
    };
    let ours = |thread| asked(thread).for_each(|key| seen(admits(exact.check_at(&key, &at(1), now))));
    let bare = |thread| asked(thread).for_each(|key| seen(bare.check(key, now.as_micros())));
    let [ours_one, ours_two, bare_one, bare_two] =
        [on_threads(1, ours), on_threads(2, ours), on_threads(1, bare), on_threads(2, bare)];
    println!("  {:<52} {ours_one:>8.2} ns, {ours_two:.2} ns on two", "time given");
    println!("  {:<52} {bare_one:>8.2} ns, {bare_two:.2} ns on two", "bare table");
    // What a second thread is worth: two, if neither is in the other's way.
    let (ours, bare) = (2.0 * ours_one / ours_two, 2.0 * bare_one / bare_two);
    report.line("worth of a second thread, bare table's over ours", bare / ours, "", 1.0 / 0.9);
}
