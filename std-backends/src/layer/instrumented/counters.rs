//! Counting the calls of a storage, in this process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portable_atomic::AtomicU64;

use crate::layer::instrumented::storage::{CallEvent, CallObserver, CallResult, Operation};
use crate::util::nodes::Nodes;

/// CallTotals calls, and adds up how long they took, by what was asked and how it ended: 105 pairs of numbers,
/// however many keys there are. Clones count together.
///
/// Of a storage that is made of several nodes the calls of [each](Self::nodes) are counted as well, for as
/// long as it is one. What it had counted stays in the whole.
#[derive(Clone)]
pub struct CallCounters(Arc<CallTable>);

struct CallTable {
    whole: [[CallTotals; CallResult::ALL.len()]; Operation::ALL.len()],
    nodes: Nodes<(Arc<str>, CallCounters)>,
}

#[derive(Default)]
struct CallTotals {
    calls: AtomicU64,
    micros: AtomicU64,
}

impl CallCounters {
    /// How many of these calls ended like this.
    #[must_use]
    pub fn count(&self, operation: Operation, ended: CallResult) -> u64 {
        self.of(operation, ended).map_or(0, |counts| counts.calls.load(Ordering::Relaxed))
    }

    /// How long those took that ended like this, all together.
    #[must_use]
    pub fn took(&self, operation: Operation, ended: CallResult) -> Duration {
        let micros = self.of(operation, ended).map_or(0, |counts| counts.micros.load(Ordering::Relaxed));
        Duration::from_micros(micros)
    }

    /// All that there were: what was asked, how it ended, how often, and how long that took all together.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, CallResult, u64, Duration)> {
        let pairs = Operation::ALL.into_iter().flat_map(|it| CallResult::ALL.map(|ended| (it, ended)));
        pairs
            .map(|(operation, ended)| {
                (operation, ended, self.count(operation, ended), self.took(operation, ended))
            })
            .filter(|(_, _, count, _)| *count > 0)
    }

    /// Returns the calls of each node that has not left, by its name: those of which all keys were on it.
    ///
    /// ```
    /// use traffik::layer::CallCounters;
    ///
    /// let calls = CallCounters::default();
    /// for (node, calls) in calls.nodes() {
    ///     for (operation, ended, count, _) in calls.iter() {
    ///         println!("{node}: {count} times {} was {}", operation.name(), ended.name());
    ///     }
    /// }
    /// assert_eq!(calls.nodes().count(), 0, "a storage that is one node has none");
    /// ```
    pub fn nodes(&self) -> impl Iterator<Item = (Arc<str>, Self)> {
        let mut nodes: Vec<_> = self.0.nodes.all().iter().map(|node| (**node).clone()).collect();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        nodes.into_iter()
    }

    fn of(&self, operation: Operation, ended: CallResult) -> Option<&CallTotals> {
        let by_end = self.0.whole.get(Operation::ALL.iter().position(|it| *it == operation)?)?;
        // A kind that is new counts as any other.
        let at = CallResult::ALL.iter().position(|it| *it == ended).unwrap_or(CallResult::ALL.len() - 1);
        by_end.get(at)
    }

    fn add(&self, call: &CallEvent<'_>) {
        if let Some(counts) = self.of(call.operation, call.ended) {
            counts.calls.fetch_add(1, Ordering::Relaxed);
            let micros = u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX);
            counts.micros.fetch_add(micros, Ordering::Relaxed);
        }
    }
}

impl CallObserver for CallCounters {
    fn called(&self, call: &CallEvent<'_>) {
        self.add(call);
        if let Some(node) = call.node {
            self.0.nodes.get(node, |name| (name, Self::default())).1.add(call);
        }
    }
}

impl Default for CallCounters {
    fn default() -> Self {
        Self(Arc::new(CallTable { whole: Default::default(), nodes: Nodes::new() }))
    }
}

impl fmt::Debug for CallCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.iter().map(|(it, ended, count, took)| ((it.name(), ended.name()), (count, took)));
        f.debug_map().entries(entries).finish()
    }
}
