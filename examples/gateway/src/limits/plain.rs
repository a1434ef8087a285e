//! The strategies that wrap no other: the name, the parameters and the constructor of each.
//!
//! To add a strategy, add a row to [`STRATEGIES`] and the function that the row names.

use std::fmt::Display;
use std::sync::Arc;

use traffik::strategy::ErasedScale;
use traffik::{
    Adaptive, Class, CostBased, FairShare, FixedWindow, Gcra, HeapLog, Label, LeakyBucket, LeakyBucketQueue,
    QuotaRollover, Rate, Ratio, Regions, SlidingLog, SlidingWindow, TokenBucket,
};

use crate::limits::limit::{DynStrategy, LARGE, SMALL};
use crate::limits::parameters::{PART, Parameters, PositiveDuration, TIME, WHOLE};

/// The name of each strategy, an example of its parameters for `--help`, and its parser. Messages list
/// strategies in this order.
const STRATEGIES: &[(&str, &str, StrategyParser)] = &[
    ("fixed-window", "", fixed_window),
    ("sliding-window", "[:strict=10]", sliding_window),
    ("sliding-log", "", sliding_log),
    ("token-bucket", "[:burst=150][,debt=50]", token_bucket),
    ("leaky-bucket", "[:capacity=5]", leaky_bucket),
    ("leaky-bucket-queue", "[:queue=20]", leaky_bucket_queue),
    ("gcra", "[:burst=10] or gcra:tolerance=500ms", gcra),
    ("adaptive", "[:threshold=0.8,reduction=0.6,recovery=0.1,floor=0.3]", adaptive),
    ("quota-rollover", "[:percent=50,max=500]", quota_rollover),
    ("cost-based", "[:burst=200,window=100,floor=0.5]", cost_based),
    ("fair-share", ":instance=a,weight=1", fair_share),
    ("regions", REGIONS, regions),
];

const REGIONS: &str = ":us=2/5,eu=3/10,default=3/10,spill=true";

/// The kind of all buckets whose state is a level: all but queues.
const LEVEL: &str = "level";

/// Timestamps that a wrapped log keeps inline.
const LOG: usize = 32;
/// Most buckets of a strict window.
const BUCKETS: usize = 64;
/// Most instances or regions that share a limit.
const MEMBERS: usize = 16;

type StrategyParser = fn(&mut Parameters<'_>) -> Result<PlainStrategy, String>;

/// A strategy that wraps no other, with its parameters.
#[derive(Clone)]
pub(crate) struct PlainStrategy {
    /// The kind of the strategy's states. Strategies of one kind read each other's states.
    pub(crate) kind: &'static str,
    /// The class of every request; it names this instance if instances share a limit.
    pub(crate) class: Class,
    pub(crate) build: StrategyBuilder,
    /// Builds the strategy on the heap, for one whose states have no size bound while nothing wraps it.
    pub(crate) unbounded: Option<fn(Rate) -> Result<HeapLog, String>>,
}

/// Builds the strategy for a rate, by the size of its states.
#[derive(Clone)]
pub(crate) enum StrategyBuilder {
    Small(SizedBuilder<SMALL>),
    Large(SizedBuilder<LARGE>),
}

type SizedBuilder<const LEN: usize> = Arc<dyn Fn(Rate) -> Result<DynStrategy<LEN>, String> + Send + Sync>;

/// Returns the names of all strategies.
pub(crate) fn names() -> Vec<&'static str> {
    STRATEGIES.iter().map(|(name, ..)| *name).collect()
}

/// Returns an example of each strategy's text form, for `--help`.
pub(crate) fn usage() -> String {
    let usage: Vec<_> = STRATEGIES.iter().map(|(name, example, _)| format!("{name}{example}")).collect();
    usage.join("; ")
}

/// Parses the parameters of a named strategy. Returns `None` if no strategy has the name.
pub(crate) fn parse(name: &str, mut given: Parameters<'_>) -> Option<Result<PlainStrategy, String>> {
    let (.., parser) = STRATEGIES.iter().find(|(known, ..)| *known == name)?;
    Some(parser(&mut given).and_then(|strategy| given.finish().map(|()| strategy)))
}

fn fixed_window(_: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    Ok(small("fixed-window", |rate| Ok(FixedWindow::new(rate))))
}

fn sliding_window(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    Ok(match given.take("strict", WHOLE)? {
        None => small("sliding-window", |rate| Ok(SlidingWindow::new(rate))),
        Some(buckets) => large("sliding-window", move |rate| {
            SlidingWindow::strict::<BUCKETS>(rate).buckets(buckets).map_err(message)
        }),
    })
}

fn sliding_log(_: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let inline = large("sliding-log", |rate| SlidingLog::<LOG>::new(rate).map_err(message));
    Ok(PlainStrategy { unbounded: Some(|rate| HeapLog::new(rate).map_err(message)), ..inline })
}

fn token_bucket(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let (burst, debt) = (given.take("burst", WHOLE)?, given.take("debt", WHOLE)?.unwrap_or(0));
    Ok(small(LEVEL, move |rate| {
        with(TokenBucket::new(rate), TokenBucket::burst, burst)?.debt(debt).map_err(message)
    }))
}

fn leaky_bucket(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let capacity = given.take("capacity", WHOLE)?;
    Ok(small(LEVEL, move |rate| with(LeakyBucket::new(rate), LeakyBucket::capacity, capacity)))
}

fn leaky_bucket_queue(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let queue = given.take("queue", WHOLE)?;
    Ok(small("leaky-bucket-queue", move |rate| {
        with(LeakyBucketQueue::new(rate), LeakyBucketQueue::queue, queue)
    }))
}

fn gcra(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let (burst, tolerance) = (given.take("burst", WHOLE)?, given.take("tolerance", TIME)?);
    if burst.is_some() && tolerance.is_some() {
        return Err("burst and tolerance set the same bound; give gcra one of them".to_owned());
    }
    given.finish_with("burst or tolerance")?;
    Ok(small(LEVEL, move |rate| {
        let gcra = with(Gcra::new(rate), Gcra::burst, burst)?;
        with(gcra, Gcra::tolerance, tolerance.map(|PositiveDuration(tolerance)| tolerance))
    }))
}

fn adaptive(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let (threshold, reduction) = (given.take("threshold", PART)?, given.take("reduction", PART)?);
    let (recovery, floor) = (given.take("recovery", PART)?, given.take("floor", PART)?);
    Ok(small("adaptive", move |rate| {
        let adaptive = with(Adaptive::new(rate), Adaptive::floor, floor)?;
        let adaptive = with(adaptive, Adaptive::threshold, threshold)?;
        let adaptive = with(adaptive, Adaptive::reduction, reduction)?;
        with(adaptive, Adaptive::recovery, recovery)
    }))
}

fn quota_rollover(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let percent = given.take::<u32>("percent", WHOLE)?;
    let share = percent.map(|percent| Ratio::new(percent.into(), 100).unwrap_or(Ratio::ONE));
    let max = given.take("max", WHOLE)?;
    Ok(small("quota-rollover", move |rate| {
        let quota = with(QuotaRollover::new(rate), QuotaRollover::share, share)?;
        Ok(max.map_or(quota, |max| quota.max_rollover(max)))
    }))
}

fn cost_based(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let (burst, window) = (given.take("burst", WHOLE)?, given.take("window", WHOLE)?);
    let floor = given.take("floor", PART)?;
    Ok(small("cost-based", move |rate| {
        let bucket = with(CostBased::new(rate), CostBased::window, window)?;
        let bucket = with(bucket, CostBased::floor, floor)?;
        with(bucket, CostBased::burst, burst)
    }))
}

fn fair_share(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let instance = given.take::<String>("instance", "a name")?;
    let instance = instance
        .filter(|name| !name.is_empty())
        .ok_or("fair-share needs the name of this instance; write fair-share:instance=a")?;
    let weight = given.take::<u32>("weight", WHOLE)?.unwrap_or(1);
    let mut strategy = large("fair-share", move |rate| {
        let weight = u16::try_from(weight)
            .map_err(|_| format!("weight={weight} is above the largest weight, 65535"))?;
        FairShare::<MEMBERS>::new(rate).weight(weight).map_err(message)
    });
    strategy.class.instance = Label::named(&instance);
    Ok(strategy)
}

fn regions(given: &mut Parameters<'_>) -> Result<PlainStrategy, String> {
    let spill = given.take("spill", "true or false")?.unwrap_or(false);
    let default = given.take("default", PART)?;
    let shares = given.named(&format!("regions{REGIONS}"))?;
    Ok(large("regions", move |rate| {
        let regions = Regions::<MEMBERS>::new(rate, &shares).map_err(message)?;
        Ok(with(regions, Regions::other, default)?.spill(spill))
    }))
}

/// Describes a strategy whose states take at most [`SMALL`] bytes.
fn small<L: ErasedScale<SMALL> + 'static>(
    kind: &'static str,
    build: impl Fn(Rate) -> Result<L, String> + Send + Sync + 'static,
) -> PlainStrategy {
    let build = StrategyBuilder::Small(Arc::new(move |rate| Ok(Arc::new(build(rate)?))));
    PlainStrategy { kind, class: Class::default(), build, unbounded: None }
}

/// Describes a strategy whose states take at most [`LARGE`] bytes.
fn large<L: ErasedScale<LARGE> + 'static>(
    kind: &'static str,
    build: impl Fn(Rate) -> Result<L, String> + Send + Sync + 'static,
) -> PlainStrategy {
    let build = StrategyBuilder::Large(Arc::new(move |rate| Ok(Arc::new(build(rate)?))));
    PlainStrategy { kind, class: Class::default(), build, unbounded: None }
}

/// Sets `value` on `strategy`. Without a value, the strategy keeps its default.
fn with<L, V, E: Display>(
    strategy: L,
    set: impl FnOnce(L, V) -> Result<L, E>,
    value: Option<V>,
) -> Result<L, String> {
    match value {
        Some(value) => set(strategy, value).map_err(message),
        None => Ok(strategy),
    }
}

/// Returns the text of an error.
pub(crate) fn message(error: impl Display) -> String {
    error.to_string()
}
