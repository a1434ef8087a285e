//! The hits that a coarse clock may add to a limit: as much as the limit admits in one more tick, and no more; and
//! what a limit may lose to it.
//!
//! A reading `r` at the time `t` lies in `t - tick..=t`. Whatever is admitted from `t1` to `t2` was read to be from
//! `r1 >= t1 - tick` to `r2 <= t2`, and law 2 holds by the readings: so it is at most what is admitted from `t1 - tick`
//! to `t2`. Here that is checked on runs, with readings that lag as they like within a tick.

use std::time::Duration;

use proptest::prelude::*;
use traffik::strategy::Bounds;
use traffik::{Decision, FixedWindow, Gcra, Hit, Rate, SlidingWindow, Strategy, Timestamp, TokenBucket};

const TICK: u64 = 10_000;
const START: u64 = 1_800_000_000_000_000;

/// Runs hits at these times apart, read with these lags, and holds every stretch of the run against the bound.
fn never_over<S: Strategy<Cost = u32, Verdict = Decision> + Bounds>(strategy: &S, hits: &[(u64, u64, u32)]) {
    let (mut state, mut now, mut reading) = (S::State::default(), START, 0);
    let mut admitted = Vec::new();
    for &(gap, lag, cost) in hits {
        now += gap;
        // Like the kernel's, it never goes back.
        reading = reading.max(now - lag);
        if strategy.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(reading)).is_allowed() {
            admitted.push((now, cost));
        }
    }
    for (at, (first, _)) in admitted.iter().enumerate() {
        let mut sum = 0u128;
        for (last, cost) in &admitted[at..] {
            sum += u128::from(*cost);
            let most = strategy.most(Timestamp::from_micros(first - TICK), Timestamp::from_micros(*last));
            assert!(sum <= most, "{sum} admitted from {first} to {last}, at most {most}");
        }
    }
}

proptest! {
    #[test]
    fn a_coarse_clock_adds_no_more_than_one_tick(
        hits in prop::collection::vec((0..30_000u64, 0..=TICK, 1..4u32), 1..120),
        limit in 1..50u32,
        period in 20_000..500_000u64,
    ) {
        let rate: Rate = format!("{limit}/{period}us").parse().unwrap();
        never_over(&FixedWindow::new(rate), &hits);
        never_over(&SlidingWindow::new(rate), &hits);
        never_over(&TokenBucket::new(rate), &hits);
        never_over(&Gcra::new(rate).burst(limit).unwrap(), &hits);
    }
}

/// Ticks per second: of a clock of seconds, of a kernel, of a scheduler and of a watch crystal.
const RATES: [u64; 4] = [1, 100, 1_000, 32_768];

/// The longest time between two readings, in microseconds.
const fn longest(ticks_per_second: u64) -> u64 {
    1_000_000u64.div_ceil(ticks_per_second)
}

/// Asks at each of so many ticks until denied. Returns what was admitted, which at each tick is at most the
/// bound by the readings, and at least the floor for what has passed since the first one.
fn asked_at_each_tick<S: Strategy<Cost = u32, Verdict = Decision> + Bounds>(
    strategy: &S,
    ticks_per_second: u64,
    ticks: u64,
    floor: impl Fn(Timestamp, Timestamp) -> u128,
) -> u128 {
    let reading = |tick: u64| Timestamp::from_micros(START + tick * 1_000_000 / ticks_per_second);
    let (first, mut state, mut admitted) = (reading(0), S::State::default(), 0u128);
    for now in (0..ticks).map(reading) {
        while strategy.decide(&mut state, &Hit::new(1), now).is_allowed() {
            admitted += 1;
        }
        let (least, most) = (floor(first, now), strategy.most(first, now));
        assert!((least..=most).contains(&admitted), "{admitted} of {least} to {most} at {now}");
    }
    admitted
}

#[test]
fn limits_on_ticks_of_any_length_keep_bound_and_floor() {
    for (hertz, rate) in RATES.iter().flat_map(|hertz| {
        ["300/s", "700/s", "2000/s", "3/7s", "5/min"].map(|rate| (*hertz, rate.parse::<Rate>().unwrap()))
    }) {
        let (tick, ticks) = (longest(hertz), 3_000);
        let (limit, period) = (u64::from(rate.limit()), rate.period().as_micros() as u64);
        // Spaced hits: each waits for the first tick at which it is due.
        let spaced = Gcra::new(rate);
        // A reading that is rounded down to a microsecond may take one tick more to be due.
        let rounded = if 1_000_000u64.is_multiple_of(hertz) { 0 } else { limit };
        let interval = ((period + rounded) * hertz).div_ceil(limit * 1_000_000);
        let one_each =
            |first, now: Timestamp| 1 + u128::from(now.micros_since(first) * hertz / 1_000_000 / interval);
        asked_at_each_tick(&spaced, hertz, ticks, one_each);
        // With the tick, or a burst of what comes in one and a hit, nothing is lost but the last hit.
        let whole = spaced.tick(Duration::from_micros(tick)).unwrap();
        asked_at_each_tick(&whole, hertz, ticks, |first, now| whole.most(first, now));
        let burst = (limit * tick).div_ceil(period) as u32 + 1;
        let gcra = spaced.burst(burst).unwrap();
        asked_at_each_tick(&gcra, hertz, ticks, |first, now| gcra.most(first, now));
        let bucket = TokenBucket::new(rate).burst(burst).unwrap();
        asked_at_each_tick(&bucket, hertz, ticks, |first, now| bucket.most(first, now));
        // A window that is no shorter than a tick has one of its own.
        let window = FixedWindow::new(rate);
        asked_at_each_tick(&window, hertz, ticks, |first, now| {
            if period >= tick { window.least(first, now, 1) } else { 1 }
        });
    }
}

/// The table in the docs of `Gcra::tick`, and the whole rate with it.
#[test]
fn what_spaced_hits_lose_to_ticks_of_a_millisecond_is_restored() {
    const SECONDS: u64 = 100;
    for (rate, without) in [(300, 250), (700, 500), (2_000, 1_000)] {
        let spaced = Gcra::new(Rate::per_second(rate));
        let whole = spaced.tick(Duration::from_millis(1)).unwrap();
        let admitted = |limit: &Gcra| asked_at_each_tick(limit, 1_000, 1_000 * SECONDS, |_, _| 0);
        assert_eq!(admitted(&spaced), u128::from(without * SECONDS), "{rate}/s");
        // The rate, and what may come early: `1 + (t + tick) / T` for the time up to the last tick.
        let all = 1 + u128::from(rate) * u128::from(SECONDS);
        assert_eq!(admitted(&whole), all, "{rate}/s");
    }
}
