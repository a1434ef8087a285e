//! Every strategy under every law, and against an exact model of its definition that shares no code with it.

use core::time::Duration;

use crate::model::runs::{advances, as_the_model, cases, changeable, config, lawful, rates, runs};
use crate::model::{BucketModel, WindowModel};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use traffik::laws;
use traffik::storage::{Fixed, WhenFull};
use traffik::{All, Class, FixedWindow, Gcra, ManualClock, Rate, State, Strategy, Timestamp, TokenBucket};

fn fixed_window(rate: Rate, anchor: u32, _: u32) -> FixedWindow {
    FixedWindow::new(rate).anchor(Duration::from_micros(anchor.into()))
}

fn token_bucket(rate: Rate, burst: u32, debt: u32) -> TokenBucket {
    let plain = TokenBucket::new(rate);
    let bucket = if burst.is_multiple_of(3) { Ok(plain) } else { plain.burst(burst) };
    let bucket = if debt.is_multiple_of(2) { bucket } else { bucket.and_then(|bucket| bucket.debt(debt)) };
    bucket.unwrap_or(plain)
}

fn gcra(rate: Rate, burst: u32, tolerance: u32) -> Gcra {
    let plain = Gcra::new(rate);
    let limit = match burst % 3 {
        0 => Ok(plain),
        1 => plain.burst(burst),
        _ => plain.tolerance(Duration::from_micros(tolerance.into())),
    };
    limit.unwrap_or(plain)
}

fn whole_gcra(rate: Rate, burst: u32, _: u32) -> Gcra {
    Gcra::new(rate).burst(burst).unwrap_or(Gcra::new(rate))
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn fixed_window_is_lawful((limit, other, forward, any) in cases(fixed_window)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn token_bucket_is_lawful((limit, other, forward, any) in cases(token_bucket)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn gcra_is_lawful((limit, _, forward, any) in cases(gcra)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
    }

    #[test]
    fn gcra_is_changeable((limit, other, forward, any) in cases(whole_gcra)) {
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn fixed_window_is_its_model((rate, anchor, run) in rates().prop_flat_map(|rate| (Just(rate), 0u32.., runs(rate, false)))) {
        as_the_model(&fixed_window(rate, anchor, 0), &WindowModel { rate, anchor: anchor.into() }, &run)?;
    }

    #[test]
    fn token_bucket_is_its_model((rate, burst, debt, run) in rates().prop_flat_map(|rate| (Just(rate), 0u32..40, 0u32..40, runs(rate, false)))) {
        let limit = TokenBucket::new(rate).burst(burst).unwrap().debt(debt).unwrap();
        as_the_model(&limit, &BucketModel { rate, capacity: (u128::from(burst + debt), 0), told: burst, owed: debt.into() }, &run)?;
    }

    #[test]
    fn gcra_is_its_model((rate, tolerance, run) in rates().prop_flat_map(|rate| (Just(rate), 0u64..1_000_000, runs(rate, false)))) {
        let limit = Gcra::new(rate).tolerance(Duration::from_micros(tolerance));
        prop_assume!(limit.is_ok());
        let told = match (rate.limit(), rate.period().as_micros()) {
            (0, _) => 0,
            (limit, period) => u32::try_from(1 + u128::from(tolerance) * u128::from(limit) / period.max(1)).unwrap_or(u32::MAX),
        };
        let holds = (u128::from(rate.limit() > 0), tolerance);
        as_the_model(&limit.unwrap(), &BucketModel { rate, capacity: holds, told, owed: 0 }, &run)?;
    }

    /// The laws that hold for any composition.
    #[test]
    fn compositions_are_lawful((first, second, forward, any) in cases(token_bucket), window in rates()) {
        let pair = (first, (FixedWindow::new(window), second));
        let all = All([first, second]);
        for run in [&forward, &any] {
            let check = |held: Result<(), laws::BrokenLaw>| held.map_err(|broken| TestCaseError::fail(broken.to_string()));
            check(laws::pure(&pair, run))?;
            check(laws::denial_is_free(&pair, run))?;
            check(laws::waits_are_exact(&pair, run))?;
            check(laws::expiry_is_invisible(&pair, run))?;
            check(laws::codec_round_trips(&pair, run))?;
            check(laws::pure(&all, run))?;
            check(laws::denial_is_free(&all, run))?;
            check(laws::waits_are_exact(&all, run))?;
            check(laws::codec_round_trips(&all, run))?;
        }
        let fixed = Fixed::<_, _, 4>::new(ManualClock::default(), 42).when_full(WhenFull::Refuse);
        prop_assert_eq!(laws::storage_agrees(&pair, &fixed, "key", &forward), Ok(()));
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        tag in proptest::sample::select(vec![0x11u8, 0x21]),
        (limit, _, _, run) in cases(token_bucket),
        window in rates(),
    ) {
        let mut tagged = bytes.clone();
        tagged.insert(0, tag);
        let window = FixedWindow::new(window);
        tagged.truncate(if tag == 0x11 { 13 } else { 25 });
        for bytes in [&bytes, &tagged] {
            prop_assert_eq!(laws::any_bytes_decode_or_are_refused(&limit, bytes, &run), Ok(()));
            prop_assert_eq!(laws::any_bytes_decode_or_are_refused(&window, bytes, &run), Ok(()));
        }
    }
}

#[test]
fn states_are_as_small_as_documented() {
    assert_eq!(size_of::<<FixedWindow as Strategy>::State>(), 12);
    assert_eq!(size_of::<<Gcra as Strategy>::State>(), 24);
    assert_eq!(<Gcra as Strategy>::State::MAX_LEN, 25);
    let fresh = <Gcra as Strategy>::State::default();
    assert!(Gcra::new(Rate::per_second(1)).stat(&fresh, Class::default(), Timestamp::EPOCH).conformant);
}
