//! Carries counts over to the throttle that replaces another on a reload, or names the counts that are lost.

use std::any::Any;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use crate::limits::keys::KeySpec;
use crate::limits::limit::Limit;
use crate::limits::plan::ThrottlePlan;
use crate::observe::denied_clients::DeniedClients;

/// The record of a throttle, kept for the throttle that may replace it.
#[derive(Clone)]
pub(crate) struct ThrottleHistory {
    shape: StateShape,
    /// The throttle's [`LimitHistory`].
    limits: Arc<dyn Any + Send + Sync>,
    /// The throttle's memory, if it has one.
    pub(crate) memory: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) denials: DeniedClients,
}

/// The properties that the form and the keys of states depend on.
#[derive(Clone, PartialEq)]
struct StateShape {
    /// The URL of the shared store; `None` in memory.
    store: Option<String>,
    /// The sort of each identity in a key: one for addresses from any source, and one for each other source.
    sorts: Vec<Option<Discriminant<KeySpec>>>,
    /// The number of strategies in the array, and the most bytes of a state.
    strategies: (usize, Option<usize>),
}

/// The strategies of a throttle (`now`), and the strategies whose states they take over (`before`).
struct LimitHistory<L> {
    kind: (&'static str, usize),
    now: Vec<L>,
    before: Vec<L>,
}

/// Returns the sort of an identity; `None` for an address.
fn sort(key: &KeySpec) -> Option<Discriminant<KeySpec>> {
    (!matches!(key, KeySpec::Peer | KeySpec::Forwarded(_))).then(|| discriminant(key))
}

/// The log's words for a loss of some counts, and of all.
const OLDER: &str = "counts of clients that sent no request since the previous change of strategy are lost";
const ALL: &str = "starts over with empty counts: its storage, keys, rates or strategy differ too much";

impl ThrottleHistory {
    /// Records a throttle that replaces `known`. Returns the record, the strategies, each made to take over
    /// the states of its predecessor, and the log's words if counts are lost.
    pub(crate) fn of<L: Limit, const N: usize>(
        plan: &ThrottlePlan,
        now: Vec<L>,
        known: Option<&Self>,
    ) -> (Self, Vec<L>, Option<&'static str>) {
        let shape = StateShape {
            store: plan.storage.url().cloned(),
            sorts: plan.keys.iter().map(sort).collect(),
            strategies: (N, now.first().map(Limit::state_size)),
        };
        let kind = plan.strategy.kind();
        let history_of = |it: &Self| Arc::clone(&it.limits).downcast::<LimitHistory<L>>().ok();
        let same = known.filter(|it| it.shape == shape).and_then(|it| Some((it, history_of(it)?)));
        let (before, loss) = match &same {
            None => (Vec::new(), known.map(|_| ALL)),
            // The kind is the same, so the states of `now` need no migration. States of clients that sent no
            // request since the last change of kind still have the kind of `before`.
            Some((_, history)) if history.kind == kind => (history.before.clone(), None),
            // The script on a store knows one strategy, so it cannot read the states of another.
            Some(_) if shape.store.is_some() => (Vec::new(), Some(ALL)),
            Some((_, history)) if history.before.is_empty() => (history.now.clone(), None),
            Some((_, history)) => (history.now.clone(), Some(OLDER)),
        };
        let strategies =
            now.iter().enumerate().map(|(at, strategy)| strategy.clone().in_place_of(before.get(at)));
        let strategies = strategies.collect();
        let record = Self {
            shape,
            limits: Arc::new(LimitHistory { kind, now, before }),
            memory: same.and_then(|(it, _)| it.memory.clone()),
            denials: known.map(|it| it.denials.clone()).unwrap_or_default(),
        };
        (record, strategies, loss)
    }
}
