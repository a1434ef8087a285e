//! Limits that take turns on one state, as those do that requests choose: same strategy, same period, another
//! number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use traffik::laws::{self, Step};
use traffik::strategy::{Erased, ErasedStrategy};
use traffik::{Rate, Strategy, Timestamp};

use crate::model::runs::config;

/// The kinds of a limit.
fn kinds(limit: &impl Strategy) -> Vec<(u32, u64)> {
    let mut kinds = Vec::new();
    limit.kinds(&mut |form, period| kinds.push((form, period)));
    kinds
}

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn limits_that_alternate_admit_no_more_than_the_larger(
        period in 1_000u64..10_000_000,
        numbers in [1u32..30, 1u32..30],
        hits in prop::collection::vec((0u64..400, 1u32..4), 1..120),
    ) {
        let mut now = Timestamp::from_micros(1_800_000_000_000_000);
        let run: Vec<_> = hits.iter().map(|(pause, cost)| {
            now = now.plus_micros(pause * period / 1_000);
            Step::new(now, *cost)
        }).collect();
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
