//! A flood of new keys through a storage that is much too small for them, while one limited client keeps
//! asking.

use std::time::Duration;

use traffik_backends::{Memory, MonotonicClock, SharedMemory};
use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{Counted, Report};
use traffik_core::{Clock, Gcra, Hit, Limiter, Timestamp};

use crate::bare::Bare;
use crate::{admits, gcra, seen};

/// Keys that each come once.
const FLOOD: u64 = 20_000_000;
/// Keys that there is room for.
const KEYS: u64 = 1_000_000;
/// The client asks whenever so many others have.
const EVERY: u64 = 10;
const CLIENT: u64 = u64::MAX - 1;

/// How often a check took how long, in nanoseconds; the last place is for all that took longer.
struct Times(Vec<u32>);

impl Times {
    fn new() -> Self {
        Self(vec![0; 1 << 20])
    }

    fn note(&mut self, nanos: u64) {
        let last = self.0.len() - 1;
        if let Some(count) = self.0.get_mut(usize::try_from(nanos).unwrap_or(last).min(last)) {
            *count += 1;
        }
    }

    /// The time that but one in `one_in` checks stayed within.
    fn all_but(&self, one_in: u64) -> f64 {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let mut above = all / one_in;
        for (nanos, count) in self.0.iter().enumerate().rev() {
            match above.checked_sub(u64::from(*count)) {
                Some(rest) => above = rest,
                None => return nanos as f64,
            }
        }
        0.0
    }
}

pub(crate) fn flood(report: &mut Report) {
    report.head(format_args!("{FLOOD} new keys through a storage for {KEYS}, one limited client among them"));
    let limiter = Limiter::new(gcra(), Memory::builder().capacity(KEYS as usize).build());
    let (bare, clock, counter) = (Bare::<0>::new(KEYS), MonotonicClock::default(), quanta::Clock::new());
    let (mut ours, mut theirs) = (Times::new(), Times::new());
    let (mut admitted, began, resident) = (0u64, limiter.now(), resident());
    // In turns, so that what else runs on the machine meets both.
    for turn in 0..20 {
        let keys = turn * FLOOD / 20..(turn + 1) * FLOOD / 20;
        for key in keys.clone() {
            let before = counter.raw();
            seen(admits(limiter.check(&key)));
            ours.note(counter.delta_as_nanos(before, counter.raw()));
            if key % EVERY == 0 {
                admitted += u64::from(admits(limiter.check(&CLIENT)));
            }
        }
        for key in keys {
            let before = counter.raw();
            seen(bare.check(key, clock.now().as_micros()));
            theirs.note(counter.delta_as_nanos(before, counter.raw()));
            if key % EVERY == 0 {
                seen(bare.check(CLIENT, clock.now().as_micros()));
            }
        }
    }
    let elapsed: Duration = limiter.now().since(began);
    let bound = 1_000.0 + elapsed.as_secs_f64() * 1_000.0;
    let grown = self::resident().saturating_sub(resident);
    report.line("keys given up", limiter.storage().counters().evictions as f64, "keys", None);
    report.line(
        "the client was admitted, over the most it may be",
        admitted as f64 / bound,
        "x",
        Some(AtMost(1.0)),
    );
    report.line("resident memory grew by", grown as f64 / f64::from(1 << 20), "MiB", Some(AtMost(1.0)));
    for (what, one_in) in
        [("half of the checks", 2), ("99 % of the checks", 100), ("99.99 % of the checks", 10_000)]
    {
        let (ours, theirs) = (ours.all_but(one_in), theirs.all_but(one_in));
        report.line(format_args!("{what} within"), ours, "ns", None);
        report.line(format_args!("{what} within, bare table"), theirs, "ns", None);
        if one_in == 10_000 {
            report.line("99.99 % of the checks, over the bare table", ours / theirs, "x", Some(AtMost(1.5)));
        }
    }
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

/// Checks of one kind, for an instruction counter to look at: `known` keys, or `new` ones that each take the
/// place of another in two full sets, which is the most a check can take. Those that are `shared` are in a
/// memory for limits of any strategy.
pub(crate) fn counted(kind: &str, checks: u64) {
    let (storage, kind) = kind.split_once(' ').unwrap_or(("own", kind));
    let first = if kind == "known" { 100_000 - 1_000 } else { 100_000 };
    let keys: Vec<u64> =
        (0..checks).map(|check| first + if kind == "known" { check % 1_000 } else { check }).collect();
    let fill = 0..100_000u64;
    if storage == "shared" {
        let limiter = Limiter::new(gcra(), SharedMemory::new(10_000));
        let now = limiter.now();
        fill.for_each(|key| seen(limiter.check_at(&key, &Hit::new(1), now)));
        check_all_shared(&limiter, &keys, now);
    } else {
        let limiter = Limiter::new(gcra(), Memory::builder().capacity(10_000).build());
        let now = limiter.now();
        fill.for_each(|key| seen(limiter.check_at(&key, &Hit::new(1), now)));
        check_all(&limiter, &keys, now);
    }
}

/// [`check_all`], whose instructions are counted.
pub(crate) const CHECKED: Counted = Counted(concat!(module_path!(), "::check_all"));
/// [`check_all_shared`], the same in a shared memory.
pub(crate) const CHECKED_SHARED: Counted = Counted(concat!(module_path!(), "::check_all_shared"));

#[inline(never)]
fn check_all(limiter: &Limiter<Gcra, Memory<Gcra>>, keys: &[u64], now: Timestamp) {
    keys.iter().for_each(|key| seen(admits(limiter.check_at(key, &Hit::new(1), now))));
}

#[inline(never)]
fn check_all_shared(limiter: &Limiter<Gcra, SharedMemory>, keys: &[u64], now: Timestamp) {
    keys.iter().for_each(|key| seen(admits(limiter.check_at(key, &Hit::new(1), now))));
}
