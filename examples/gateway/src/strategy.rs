//! The strategy that a spec and a rate come to, chosen at run time.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use traffik::strategy::Erased;
use traffik::{
    Adaptive, Class, CostBased, FairShare, FixedWindow, Gcra, HeapLog, Hours, Label, LeakyBucket,
    LeakyBucketQueue, Priority, QuotaRollover, Rate, Ratio, Regions, SlidingLog, SlidingWindow, Tiered,
    TimeOfDay, TokenBucket,
};

use crate::limit::{AnyLimit, Chosen, LARGE, LARGE_WRAPPED, Limit, SMALL, SMALL_WRAPPED, WRAPPER};
use crate::spec::{Span, Spec};

const SMALL_1: usize = SMALL + WRAPPER;
const SMALL_2: usize = SMALL_1 + WRAPPER;
const LARGE_1: usize = LARGE + WRAPPER;
const LARGE_2: usize = LARGE_1 + WRAPPER;

/// Times a log can keep inline, where it is wrapped.
const LOG: usize = 32;
/// Buckets of a strict window.
const BUCKETS: usize = 64;
/// Instances or regions that share a limit.
const MEMBERS: usize = 16;
/// Tiers or priorities of a wrapper.
const CLASSES: usize = 16;
/// Spans of a day.
const SPANS: usize = 6;

/// A limit of each rate.
pub(crate) enum Limits {
    Any(Vec<AnyLimit>),
    Log(Vec<HeapLog>),
}

impl Limits {
    /// Whether each of them can be had by one of so many instances, as their fallback.
    pub(crate) fn among(&self, instances: u32) -> Result<(), String> {
        fn each<L: Limit>(limits: &[L], part: Ratio) -> Result<(), String> {
            limits.iter().try_for_each(|it| it.scaled(part).map(|_| ()).map_err(told))
        }
        let part = Ratio::new(1, instances.into()).map_err(told)?;
        match self {
            Self::Any(limits) => each(limits, part),
            Self::Log(limits) => each(limits, part),
        }
        .map_err(|error| format!("fallback:instances={instances}: 1/{instances} of the limit: {error}"))
    }
}

impl Spec {
    /// The limits of these rates, which are given with this option.
    pub(crate) fn limits(&self, option: &str, rates: &[Rate]) -> Result<Limits, String> {
        fn each<T>(
            (option, rates): (&str, &[Rate]),
            limit: impl Fn(Rate) -> Result<T, String>,
        ) -> Result<Vec<T>, String> {
            rates
                .iter()
                .map(|rate| limit(*rate).map_err(|error| format!("{option} {rate}: {error}")))
                .collect()
        }
        let rates = (option, rates);
        let (wrappers, innermost) = self.unwrapped();
        if (wrappers, innermost) == (0, &Self::SlidingLog) {
            return Ok(Limits::Log(each(rates, |rate| HeapLog::new(rate).map_err(told))?));
        }
        if wrappers > 3 {
            return Err(format!("{wrappers} wrappers around one strategy; at most 3 can be nested"));
        }
        let limits = each(rates, |rate| match (wrappers, innermost.is_large()) {
            (0, false) => Ok(AnyLimit::Small(self.small(rate)?.into())),
            (0, true) => Ok(AnyLimit::Large(self.large(rate)?.into())),
            (_, false) => {
                let limit = innermost.small(rate)?;
                let wrapped = self.wrapped::<SMALL, SMALL_1, SMALL_2, SMALL_WRAPPED>(limit)?;
                Ok(AnyLimit::SmallWrapped(wrapped.into()))
            }
            (_, true) => {
                let limit = innermost.large(rate)?;
                let wrapped = self.wrapped::<LARGE, LARGE_1, LARGE_2, LARGE_WRAPPED>(limit)?;
                Ok(AnyLimit::LargeWrapped(wrapped.into()))
            }
        });
        limits.map(Limits::Any)
    }

    /// The class of every request: which instance this is, where instances share a limit.
    pub(crate) fn class(&self) -> Class {
        let mut class = Class::default();
        if let (_, Self::FairShare { instance, .. }) = self.unwrapped() {
            class.instance = *instance;
        }
        class
    }

    /// The priorities that are named.
    pub(crate) fn priorities(&self) -> Vec<Label> {
        let mut named = self.inner().map_or(Vec::new(), Self::priorities);
        if let Self::Priority { reserves, .. } = self {
            named.extend(reserves.iter().map(|(label, _)| *label));
        }
        named
    }

    /// What its states are like: strategies of the same kind take each other's as they are. Tiers and priorities keep nothing
    /// of their own, and all buckets keep a level.
    pub(crate) fn kind(&self) -> Vec<Discriminant<Self>> {
        match self {
            Self::Tiered { inner, .. } | Self::Priority { inner, .. } => inner.kind(),
            Self::TimeOfDay { inner, .. } => [vec![discriminant(self)], inner.kind()].concat(),
            Self::TokenBucket { .. } | Self::LeakyBucket { .. } | Self::LeakyBucketQueue { .. } => {
                vec![discriminant(&Self::Gcra { burst: None, tolerance: None })]
            }
            _ => vec![discriminant(self)],
        }
    }

    /// How many wrappers there are, and what is in them.
    fn unwrapped(&self) -> (usize, &Self) {
        match self.inner() {
            Some(inner) => {
                let (wrappers, innermost) = inner.unwrapped();
                (wrappers + 1, innermost)
            }
            None => (0, self),
        }
    }

    fn inner(&self) -> Option<&Self> {
        match self {
            Self::Tiered { inner, .. } | Self::TimeOfDay { inner, .. } | Self::Priority { inner, .. } => {
                Some(inner)
            }
            _ => None,
        }
    }

    const fn is_large(&self) -> bool {
        let strict = matches!(self, Self::SlidingWindow { strict: Some(_) });
        strict || matches!(self, Self::SlidingLog | Self::FairShare { .. } | Self::Regions { .. })
    }

    /// The strategy in its wrappers, and in as many that change nothing as are missing to three.
    fn wrapped<const A: usize, const B: usize, const C: usize, const D: usize>(
        &self,
        innermost: Chosen<A>,
    ) -> Result<Chosen<D>, String> {
        let mut layers = Vec::new();
        let mut spec = self;
        while let Some(inner) = spec.inner() {
            layers.push(spec);
            spec = inner;
        }
        let mut layers = layers.into_iter().rev();
        let first = wrap::<A, B>(layers.next(), innermost)?;
        let second = wrap::<B, C>(layers.next(), first)?;
        wrap::<C, D>(layers.next(), second)
    }

    /// The strategy of a spec that is no wrapper and needs little room.
    fn small(&self, rate: Rate) -> Result<Chosen<SMALL>, String> {
        Ok(match self {
            Self::FixedWindow => Arc::new(FixedWindow::new(rate)),
            Self::SlidingWindow { strict: None } => Arc::new(SlidingWindow::new(rate)),
            Self::TokenBucket { burst, debt } => {
                let bucket = TokenBucket::new(rate);
                let bucket = burst.map_or(Ok(bucket), |burst| bucket.burst(burst)).map_err(told)?;
                Arc::new(bucket.debt(*debt).map_err(told)?)
            }
            Self::LeakyBucket { capacity } => {
                let bucket = LeakyBucket::new(rate);
                Arc::new(capacity.map_or(Ok(bucket), |capacity| bucket.capacity(capacity)).map_err(told)?)
            }
            Self::LeakyBucketQueue { queue } => {
                let bucket = LeakyBucketQueue::new(rate);
                Arc::new(queue.map_or(Ok(bucket), |queue| bucket.queue(queue)).map_err(told)?)
            }
            Self::Gcra { burst, tolerance } => Arc::new(
                match (burst, tolerance) {
                    (Some(burst), _) => Gcra::new(rate).burst(*burst),
                    (None, Some(tolerance)) => Gcra::new(rate).tolerance(*tolerance),
                    (None, None) => Ok(Gcra::new(rate)),
                }
                .map_err(told)?,
            ),
            Self::Adaptive { threshold, reduction, recovery, floor } => {
                let mut adaptive = Adaptive::new(rate);
                // The floor first: a reduction is held against it.
                if let Some(floor) = floor {
                    adaptive = adaptive.floor(*floor).map_err(told)?;
                }
                if let Some(threshold) = threshold {
                    adaptive = adaptive.threshold(*threshold).map_err(told)?;
                }
                if let Some(reduction) = reduction {
                    adaptive = adaptive.reduction(*reduction).map_err(told)?;
                }
                if let Some(recovery) = recovery {
                    adaptive = adaptive.recovery(*recovery).map_err(told)?;
                }
                Arc::new(adaptive)
            }
            Self::QuotaRollover { percent, max } => {
                let quota = QuotaRollover::new(rate);
                let quota = percent.map_or(Ok(quota), |share| quota.share(share)).map_err(told)?;
                Arc::new(max.map_or(quota, |max| quota.max_rollover(max)))
            }
            Self::CostBased { burst, window, floor } => {
                let mut bucket = CostBased::new(rate);
                if let Some(window) = window {
                    bucket = bucket.window(*window).map_err(told)?;
                }
                if let Some(floor) = floor {
                    bucket = bucket.floor(*floor).map_err(told)?;
                }
                Arc::new(burst.map_or(Ok(bucket), |burst| bucket.burst(burst)).map_err(told)?)
            }
            _ => return Err("this strategy needs more room than it was given".to_owned()),
        })
    }

    /// The strategy of a spec that is no wrapper and needs much room.
    fn large(&self, rate: Rate) -> Result<Chosen<LARGE>, String> {
        Ok(match self {
            Self::SlidingWindow { strict: Some(buckets) } => {
                Arc::new(SlidingWindow::strict::<BUCKETS>(rate).buckets(*buckets).map_err(told)?)
            }
            Self::SlidingLog => Arc::new(SlidingLog::<LOG>::new(rate).map_err(told)?),
            Self::FairShare { weight, .. } => {
                let weight =
                    u16::try_from(*weight).map_err(|_| format!("weight={weight} is more than 65535"))?;
                Arc::new(FairShare::<MEMBERS>::new(rate).weight(weight).map_err(told)?)
            }
            Self::Regions { shares, default, spill } => {
                let regions = Regions::<MEMBERS>::new(rate, shares).map_err(told)?;
                let regions = default.map_or(Ok(regions), |share| regions.other(share)).map_err(told)?;
                Arc::new(regions.spill(*spill))
            }
            _ => return Err("this strategy needs less room than it was given".to_owned()),
        })
    }
}

/// One wrapper around a strategy; without one, the same strategy in more room.
fn wrap<const IN: usize, const OUT: usize>(
    wrapper: Option<&Spec>,
    inner: Chosen<IN>,
) -> Result<Chosen<OUT>, String> {
    let inner = Erased::new(inner);
    match wrapper {
        Some(Spec::Tiered { tiers, .. }) => {
            Ok(Arc::new(Tiered::new(inner, classes("tiers", tiers, Ratio::ONE)?).map_err(told)?))
        }
        Some(Spec::Priority { reserves, .. }) => {
            let mut reserves = reserves.clone();
            // A request without a priority is a normal one.
            if let Some((_, reserve)) = reserves.iter().find(|(label, _)| *label == Label::named("normal")) {
                reserves.push((Label::default(), *reserve));
            }
            Ok(Arc::new(Priority::new(inner, classes("priorities", &reserves, Ratio::ZERO)?).map_err(told)?))
        }
        Some(Spec::TimeOfDay { spans, offset_minutes, .. }) => {
            if spans.len() > SPANS {
                return Err(format!("{} spans of the day; at most {SPANS} can be given", spans.len()));
            }
            let hours: Vec<_> = spans.iter().map(hours).collect();
            let wrapped = TimeOfDay::<_, SPANS>::from_slice(inner, &hours).map_err(told)?;
            Ok(Arc::new(wrapped.utc_offset(*offset_minutes).map_err(told)?))
        }
        _ => Ok(Arc::new(inner)),
    }
}

/// Classes with their ratios, and as many that nobody is in as are missing.
fn classes(of: &str, named: &[(Label, Ratio)], rest: Ratio) -> Result<[(Label, Ratio); CLASSES], String> {
    if named.len() > CLASSES {
        return Err(format!("{} {of}; at most {CLASSES} can be named", named.len()));
    }
    let nobody = (0..).map(Label).skip(1).filter(|label| named.iter().all(|(name, _)| name != label));
    let mut all = named.iter().copied().chain(nobody.map(|label| (label, rest)));
    Ok(std::array::from_fn(|_| all.next().unwrap_or((Label::default(), rest))))
}

fn hours(span: &Span) -> Hours {
    let time = |minutes: u32| ((minutes / 60) as u8, (minutes % 60) as u8);
    Hours::new(time(span.from), time(span.to), span.ratio)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
