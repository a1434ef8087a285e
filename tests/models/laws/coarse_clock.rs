//! What a coarse clock may add to a limit: as much as the limit admits in one more tick, and no more.
//!
//! A reading `r` at the time `t` lies in `t - tick..=t`. Whatever is admitted from `t1` to `t2` was read to be from
//! `r1 >= t1 - tick` to `r2 <= t2`, and law 2 holds by the readings: so it is at most what is admitted from `t1 - tick`
//! to `t2`. Here that is checked on runs, with readings that lag as they like within a tick.

use proptest::prelude::*;
use traffik::strategy::Bounds;
use traffik::{Decision, FixedWindow, Gcra, Hit, Rate, SlidingWindow, Strategy, Timestamp, TokenBucket};

const TICK: u64 = 10_000;
const START: u64 = 1_800_000_000_000_000;

/// Runs hits at these times apart, read with these lags, and holds every stretch of the run against the bound.
fn never_over<S: Strategy<Cost = u32, Verdict = Decision> + Bounds>(limit: &S, hits: &[(u64, u64, u32)]) {
    let (mut state, mut now, mut reading) = (S::State::default(), START, 0);
    let mut admitted = Vec::new();
    for &(gap, lag, cost) in hits {
        now += gap;
        // Like the kernel's, it never goes back.
        reading = reading.max(now - lag);
        if limit.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(reading)).is_allowed() {
            admitted.push((now, cost));
        }
    }
    for (at, (first, _)) in admitted.iter().enumerate() {
        let mut sum = 0u128;
        for (last, cost) in &admitted[at..] {
            sum += u128::from(*cost);
            let most = limit.most(Timestamp::from_micros(first - TICK), Timestamp::from_micros(*last));
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
