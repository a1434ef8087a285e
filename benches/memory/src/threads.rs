//! Two threads at once: on one key, and on keys of their own.

use std::time::Instant;

use traffik_backends::MonotonicClock;
use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{Report, median};
use traffik_core::{ManualClock, Timestamp};

use crate::bare::Bare;
use crate::race::{CHECKS, ROUNDS, next};
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
pub(crate) fn hot_key(report: &mut Report) {
    report.head("one hot key on two threads, ns a check");
    let (governor, exact) = (governor::<u64>(), ours(10_000, MonotonicClock::default()));
    let theirs = on_threads(2, |_| (0..CHECKS).for_each(|_| seen(governor.check_key(&7).is_ok())));
    let ours = on_threads(2, |_| (0..CHECKS).for_each(|_| seen(admits(exact.check(&7u64)))));
    report.line("governor", theirs, "ns", None);
    report.line("default clock", ours, "ns", None);
    report.line("default clock, over governor", ours / theirs, "x", Some(AtMost(0.5)));
}

/// Each thread asks for keys that the other does not: what a second thread adds, and what it adds to a bare table.
pub(crate) fn keys_of_their_own(report: &mut Report, keys: u64) {
    report.head(format_args!("{keys} keys, half of them for each of two threads, ns a check"));
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
    report.line("time given, on one thread", ours_one, "ns", None);
    report.line("time given, on two", ours_two, "ns", None);
    report.line("bare table, on one thread", bare_one, "ns", None);
    report.line("bare table, on two", bare_two, "ns", None);
    // The worth of a second thread: two, if neither is in the other's way.
    let (ours, bare) = (2.0 * ours_one / ours_two, 2.0 * bare_one / bare_two);
    report.line(
        "worth of a second thread, bare table's over ours",
        bare / ours,
        "x",
        Some(AtMost(1.0 / 0.9)),
    );
}
