//! The strategies whose goldens are kept, each in several sizes.

use std::sync::Arc;
use std::time::Duration;

use super::Visit;
use traffik::strategy::{Composite, DecisionList, Erased, ErasedScale, ErasedStrategy};
use traffik::{
    Adaptive, All, CostBased, FairShare, FixedWindow, Gcra, HeapLog, Hours, Label, LeakyBucket,
    LeakyBucketQueue, Priority, QuotaRollover, Rate, Ratio, Regions, SlidingLog, SlidingWindow, StrictWindow,
    Tiered, TimeOfDay, TokenBucket,
};

/// A size that strategies come in.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) rate: Rate,
    /// The burst, capacity, queue or what else there is beside the rate.
    pub(super) burst: u32,
    /// The unit of the sequence: its cost of 1.
    pub(super) unit: u32,
    /// Whether the middle of the sequence is left out.
    pub(super) is_brief: bool,
}

impl Sample {
    /// How long the rate's period is, for what goes by it.
    pub(super) fn period(&self) -> u64 {
        if self.rate.is_unlimited() { 1_000_000 } else { self.rate.period().as_micros() as u64 }
    }

    /// Whether it is one of those rates that decide alike at all times.
    pub(super) fn is_edge(&self) -> bool {
        self.rate.is_unlimited() || self.rate.limit() == 0
    }

    /// Another rate, for what is composed: half as much again in four times as long.
    fn slower(&self) -> Rate {
        if self.is_edge() {
            return self.rate;
        }
        Rate::new(self.rate.limit() + self.rate.limit() / 2, 4 * self.rate.period()).unwrap()
    }
}

fn per(limit: u32, period: Duration) -> Rate {
    Rate::new(limit, period).unwrap()
}

/// Small, odd and large, and the rates that let all or nothing pass.
fn sizes() -> Vec<Sample> {
    const DAY: Duration = Duration::from_secs(86_400);
    let size = |name, rate, burst, unit, is_brief| Sample { name, rate, burst, unit, is_brief };
    vec![
        size("small", Rate::per_second(3), 3, 1, false),
        size("odd", per(7, Duration::from_secs(3)), 11, 1, false),
        size("large", per(1_000_000, DAY), 1_500_000, 90_001, true),
        size("unlimited", Rate::UNLIMITED, 3, 1, true),
        size("closed", Rate::per_second(0), 3, 1, true),
    ]
}

/// The same, but for the large one no more than a log has room for.
fn small_sizes() -> Vec<Sample> {
    let mut sizes = sizes();
    sizes[2] = Sample { name: "roomy", rate: Rate::per_minute(24), burst: 30, unit: 2, is_brief: true };
    sizes
}

/// The same, but only the odd one in full: what is within another strategy is seen in full by itself.
fn brief_sizes() -> Vec<Sample> {
    sizes().into_iter().map(|size| Sample { is_brief: size.name != "odd", ..size }).collect()
}

/// The odd one, and no other of those that are rates, for what has a typed twin.
fn twin_sizes() -> Vec<Sample> {
    brief_sizes().into_iter().filter(|size| size.name == "odd" || size.is_edge()).collect()
}

/// A strategy in some size.
pub(super) struct Case<S> {
    pub(super) size: Sample,
    pub(super) limit: S,
    /// The strategy that replaces this one in the middle of a run.
    pub(super) later: Option<S>,
}

fn cases<S>(sizes: Vec<Sample>, make: impl Fn(&Sample) -> Option<S>) -> Vec<Case<S>> {
    let made = sizes.into_iter().filter_map(|size| match make(&size) {
        // Not every strategy can be had at rates that are none.
        None if size.is_edge() => None,
        made => Some(Case { size, limit: made.expect("it can be made"), later: None }),
    });
    made.collect()
}

fn ratio(num: u64, den: u64) -> Ratio {
    Ratio::new(num, den).unwrap()
}

fn tiers() -> [(Label, Ratio); 2] {
    [(Label(1), ratio(1, 3)), (Label(2), ratio(5, 2))]
}

fn reserves() -> [(Label, Ratio); 2] {
    [(Label(1), ratio(1, 3)), (Label(2), ratio(3, 4))]
}

fn hours() -> [Hours; 2] {
    [Hours::new((0, 0), (6, 0), ratio(1, 2)), Hours::new((9, 30), (22, 15), ratio(5, 3))]
}

fn token(size: &Sample) -> Option<TokenBucket> {
    TokenBucket::new(size.rate).burst(size.burst).ok()
}

fn queue(size: &Sample) -> Option<LeakyBucketQueue> {
    LeakyBucketQueue::new(size.rate).queue(size.burst).ok()
}

fn adaptive(size: &Sample) -> Option<Adaptive> {
    let plain = Adaptive::new(size.rate);
    if size.name != "odd" {
        return Some(plain);
    }
    let limit = plain.threshold(ratio(1, 2)).ok()?.reduction(ratio(3, 7)).ok()?;
    Some(limit.recovery(ratio(1, 3)).ok()?.floor(ratio(1, 5)).ok()?.load(ratio(1, 4)))
}

type Chosen<const LEN: usize, const N: usize> =
    Erased<Arc<dyn ErasedStrategy<LEN, Composite<DecisionList<N>>>>, LEN>;
type Scalable = Erased<Arc<dyn ErasedScale<32, Composite<DecisionList<1>>>>, 32>;
type Alone = Erased<Arc<dyn ErasedScale<32>>, 32>;

fn alone(limit: impl ErasedScale<32> + 'static) -> Alone {
    Erased::new(Arc::new(limit))
}

/// Shows every strategy.
pub(super) fn every(visit: &mut impl Visit) {
    counters(visit);
    meters(visit);
    shared(visit);
    wrapped(visit);
    composed(visit);
    erased(visit);
}

fn counters(visit: &mut impl Visit) {
    let anchored = |size: &Sample| {
        let window = FixedWindow::new(size.rate);
        Some(if size.name == "odd" { window.anchor(Duration::from_micros(1_234_567)) } else { window })
    };
    visit.see("fixed_window", cases(sizes(), anchored));
    visit.see("sliding_window", cases(sizes(), |size| Some(SlidingWindow::new(size.rate))));
    visit.see(
        "strict_window",
        cases(sizes(), |size| -> Option<StrictWindow<6>> {
            let window = SlidingWindow::strict(size.rate);
            if size.name == "odd" { window.buckets(4).ok() } else { Some(window) }
        }),
    );
    visit.see("sliding_log", cases(small_sizes(), |size| SlidingLog::<24>::new(size.rate).ok()));
    visit.see("heap_log", cases(small_sizes(), |size| HeapLog::new(size.rate).ok()));
    visit.see(
        "quota_rollover",
        cases(sizes(), |size| {
            let limit = QuotaRollover::new(size.rate);
            if size.name != "odd" {
                Some(limit)
            } else {
                Some(limit.share(ratio(2, 3)).ok()?.max_rollover(5))
            }
        }),
    );
    visit.see("adaptive", cases(sizes(), adaptive));
}

fn meters(visit: &mut impl Visit) {
    visit.see(
        "token_bucket",
        cases(sizes(), |size| match size.name {
            "odd" => token(size)?.debt(5).ok(),
            _ => token(size),
        }),
    );
    visit.see(
        "gcra",
        cases(sizes(), |size| match size.name {
            "odd" => Gcra::new(size.rate).tolerance(Duration::from_micros(1_234_567)).ok(),
            _ => Gcra::new(size.rate).burst(size.burst).ok(),
        }),
    );
    visit.see("leaky_bucket", cases(sizes(), |size| LeakyBucket::new(size.rate).capacity(size.burst).ok()));
    visit.see("leaky_bucket_queue", cases(sizes(), queue));
    visit.see(
        "cost_based",
        cases(sizes(), |size| {
            let limit = CostBased::new(size.rate);
            if size.name != "odd" {
                return Some(limit);
            }
            limit.burst(size.burst).ok()?.window(5).ok()?.floor(ratio(1, 3)).ok()
        }),
    );
}

fn shared(visit: &mut impl Visit) {
    visit.see(
        "fair_share",
        cases(sizes(), |size| {
            let limit = FairShare::<2>::new(size.rate);
            if size.name == "odd" { limit.weight(3).ok() } else { Some(limit) }
        }),
    );
    let regions = [(Label(1), ratio(1, 2)), (Label(2), ratio(1, 3))];
    visit.see(
        "regions",
        cases(sizes(), |size| match size.name {
            "odd" => Regions::<3>::new(size.rate, &regions).ok()?.other(ratio(1, 6)).ok(),
            _ => Regions::<3>::new(size.rate, &regions).ok(),
        }),
    );
    visit.see(
        "regions_spill",
        cases(sizes(), |size| Some(Regions::<3>::new(size.rate, &regions).ok()?.spill(true))),
    );
}

fn wrapped(visit: &mut impl Visit) {
    visit.see("tiered_token", cases(brief_sizes(), |size| Tiered::new(token(size)?, tiers()).ok()));
    visit.see(
        "tiered_window",
        cases(brief_sizes(), |size| Tiered::new(FixedWindow::new(size.rate), tiers()).ok()),
    );
    visit.see(
        "priority_gcra",
        cases(brief_sizes(), |size| {
            Priority::new(Gcra::new(size.rate).burst(size.burst).ok()?, reserves()).ok()
        }),
    );
    visit.see(
        "priority_adaptive",
        cases(brief_sizes(), |size| Priority::new(adaptive(size)?, reserves()).ok()),
    );
    visit.see(
        "time_of_day_token",
        cases(brief_sizes(), |size| {
            let limit = TimeOfDay::new(token(size)?, hours()).ok()?;
            if size.name == "odd" { limit.utc_offset(-330).ok() } else { Some(limit) }
        }),
    );
    visit.see(
        "time_of_day_rollover",
        cases(brief_sizes(), |size| TimeOfDay::new(QuotaRollover::new(size.rate), hours()).ok()),
    );
    visit.see(
        "tiered_hours_priority",
        cases(brief_sizes(), |size| {
            let inner = Priority::new(token(size)?, reserves()).ok()?;
            Tiered::new(TimeOfDay::new(inner, hours()).ok()?, tiers()).ok()
        }),
    );
}

fn composed(visit: &mut impl Visit) {
    visit.see("pair", cases(brief_sizes(), |size| Some((token(size)?, FixedWindow::new(size.slower())))));
    visit.see(
        "pair_demand",
        cases(brief_sizes(), |size| {
            Some((adaptive(size)?, Gcra::new(size.slower()).burst(size.burst).ok()?))
        }),
    );
    visit.see(
        "pair_nested",
        cases(brief_sizes(), |size| Some((token(size)?, (FixedWindow::new(size.slower()), queue(size)?)))),
    );
    visit.see(
        "all",
        cases(brief_sizes(), |size| {
            let slower = TokenBucket::new(size.slower());
            Some(All([token(size)?, slower, TokenBucket::new(size.rate).debt(1).ok()?]))
        }),
    );
    visit.see(
        "all_demand",
        cases(brief_sizes(), |size| {
            Some(All([FairShare::<2>::new(size.rate), FairShare::<2>::new(size.slower()).weight(2).ok()?]))
        }),
    );
    visit.see(
        "all_pairs",
        cases(brief_sizes(), |size| {
            let (window, slower) = (FixedWindow::new(size.rate), FixedWindow::new(size.slower()));
            Some(All([(token(size)?, slower), (TokenBucket::new(size.slower()), window)]))
        }),
    );
    visit.see(
        "pair_of_alls",
        cases(brief_sizes(), |size| {
            let windows = All([SlidingWindow::new(size.rate), SlidingWindow::new(size.slower())]);
            Some((windows, All([queue(size)?])))
        }),
    );
}

fn erased(visit: &mut impl Visit) {
    visit.see_erased(
        "erased_one",
        cases(twin_sizes(), |size| -> Option<Chosen<32, 1>> { Some(Erased::new(Arc::new(token(size)?))) }),
    );
    visit.see_erased(
        "erased_several",
        cases(twin_sizes(), |size| -> Option<Chosen<128, 4>> {
            Some(Erased::new(Arc::new((token(size)?, (FixedWindow::new(size.slower()), queue(size)?)))))
        }),
    );
    visit.see_erased(
        "erased_all_demand",
        cases(twin_sizes(), |size| -> Option<Chosen<64, 2>> {
            let [one, other] = [size.rate, size.slower()].map(Adaptive::new);
            Some(Erased::new(Arc::new(All([one, other]))))
        }),
    );
    visit.see_erased(
        "erased_tiered",
        cases(twin_sizes(), |size| {
            let bucket: Arc<dyn ErasedScale<32, _>> = Arc::new(token(size)?);
            Tiered::new(Scalable::new(bucket), tiers()).ok()
        }),
    );
    visit.see_erased(
        "single_hours",
        cases(twin_sizes(), |size| TimeOfDay::new(alone(token(size)?), hours()).ok()),
    );
    visit.see_erased(
        "single_priority",
        cases(twin_sizes(), |size| Priority::new(alone(FixedWindow::new(size.rate)), reserves()).ok()),
    );
    let mut successions = cases(twin_sizes(), |size| -> Option<Chosen<32, 1>> {
        Some(Erased::new(Arc::new(FixedWindow::new(size.rate))))
    });
    for case in &mut successions {
        let old: Arc<dyn ErasedStrategy<32, _>> = Arc::new(FixedWindow::new(case.size.rate));
        let new: Arc<dyn ErasedStrategy<32, _>> = Arc::new(token(&case.size).unwrap());
        (case.limit, case.later) = (Erased::new(old.clone()), Some(Erased::new(new).migrating_from(old)));
    }
    visit.see_erased("erased_succession", successions);
    visit.see_erased(
        "all_singles",
        cases(twin_sizes(), |size| Some(All([alone(token(size)?), alone(FixedWindow::new(size.slower()))]))),
    );
}

#[test]
fn every_strategy_has_goldens() {
    let folder = traffik_test_support::folder::workspace().join("tests/models/laws/golden/states");
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let golden = folder.join(concat!(stringify!($name), ".txt"));
            assert!(golden.exists(), "{}: add it to every() in this file", stringify!($name));
        };
    }
    traffik::every_strategy!(each);
}
