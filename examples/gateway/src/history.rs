//! What is kept of a throttle when it is made anew: what was used stays used, or it is said that it does not.

use std::any::Any;
use std::sync::Arc;

use crate::denied_clients::DeniedClients;
use crate::keys::KeySpec;
use crate::limit::Limit;
use crate::plan::ThrottlePlan;

/// A throttle as it is, for the one that comes in its place.
#[derive(Clone)]
pub(crate) struct ThrottleHistory {
    shape: StateShape,
    /// Its [`LimitHistory`].
    limits: Arc<dyn Any + Send + Sync>,
    /// Its memory, if it has one.
    pub(crate) memory: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) denials: DeniedClients,
}

/// What states depend on.
#[derive(Clone, PartialEq)]
struct StateShape {
    /// The store, unless it is memory.
    store: Option<String>,
    /// What makes up a key: what a header says, or an address, whoever tells it.
    is_header: Vec<bool>,
    /// How many limits lie side by side, and the room of each.
    limits: (usize, Option<usize>),
}

/// The limits of a throttle, and those in whose place they are.
struct LimitHistory<L> {
    kind: (&'static str, usize),
    now: Vec<L>,
    before: Vec<L>,
}

/// Words for what was used and is not known any more: a part of it, or all.
const OLDER: &str =
    "what those had used is forgotten who did not come since the change of strategy before this one";
const ALL: &str = "it begins anew, as another kind of limit than before";

impl ThrottleHistory {
    /// A throttle in the place of the one that was there. Returns its limits, each in the place of the one
    /// before it, and what is forgotten, in words.
    pub(crate) fn of<L: Limit, const N: usize>(
        plan: &ThrottlePlan,
        now: Vec<L>,
        known: Option<&Self>,
    ) -> (Self, Vec<L>, Option<&'static str>) {
        let shape = StateShape {
            store: plan.storage.url().cloned(),
            is_header: plan.keys.iter().map(|key| matches!(key, KeySpec::Header(_))).collect(),
            limits: (N, now.first().map(Limit::room)),
        };
        let kind = plan.strategy.kind();
        let limits_of = |it: &Self| Arc::clone(&it.limits).downcast::<LimitHistory<L>>().ok();
        let same = known.filter(|it| it.shape == shape).and_then(|it| Some((it, limits_of(it)?)));
        let (before, forgotten) = match &same {
            None => (Vec::new(), known.map(|_| ALL)),
            // Those in whose place they were may still be known to states that nobody has asked for since.
            Some((_, limits)) if limits.kind == kind => (limits.before.clone(), None),
            // A store runs the script of one strategy, not of two.
            Some(_) if shape.store.is_some() => (Vec::new(), Some(ALL)),
            Some((_, limits)) if limits.before.is_empty() => (limits.now.clone(), None),
            Some((_, limits)) => (limits.now.clone(), Some(OLDER)),
        };
        let limits = now.iter().enumerate().map(|(at, limit)| limit.clone().in_place_of(before.get(at)));
        let limits = limits.collect();
        let kept = Self {
            shape,
            limits: Arc::new(LimitHistory { kind, now, before }),
            memory: same.and_then(|(it, _)| it.memory.clone()),
            denials: known.map(|it| it.denials.clone()).unwrap_or_default(),
        };
        (kept, limits, forgotten)
    }
}
