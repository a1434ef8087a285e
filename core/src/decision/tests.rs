//! Tests of the figures of decisions, and of the changes that wrappers make to them.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_longer_of_two_waits_counts() {
    let allow = Outcome::Allow { after: Duration::ZERO };
    let later = Outcome::Allow { after: SECOND };
    let deny = Outcome::Deny { retry_after: SECOND };
    assert_eq!(allow.and(later), later);
    assert_eq!(later.and(deny), deny);
    assert_eq!(
        deny.and(Outcome::Deny { retry_after: SECOND * 2 }),
        Outcome::Deny { retry_after: SECOND * 2 }
    );
    assert_eq!(deny.and(Outcome::Never), Outcome::Never);
    assert_eq!(Outcome::Never.and(allow), Outcome::Never);
}

#[test]
fn pressure_distinguishes_exhausted_from_nearly() {
    let left = |remaining| Decision::allow(1000, remaining, SECOND).pressure();
    assert_eq!(left(0), 255);
    assert_eq!(left(1), 9);
    assert_eq!(left(100), 3);
    assert_eq!(left(1000), 0);
    assert_eq!(Decision::unlimited().pressure(), 0);
    assert_eq!(Decision::allow(0, 0, SECOND).pressure(), 255);
}

#[test]
fn a_wrapper_changes_what_it_knows_better() {
    let allowed = Decision::allow(10, 7, SECOND);
    assert_eq!(allowed.with_reserve(4), Decision::allow(6, 3, SECOND));
    assert_eq!(allowed.with_reserve(8), Decision::allow(2, 0, SECOND));
    assert_eq!(allowed.with_reset_after(SECOND * 2), Decision::allow(10, 7, SECOND * 2));
    let denied = allowed.with_outcome(Outcome::Deny { retry_after: SECOND }).with_dirty(false);
    assert_eq!(denied, Decision::deny(10, 7, SECOND, SECOND));
    assert_eq!(denied.with_outcome(Outcome::Never), Decision::never(10, 7, SECOND));
    assert_eq!(Decision::unlimited().with_reserve(1), Decision::unlimited());
    let at_once = Outcome::Allow { after: Duration::ZERO };
    assert_eq!(Decision::unlimited().with_outcome(at_once), Decision::unlimited());
}

#[test]
fn an_aged_denial_has_shorter_waits_until_they_end() {
    let micros = Duration::from_micros;
    let denied = Decision::deny(10, 7, micros(5), micros(9));
    assert_eq!(denied.aged_by(0), Some(denied));
    assert_eq!(denied.aged_by(4), Some(Decision::deny(10, 7, micros(1), micros(5))));
    assert_eq!(denied.aged_by(5), None);
    let never = Decision::never(10, 7, micros(u64::MAX));
    assert_eq!(never.aged_by(4), Some(never), "a wait without an end keeps none");
    assert_eq!(Outcome::Deny { retry_after: micros(5) }.aged_by(5), None);
}

#[test]
fn waits_round_up_and_remaining_rounds_down() {
    let figures = |num| Figures {
        limit: 9,
        rate: Rate::per_second(9),
        remaining: Quotient { num, den: 3 },
        reset: Quotient { num, den: 3 },
        receipt: Receipt::default(),
    };
    let decision = figures(7).deny(Quotient { num: 7, den: 3 });
    assert_eq!(decision.remaining(), 2);
    assert_eq!(decision.reset_after(), Duration::from_micros(3));
    assert_eq!(decision.retry_after(), Some(Duration::from_micros(3)));
    assert_eq!(figures(u64::MAX).allow(true, Quotient::ZERO).remaining(), 9);
}

#[test]
fn a_decision_takes_no_more_than_its_figures() {
    assert_eq!(size_of::<Decision>(), 96);
}

#[test]
fn the_time_until_more_is_kept_unless_a_wait_replaces_it() {
    let decision = Decision::allow(10, 7, SECOND * 9).with_more_after(Some(SECOND));
    assert_eq!(decision.more_after(), Some(SECOND));
    assert_eq!(decision.with_more_after(None).more_after(), None);
    assert_eq!(Decision::allow(10, 7, SECOND).more_after(), None, "not set");
    let denied = decision.with_outcome(Outcome::Deny { retry_after: SECOND * 3 });
    assert_eq!(denied.more_after(), denied.retry_after());
    assert_eq!(denied.with_more_after(Some(SECOND)), denied, "a denial says it by its wait");
    assert_eq!(denied.with_outcome(Outcome::Never).more_after(), None, "that wait was for another thing");
    assert_eq!(decision.with_outcome(Outcome::Never).more_after(), Some(SECOND));
    assert_eq!(decision.delayed(SECOND).more_after(), None);
    assert_eq!(Decision::unlimited().with_more_after(Some(SECOND)).more_after(), None);
    // The cost that comes back first fills the reserve.
    assert_eq!(decision.with_reserve(7).more_after(), Some(SECOND));
    assert_eq!(decision.with_reserve(8).more_after(), None);
    let later = |by| decision.aged_by(by).and_then(|it| it.more_after());
    assert_eq!(later(1), Some(Duration::from_micros(999_999)));
    assert_eq!(later(1_000_000), None);
}

#[test]
fn the_rate_is_what_passes_in_a_period() {
    let decision = Decision::allow(10, 7, SECOND);
    assert_eq!(decision.rate(), None, "without a period there is none");
    assert_eq!(decision.with_window(SECOND).rate(), Some(Rate::per_second(10)));
    let spaced = Decision::allow(1, 0, SECOND).with_rate(Rate::per_minute(100));
    assert_eq!((spaced.rate(), spaced.limit()), (Some(Rate::per_minute(100)), 1));
    assert_eq!(decision.with_window(SECOND).with_reserve(4).rate(), Some(Rate::per_second(6)));
    assert_eq!(Decision::unlimited().rate(), Some(Rate::UNLIMITED));
}
