//! Cases of the sliding window beside its properties.

use core::time::Duration;

use super::*;

fn second(second: u64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn window(text: &str) -> SlidingWindow {
    SlidingWindow::new(text.parse().unwrap())
}

#[test]
fn the_wait_runs_into_the_window_after_the_next_if_it_must() {
    let window = window("4/10s");
    let mut state = SlidingWindowState::default();
    assert!(window.decide(&mut state, &Hit::new(4), second(12)).is_allowed());
    let denied = window.decide(&mut state, &Hit::new(4), second(12));
    assert_eq!(denied.retry_after(), Some(Duration::from_micros(15_500_001)), "1 is in use until then");
    let denied = window.decide(&mut state, &Hit::new(4), second(25));
    assert_eq!(denied.retry_after(), Some(Duration::from_micros(2_500_001)));
    let then = Timestamp::from_micros(27_500_001);
    assert!(window.decide(&mut state, &Hit::new(4), then).is_allowed());
}

#[test]
fn stat_shows_both_windows_and_their_weighted_count() {
    let window = window("10/10s");
    let mut state = SlidingWindowState::default();
    assert!(window.decide(&mut state, &Hit::new(5), second(12)).is_allowed());
    assert!(window.decide(&mut state, &Hit::new(2), second(24)).is_allowed());
    let stat = window.stat(&state, Class::default(), second(25));
    assert_eq!((stat.window_start, stat.window_end), (second(20), second(30)));
    assert_eq!((stat.previous_count, stat.current_count, stat.weighted_count), (5, 2, 4));
    let stat = window.stat(&state, Class::default(), second(41));
    assert_eq!((stat.previous_count, stat.current_count, stat.weighted_count), (0, 0, 0));
}

#[test]
fn a_refund_reaches_the_window_before() {
    let window = window("4/10s");
    let mut state = SlidingWindowState::default();
    let receipt = window.decide(&mut state, &Hit::new(3), second(12)).receipt();
    assert!(window.decide(&mut state, &Hit::new(1), second(20)).is_allowed());
    window.refund(&mut state, &Hit::new(3), receipt, second(20));
    assert_eq!(window.peek(&state, &Hit::new(0), second(20)).remaining(), 3);
    let before = state;
    window.refund(&mut state, &Hit::new(3), Receipt { at: second(32), ..receipt }, second(32));
    window.refund(&mut state, &Hit::new(3), Receipt { unit: 1, ..receipt }, second(20));
    assert_eq!(state, before, "booked elsewhere");
}

#[test]
fn a_change_of_the_period_keeps_what_is_in_use() {
    let (short, long) = (window("10/10s"), window("20/60s"));
    let mut state = SlidingWindowState::default();
    assert!(short.decide(&mut state, &Hit::new(7), second(12)).is_allowed());
    assert!(short.decide(&mut state, &Hit::new(1), second(25)).is_allowed());
    assert_eq!(short.peek(&state, &Hit::new(0), second(25)).remaining(), 6, "1 and half of 7 are in use");
    assert_eq!(long.peek(&state, &Hit::new(0), second(25)).remaining(), 16);
}

#[test]
fn what_a_script_cannot_count_is_refused_with_what_it_can() {
    assert_eq!(window("99991/day").fits_script(), Ok(()));
    assert_eq!(window("200000/day").fits_script(), Err(CapacityError { largest: 104_249 }));
    assert_eq!(SlidingWindow::new(Rate::UNLIMITED).fits_script(), Ok(()));
}

#[test]
fn the_widest_numbers_are_counted_exactly() {
    let widest = Rate::new(u32::MAX, Duration::from_micros((1 << 53) - 1)).unwrap();
    let window = SlidingWindow::new(widest);
    let mut state = SlidingWindowState::default();
    window.charge(&mut state, &Hit::new(u32::MAX), Timestamp::EPOCH);
    window.charge(&mut state, &Hit::new(u32::MAX), Timestamp::EPOCH);
    let denied = window.decide(&mut state, &Hit::new(u32::MAX), Timestamp::EPOCH);
    assert_eq!(denied.retry_after(), Some(widest.period() * 2 - Duration::from_micros(2_097_152)));
    let denied = window.decide(&mut state, &Hit::new(1), Timestamp::EPOCH);
    let then = Timestamp::EPOCH + denied.retry_after().unwrap();
    assert!(window.peek(&state, &Hit::new(1), then).is_allowed());
    assert!(!window.peek(&state, &Hit::new(1), Timestamp::from_micros(then.as_micros() - 1)).is_allowed());
}

/// Limits so small that the share of the window before, rounded up, would take half of it or more.
#[test]
fn steady_traffic_gets_a_small_limit() {
    for limit in [1, 2, 3, 5, 7, 10] {
        let window = SlidingWindow::new(Rate::per_second(limit));
        let mut state = SlidingWindowState::default();
        let gap = 1_000_000u64.div_ceil(limit.into());
        let hits = (0..100 * u64::from(limit)).map(|number| Timestamp::from_micros(7 + number * gap));
        let denied = hits.filter(|at| !window.decide(&mut state, &Hit::new(1), *at).is_allowed()).count();
        assert_eq!(denied, 0, "{limit}/s");
    }
}
