//! A strategy chosen at run time decides as the strategy itself does, and keeps the laws.

use std::sync::Arc;

use crate::model::runs::{config, held, rates, runs};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use traffik::laws::{self, Step};
use traffik::storage::{Fixed, WhenFull};
use traffik::strategy::{
    Composite, DecisionList, Erased, ErasedScale, ErasedStrategy, InlineState, StatValue, Stats,
    StatsSnapshot, decode, encode,
};
use traffik::{
    All, Class, Cost, CostBased, Decision, FixedWindow, Gcra, Hit, LeakyBucket, LeakyBucketQueue, Limiter,
    ManualClock, Memory, Outcome, Rate, Ratio, Scale, Strategy, Timestamp, TokenBucket, Verdict,
};

/// Room for the state and the verdict of four limits.
type Four = Composite<DecisionList<4>>;
type Chosen = Erased<Arc<dyn ErasedStrategy<128, Four>>, 128>;
type Scalable = Erased<Arc<dyn ErasedScale<128, Four>>, 128>;

fn hit<C: Cost>(step: &Step) -> Hit<C> {
    Hit::new(C::uniform(step.cost)).with_class(step.class)
}

fn decisions(verdict: &impl Verdict) -> Vec<Decision> {
    let mut decisions = Vec::new();
    verdict.for_each(&mut |decision| decisions.push(*decision));
    decisions
}

fn same(erased: &impl Verdict, typed: &impl Verdict) -> Result<(), TestCaseError> {
    prop_assert_eq!(erased.outcome(), typed.outcome());
    prop_assert_eq!(decisions(erased), decisions(typed));
    prop_assert_eq!((erased.is_dirty(), erased.pressure()), (typed.is_dirty(), typed.pressure()));
    Ok(())
}

/// Runs both over the same hits, with refunds and charges between, and compares all that can be asked.
fn agrees<S>(
    typed: &S,
    erased: &impl Strategy<State = InlineState<128>, Cost = u32, Stat = StatsSnapshot>,
    run: &[Step],
) -> Result<(), TestCaseError>
where
    S: Strategy<Stat: Stats>,
{
    let (mut state, mut bytes) = (S::State::default(), InlineState::default());
    for (number, step) in run.iter().enumerate() {
        same(&erased.peek(&bytes, &hit(step), step.at), &typed.peek(&state, &hit(step), step.at))?;
        let (ours, theirs) =
            (erased.decide(&mut bytes, &hit(step), step.at), typed.decide(&mut state, &hit(step), step.at));
        same(&ours, &theirs)?;
        match number % 4 {
            1 if theirs.outcome().is_allowed() => {
                let later = step.at.plus_micros(u64::from(step.cost % 3));
                erased.refund(&mut bytes, &hit(step), ours.receipt(), later);
                typed.refund(&mut state, &hit(step), theirs.receipt(), later);
            }
            2 => {
                erased.charge(&mut bytes, &hit(step), step.at);
                typed.charge(&mut state, &hit(step), step.at);
            }
            _ => {}
        }
        let told = StatsSnapshot::of(&typed.stat(&state, step.class, step.at));
        prop_assert_eq!(erased.stat(&bytes, step.class, step.at), told);
        prop_assert_eq!(erased.expires_at(&bytes, step.class), typed.expires_at(&state, step.class));
        prop_assert_eq!(bytes == InlineState::default(), state == S::State::default());
        let mut written = [0; 131];
        let length = encode(&bytes, &mut written).unwrap();
        prop_assert_eq!(decode(written.get(..length).unwrap()), Ok(bytes));
    }
    prop_assert_eq!((erased.max_ttl(), erased.fits_script()), (typed.max_ttl(), typed.fits_script()));
    Ok(())
}

/// The strategy as it is, and scaled twice.
fn scales<S: Scale<Stat: Stats>>(typed: S, ratios: [Ratio; 2], run: &[Step]) -> Result<(), TestCaseError> {
    agrees(&typed, &Chosen::new(Arc::new(typed.clone())), run)?;
    let erased = Scalable::new(Arc::new(typed.clone()));
    agrees(&typed, &erased, run)?;
    let forward = run.is_sorted_by_key(|step| step.at);
    if forward {
        held(laws::advance_is_invisible(&erased, run))?;
    }
    let scaled = typed.scaled(ratios[0]).and_then(|typed| typed.scaled(ratios[1]));
    match (scaled, erased.scaled(ratios[0]).and_then(|erased| erased.scaled(ratios[1]))) {
        (Ok(typed), Ok(erased)) => {
            agrees(&typed, &erased, run)?;
            if forward { held(laws::advance_is_invisible(&erased, run)) } else { Ok(()) }
        }
        (typed, erased) => {
            prop_assert_eq!(typed.err(), erased.err());
            Ok(())
        }
    }
}

/// The choice that is a composed strategy.
const PAIR: u8 = 6;

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn erased_and_typed_decide_the_same(
        (rate, run, any) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, false), runs(rate, true))),
        second in rates(),
        choice in 0..=PAIR,
        size in 0u32..20,
        ratios in proptest::array::uniform2((1u64..9, 1u64..9).prop_map(|(num, den)| Ratio::new(num, den).unwrap())),
    ) {
        let bucket = TokenBucket::new(rate).burst(size).unwrap();
        let queue = LeakyBucketQueue::new(rate).queue(size).unwrap();
        let window = FixedWindow::new(second);
        for run in [&run, &any] {
            match choice {
                0 => scales(FixedWindow::new(rate), ratios, run)?,
                1 => scales(bucket, ratios, run)?,
                2 => scales(Gcra::new(rate).burst(size).unwrap(), ratios, run)?,
                3 => scales(LeakyBucket::new(rate).capacity(size).unwrap(), ratios, run)?,
                4 => scales(queue, ratios, run)?,
                5 => scales(CostBased::new(rate).window(1 + size).unwrap(), ratios, run)?,
                PAIR.. => {
                    let nested = (bucket, (window, queue));
                    agrees(&nested, &Chosen::new(Arc::new(nested)), run)?;
                    let several = All([(bucket, window), (TokenBucket::new(second), FixedWindow::new(rate))]);
                    agrees(&several, &Chosen::new(Arc::new(several)), run)?;
                }
            }
        }
    }

    #[test]
    fn whatever_is_chosen_is_lawful(
        (rate, run, any) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, false), runs(rate, true))),
        choice in 0..=PAIR,
        size in 0u32..20,
    ) {
        let bucket = TokenBucket::new(rate).burst(size).unwrap();
        let queue = LeakyBucketQueue::new(rate).queue(size).unwrap();
        let chosen: Arc<dyn ErasedStrategy<128, Four>> = match choice {
            0 => Arc::new(FixedWindow::new(rate)),
            1 => Arc::new(bucket),
            2 => Arc::new(Gcra::new(rate)),
            3 => Arc::new(LeakyBucket::new(rate)),
            4 => Arc::new(queue),
            5 => Arc::new(CostBased::new(rate)),
            PAIR.. => Arc::new((bucket, queue)),
        };
        let limit = Erased::new(chosen);
        for run in [&run, &any] {
            held(laws::pure(&limit, run))?;
            held(laws::denial_is_free(&limit, run))?;
            held(laws::waits_are_exact(&limit, run))?;
            if choice < PAIR {
                // Of composed limits each wait is within its horizon, but not how they are settled.
                held(laws::time_may_step_back(&limit, run))?;
            }
            held(laws::codec_round_trips(&limit, run))?;
            held(laws::expiry_is_invisible(&limit, run))?;
        }
        let fixed = Fixed::<Chosen, _, 4>::new(ManualClock::default(), 42).when_full(WhenFull::Refuse);
        held(laws::storage_agrees(&limit, &fixed, "key", &run))?;
        held(laws::storage_agrees(&All([limit.clone(), limit]), &all(), "key", &run))?;
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64), tag in proptest::sample::select(vec![0x11u8, 0x21, 0x22]), run in runs(Rate::per_second(9), true)) {
        let limit = Chosen::new(Arc::new((CostBased::new(Rate::per_second(9)), Gcra::new(Rate::per_second(9)))));
        let length = bytes.len() as u8 + 1;
        let framed = [&[0x7f, length, 0, tag][..], &bytes].concat();
        for bytes in [&bytes, &framed] {
            held(laws::any_bytes_decode_or_are_refused(&limit, bytes, &run))?;
        }
        prop_assert!(decode::<InlineState<128>>(&framed).is_ok());
        prop_assert!(decode::<InlineState<32>>(&framed).is_ok() == (length <= 32));
    }
}

fn all() -> Fixed<All<Chosen, 2>, ManualClock, 4> {
    Fixed::new(ManualClock::default(), 42).when_full(WhenFull::Refuse)
}

static PER_HOUR: Gcra = Gcra::new(Rate::per_hour(1));

#[test]
fn a_limit_chosen_at_run_time_works_with_and_without_a_heap() {
    let fixed = Fixed::<Erased<&dyn ErasedStrategy<25>, 25>, _, 4>::new(ManualClock::default(), 1);
    let limiter = Limiter::new(Erased::new(&PER_HOUR as &'static dyn ErasedStrategy<25>), fixed);
    assert!(limiter.check("key").unwrap().is_allowed());
    let denied = limiter.check("key").unwrap();
    assert_eq!(denied.limit(), 1);
    assert_eq!(denied.outcome(), Outcome::Deny { retry_after: std::time::Duration::from_secs(3600) });

    let memory = Memory::<Chosen, _>::builder().clock(ManualClock::default()).build();
    let pair = (PER_HOUR, TokenBucket::new(Rate::per_hour(5)));
    let limiter = Limiter::new(Chosen::new(Arc::new(pair)), memory);
    let receipt = limiter.check("key").unwrap().receipt();
    assert!(!limiter.check("key").unwrap().is_allowed());
    let refunded = limiter.refund("key", 1, receipt).unwrap();
    assert_eq!(refunded.decisions().iter().map(Decision::remaining).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(limiter.stat("key").unwrap().find("capacity"), Some(StatValue::Count(5)));
}

#[test]
fn the_state_of_another_strategy_is_that_of_a_key_never_seen() {
    let (first, second) =
        (Chosen::new(Arc::new(PER_HOUR)), Chosen::new(Arc::new(FixedWindow::new(Rate::per_hour(2)))));
    let mut state = InlineState::default();
    assert!(first.decide(&mut state, &Hit::new(1), Timestamp::EPOCH).is_allowed());
    assert_eq!(second.expires_at(&state, Class::default()), Timestamp::EPOCH);
    let decision = second.decide(&mut state, &Hit::new(1), Timestamp::EPOCH);
    assert_eq!(decision.decisions()[0].remaining(), 1);
}

/// Use is kept when the strategy is replaced, whichever replaces which.
#[test]
fn a_change_of_strategy_grants_nothing() {
    let rate: Rate = "100/h".parse().unwrap();
    let strategies: [Arc<dyn ErasedStrategy<128, Four>>; 5] = [
        Arc::new(FixedWindow::new(rate)),
        Arc::new(TokenBucket::new(rate)),
        Arc::new(Gcra::new(rate).burst(100).unwrap()),
        Arc::new(LeakyBucket::new(rate).capacity(100).unwrap()),
        Arc::new(All([TokenBucket::new(rate), TokenBucket::new("300/h".parse().unwrap())])),
    ];
    let now = Timestamp::from_micros(7_200_000_000);
    for (from, old) in strategies.iter().enumerate() {
        for (to, new) in strategies.iter().enumerate() {
            let (before, mut state) = (Chosen::new(Arc::clone(old)), InlineState::default());
            let first = before.decide(&mut state, &Hit::new(70), now);
            assert!(first.is_allowed());
            let after = Chosen::new(Arc::clone(new)).migrating_from(Arc::clone(old));
            let left = |state| after.peek(state, &Hit::new(0), now).decisions()[0].remaining();
            assert_eq!(left(&state), 30, "{from} to {to}");
            assert!(!after.decide(&mut state, &Hit::new(31), now).is_allowed(), "{from} to {to}");
            assert!(after.decide(&mut state, &Hit::new(30), now).is_allowed(), "{from} to {to}");
            assert!(!after.decide(&mut state, &Hit::new(1), now).is_allowed(), "{from} to {to}");
            let fresh = after.expires_at(&state, Class::default());
            assert!(fresh > now && after.peek(&state, &Hit::new(100), fresh).is_allowed(), "{from} to {to}");
            // It stands in the new form now, so nothing has to be taken over any more.
            let alone = Chosen::new(Arc::clone(new));
            assert_eq!(
                alone.peek(&state, &Hit::new(1), now).outcome(),
                after.peek(&state, &Hit::new(1), now).outcome()
            );
        }
    }
    let (old, new) = (Arc::clone(&strategies[0]), Arc::clone(&strategies[1]));
    let after = Chosen::new(new).migrating_from(old);
    assert!(after.decide(&mut InlineState::default(), &Hit::new(100), now).is_allowed(), "a key never seen");
}
