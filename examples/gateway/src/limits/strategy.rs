//! Builds the strategy of a spec and a rate, chosen at run time.

use std::sync::Arc;

use traffik::strategy::Erased;
use traffik::{HeapLog, Label, Priority, Rate, Ratio, Tiered, TimeOfDay};

use crate::limits::limit::{
    AnyLimit, DynStrategy, LARGE, LARGE_WRAPPED, Limit, SMALL, SMALL_WRAPPED, WRAPPER,
};
use crate::limits::plain::{StrategyBuilder, message};
use crate::limits::spec::{Spec, Wrapper};

const SMALL_1: usize = SMALL + WRAPPER;
const SMALL_2: usize = SMALL_1 + WRAPPER;
const LARGE_1: usize = LARGE + WRAPPER;
const LARGE_2: usize = LARGE_1 + WRAPPER;

/// Most tiers or priorities of a wrapper.
const CLASSES: usize = 16;
/// Most spans of a day.
const SPANS: usize = 6;

/// The strategies of a throttle, one for each rate.
pub(crate) enum RateLimits {
    Any(Vec<AnyLimit>),
    Log(Vec<HeapLog>),
}

impl RateLimits {
    /// Checks that each of `instances` gateways can enforce its share of these rates as a fallback. Fails if
    /// a share is below 1, or if a strategy cannot be divided.
    pub(crate) fn check_shares(&self, instances: u32, rates: &[Rate]) -> Result<(), String> {
        fn each<L: Limit>(limits: &[L], part: Ratio) -> Result<(), String> {
            limits.iter().try_for_each(|it| it.part(part).map(|_| ()).map_err(message))
        }
        if let Some(rate) = rates.iter().find(|rate| (1..instances).contains(&rate.limit())) {
            return Err(format!(
                "fallback:instances={instances}: the share of {rate} is below 1 for each instance; raise \
                 the rate or lower instances"
            ));
        }
        let part = Ratio::new(1, instances.into()).map_err(message)?;
        match self {
            Self::Any(limits) => each(limits, part),
            Self::Log(limits) => each(limits, part),
        }
        .map_err(|error| format!("fallback:instances={instances}: 1/{instances} of the limit: {error}"))
    }
}

impl Spec {
    /// Builds a strategy for each rate. Errors name the settings that the rates and the strategy came from:
    /// options such as `--rate`, or keys of the file.
    pub(crate) fn limits(
        &self,
        rate_setting: &str,
        strategy_setting: &str,
        rates: &[Rate],
    ) -> Result<RateLimits, String> {
        let at_rate = |rate: &Rate, error| {
            format!("{rate_setting} {rate}: {strategy_setting} {}: {}", self.text, self.with_names(error))
        };
        fn each<T>(
            rates: &[Rate],
            at_rate: impl Fn(&Rate, String) -> String,
            limit: impl Fn(Rate) -> Result<T, String>,
        ) -> Result<Vec<T>, String> {
            rates.iter().map(|rate| limit(*rate).map_err(|error| at_rate(rate, error))).collect()
        }
        let wrappers = self.wrappers.len();
        if let (0, Some(build)) = (wrappers, self.plain.unbounded) {
            return Ok(RateLimits::Log(each(rates, at_rate, build)?));
        }
        if wrappers > 3 {
            return Err(format!("{wrappers} wrappers around one strategy; at most 3 can be nested"));
        }
        let limits = each(rates, at_rate, |rate| match (wrappers, &self.plain.build) {
            (0, StrategyBuilder::Small(build)) => Ok(AnyLimit::Small(build(rate)?.into())),
            (0, StrategyBuilder::Large(build)) => Ok(AnyLimit::Large(build(rate)?.into())),
            (_, StrategyBuilder::Small(build)) => {
                let wrapped = self.wrapped::<SMALL, SMALL_1, SMALL_2, SMALL_WRAPPED>(build(rate)?)?;
                Ok(AnyLimit::SmallWrapped(wrapped.into()))
            }
            (_, StrategyBuilder::Large(build)) => {
                let wrapped = self.wrapped::<LARGE, LARGE_1, LARGE_2, LARGE_WRAPPED>(build(rate)?)?;
                Ok(AnyLimit::LargeWrapped(wrapped.into()))
            }
        });
        limits.map(RateLimits::Any)
    }

    /// Replaces labels in an error by the names of the spec: the library knows a name only by its label, a
    /// hash.
    fn with_names(&self, error: String) -> String {
        let words = self.text.split(['(', ')', ',', '=', '/', ':']).filter(|word| !word.is_empty());
        words.fold(error, |error, word| error.replace(&Label::named(word).0.to_string(), word))
    }

    /// Returns the priorities that the spec names.
    pub(crate) fn priorities(&self) -> Vec<Label> {
        let reserves = self.wrappers.iter().filter_map(|wrapper| match wrapper {
            Wrapper::Priority { reserves } => Some(reserves),
            _ => None,
        });
        reserves.flatten().map(|(label, _)| *label).collect()
    }

    /// Reports whether requests may be admitted with a delay.
    pub(crate) fn delays(&self) -> bool {
        self.plain.kind == "leaky-bucket-queue"
    }

    /// Returns the kind of the states, and the number of wrappers that add to them. Strategies that agree in
    /// both read each other's states.
    pub(crate) fn kind(&self) -> (&'static str, usize) {
        // Tiers and priorities add nothing to a state.
        let adds = |wrapper: &&Wrapper| matches!(wrapper, Wrapper::TimeOfDay { .. });
        (self.plain.kind, self.wrappers.iter().filter(adds).count())
    }

    /// Wraps the strategy three times, with wrappers that change nothing after the last of the spec's own, so
    /// that all wrapped strategies have one size.
    fn wrapped<const A: usize, const B: usize, const C: usize, const D: usize>(
        &self,
        innermost: DynStrategy<A>,
    ) -> Result<DynStrategy<D>, String> {
        let mut wrappers = self.wrappers.iter();
        let first = wrap::<A, B>(wrappers.next(), innermost)?;
        let second = wrap::<B, C>(wrappers.next(), first)?;
        wrap::<C, D>(wrappers.next(), second)
    }
}

/// Puts one wrapper around a strategy. Without a wrapper, returns the same strategy with room for larger
/// states.
fn wrap<const IN: usize, const OUT: usize>(
    wrapper: Option<&Wrapper>,
    inner: DynStrategy<IN>,
) -> Result<DynStrategy<OUT>, String> {
    let inner = Erased::new(inner);
    match wrapper {
        Some(Wrapper::Tiered { tiers }) => {
            Ok(Arc::new(Tiered::new(inner, classes("tiers", tiers, Ratio::ONE)?).map_err(message)?))
        }
        Some(Wrapper::Priority { reserves }) => {
            let mut reserves = reserves.clone();
            // A request without a priority has the reserve of `normal`.
            if let Some((_, reserve)) = reserves.iter().find(|(label, _)| *label == Label::named("normal")) {
                reserves.push((Label::default(), *reserve));
            }
            Ok(Arc::new(
                Priority::new(inner, classes("priorities", &reserves, Ratio::ZERO)?).map_err(message)?,
            ))
        }
        Some(Wrapper::TimeOfDay { spans, offset_minutes }) => {
            if spans.len() > SPANS {
                return Err(format!("{} spans of the day; at most {SPANS} can be given", spans.len()));
            }
            let wrapped = TimeOfDay::<_, SPANS>::from_slice(inner, spans).map_err(message)?;
            Ok(Arc::new(wrapped.utc_offset(*offset_minutes).map_err(message)?))
        }
        None => Ok(Arc::new(inner)),
    }
}

/// Fills the array of a wrapper: the named classes, then unused labels, which no request has.
fn classes(of: &str, named: &[(Label, Ratio)], rest: Ratio) -> Result<[(Label, Ratio); CLASSES], String> {
    if named.len() > CLASSES {
        return Err(format!("{} {of}; at most {CLASSES} can be named", named.len()));
    }
    let nobody = (0..).map(Label).skip(1).filter(|label| named.iter().all(|(name, _)| name != label));
    let mut all = named.iter().copied().chain(nobody.map(|label| (label, rest)));
    Ok(std::array::from_fn(|_| all.next().unwrap_or((Label::default(), rest))))
}
