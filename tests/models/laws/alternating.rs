//! Limits that take turns on one state, as those do that requests choose: same strategy, same period, another
//! number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use traffik::laws::{self, Step};
use traffik::strategy::{Erased, ErasedStrategy};
use traffik::{Gcra, Hit, LeakyBucket, Outcome, Rate, Strategy, Timestamp, TokenBucket};

use crate::model::runs::config;

/// The kinds of a limit.
fn kinds(limit: &impl Strategy) -> Vec<(u32, u64)> {
    let mut kinds = Vec::new();
    limit.kinds(&mut |form, period| kinds.push((form, period)));
    kinds
}

/// Hits of these costs after pauses in thousandths of a period.
fn run(period: u64, hits: &[(u64, u32)]) -> Vec<Step> {
    let mut now = Timestamp::from_micros(1_800_000_000_000_000);
    let step = |(pause, cost): &(u64, u32)| {
        now = now.plus_micros(pause * period / 1_000);
        Step::new(now, *cost)
    };
    hits.iter().map(step).collect()
}

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn limits_that_alternate_admit_no_more_than_the_larger(
        period in 1_000u64..10_000_000,
        numbers in [1u32..30, 1u32..30],
        hits in prop::collection::vec((0u64..400, 1u32..4), 1..120),
    ) {
        let run = run(period, &hits);
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                let rate = |number| Rate::new(number, Duration::from_micros(period)).unwrap();
                if let [Some(one), Some(other)] = numbers.map(|number| make(rate(number))) {
                    prop_assert_eq!(kinds(&one), kinds(&other), $spelling);
                    laws::limits_may_alternate(&one, &other, &run)
                        .map_err(|error| TestCaseError::fail(format!("{}: {error}", $spelling)))?;
                }
            };
        }
        traffik::every_strategy!(each);
    }

    #[test]
    fn what_drained_before_a_change_did_so_at_the_rate_there_was(
        period in 1_000u64..10_000_000,
        numbers in [0u32..30, 0u32..2_048],
        hits in prop::collection::vec((0u64..1_200, 0u32..4), 1..60),
    ) {
        let run = run(period, &hits);
        // While a cost-based bucket's mean is 1, its rate is kept exactly.
        let of_one: Vec<_> = run.iter().map(|step| Step { cost: step.cost.min(1), ..*step }).collect();
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                let least = u32::from($spelling == "leaky-bucket-queue");
                let rate = |number: u32| Rate::new(number.max(least), Duration::from_micros(period)).unwrap();
                let run = if $spelling == "cost-based" { &of_one } else { &run };
                // An adaptive limit judges a window when that is over, by the limit at that time.
                if $spelling != "adaptive"
                    && let [Some(one), Some(other)] = numbers.map(|number| make(rate(number)))
                {
                    laws::change_is_settled(&one, &other, run)
                        .map_err(|error| TestCaseError::fail(format!("{}: {error}", $spelling)))?;
                }
            };
        }
        traffik::every_strategy!(each);
    }
}

/// A day's token that was used up half a day ago is not there at once because a thousand a day come now; nor
/// has anything come while nothing could.
#[test]
fn a_rate_that_is_raised_grants_nothing_of_the_past() {
    let hour = |hours: u64| Timestamp::from_micros(1_800_000_000_000_000 + hours * 3_600_000_000);
    let one = Hit::new(1);
    macro_rules! spaced {
        ($($strategy:ident),*) => {$(
            let [daily, often] = [1, 1_000].map(|limit| $strategy::new(Rate::per_day(limit)));
            let mut state = Default::default();
            assert!(daily.decide(&mut state, &one, hour(0)).is_allowed());
            let denied = often.decide(&mut state, &one, hour(12));
            assert_eq!(denied.retry_after(), Some(Duration::from_micros(43_200_000)), stringify!($strategy));
            let then = hour(12).plus_micros(43_200_000);
            let early = Timestamp::from_micros(then.as_micros() - 1);
            assert!(!often.decide(&mut state, &one, early).is_allowed(), "half of it is still to come");
            assert!(often.decide(&mut state, &one, then).is_allowed());
        )*};
    }
    spaced!(Gcra, LeakyBucket);
    let (open, closed) = (TokenBucket::new(Rate::per_day(10)), TokenBucket::new(Rate::per_second(0)));
    let mut state = Default::default();
    assert!(open.decide(&mut state, &Hit::new(10), hour(0)).is_allowed());
    assert_eq!(closed.decide(&mut state, &one, hour(0)).outcome(), Outcome::Never);
    let denied = open.decide(&mut state, &one, hour(24));
    assert_eq!((denied.remaining(), denied.retry_after()), (0, Some(Duration::from_secs(8_640))));
}

/// An hour at a thousand an hour was an hour at that, though only ten a day come now; and the wait told then
/// is the wait.
#[test]
fn a_rate_that_is_lowered_leaves_what_came_before() {
    let [often, daily] =
        [Rate::per_hour(1_000), Rate::per_day(10)].map(|rate| TokenBucket::new(rate).burst(1_000).unwrap());
    let (mut state, start) = (Default::default(), Timestamp::from_micros(1_800_000_000_000_000));
    assert!(often.decide(&mut state, &Hit::new(1_000), start).is_allowed());
    let half = start.plus_micros(1_800_000_000);
    assert_eq!(
        daily.decide(&mut state, &Hit::new(501), half).retry_after(),
        Some(Duration::from_secs(8_640))
    );
    assert!(daily.decide(&mut state, &Hit::new(501), half.plus_micros(8_640_000_000)).is_allowed());
}

/// Strategies and periods tell limits apart that have no state in common, also behind a pointer.
#[test]
fn limits_of_other_periods_and_forms_are_of_other_kinds() {
    let (minute, hour) = (Rate::per_minute(7), Rate::per_hour(7));
    let mut forms = BTreeMap::new();
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            let [of_minute, of_hour] = [minute, hour].map(|rate| make(rate).unwrap());
            assert_eq!(kinds(&of_minute)[0].1, 60_000_000, $spelling);
            assert_eq!(kinds(&of_hour)[0].1, 3_600_000_000, $spelling);
            let behind: Arc<dyn ErasedStrategy<2_000>> = Arc::new(of_minute.clone());
            assert_eq!(kinds(&Erased::<_, 2_000>::new(behind)), kinds(&of_minute), $spelling);
            forms.entry(kinds(&of_minute)[0].0 & 0xff).or_insert_with(Vec::new).push($spelling);
        };
    }
    traffik::every_strategy!(each);
    let shared: Vec<_> = forms.values().filter(|names| names.len() > 1).collect();
    // All buckets but the queue keep a level, which means the same to each of them.
    assert_eq!(shared, [&["token-bucket", "leaky-bucket", "gcra"]]);
}
