//! Counters of the calls of a storage, in this process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portable_atomic::AtomicU64;

use crate::layer::instrumented::event::{CallEvent, CallObserver, CallResult, Operation};
use crate::util::nodes::Nodes;

/// Counters of calls, and the sums of their durations, by operation and result: 105 pairs of numbers, however
/// many keys there are.
///
/// Choose it as the observer of an [`Instrumented`](crate::layer::Instrumented) if you export metrics.
/// Clones count together.
///
/// With a storage of several nodes it also counts the calls of [each node](Self::nodes), as long as the
/// node exists. The calls of a node that left stay in the total.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::{CallCounters, CallResult, Operation, StorageExt};
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let calls = CallCounters::default();
/// let storage = Local(Memory::new(1_000)).with_observer(calls.clone());
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("1/min")), storage);
/// for _ in 0..3 {
///     Manual::new().run(async { limiter.check("alice").await })??;
/// }
/// assert_eq!(calls.count(Operation::Check, CallResult::Denied), 2);
/// assert!(calls.took(Operation::Check, CallResult::Denied) < Duration::from_secs(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CallCounters(Arc<CallTable>);

/// The counts of a storage, and those of its nodes.
struct CallTable {
    whole: [[CallTotals; CallResult::ALL.len()]; Operation::ALL.len()],
    nodes: Nodes<(Arc<str>, CallCounters)>,
}

/// The number of calls, and the sum of their durations in microseconds. Each is exact; a reader may see one
/// without the other.
#[derive(Default)]
struct CallTotals {
    calls: AtomicU64,
    micros: AtomicU64,
}

impl CallCounters {
    /// Returns the number of calls of this operation with this result.
    #[must_use]
    pub fn count(&self, operation: Operation, result: CallResult) -> u64 {
        self.of(operation, result).map_or(0, |counts| counts.calls.load(Ordering::Relaxed))
    }

    /// Returns the total duration of the calls of this operation with this result.
    #[must_use]
    pub fn took(&self, operation: Operation, result: CallResult) -> Duration {
        let micros = self.of(operation, result).map_or(0, |counts| counts.micros.load(Ordering::Relaxed));
        Duration::from_micros(micros)
    }

    /// Iterates over the operations and results that occurred, with their number of calls and total
    /// duration.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, CallResult, u64, Duration)> {
        let pairs = Operation::ALL.into_iter().flat_map(|it| CallResult::ALL.map(|result| (it, result)));
        pairs
            .map(|(operation, result)| {
                (operation, result, self.count(operation, result), self.took(operation, result))
            })
            .filter(|(_, _, count, _)| *count > 0)
    }

    /// Iterates over the present nodes by name, with the counters of the calls whose keys were all on that
    /// node.
    ///
    /// ```
    /// use traffik::layer::CallCounters;
    ///
    /// let calls = CallCounters::default();
    /// for (node, calls) in calls.nodes() {
    ///     for (operation, result, count, _) in calls.iter() {
    ///         println!("{node}: {count} times {} was {}", operation.name(), result.name());
    ///     }
    /// }
    /// assert_eq!(calls.nodes().count(), 0); // a storage that is a single node has none
    /// ```
    pub fn nodes(&self) -> impl Iterator<Item = (Arc<str>, Self)> {
        let mut nodes: Vec<_> = self.0.nodes.all().iter().map(|node| (**node).clone()).collect();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        nodes.into_iter()
    }

    fn of(&self, operation: Operation, result: CallResult) -> Option<&CallTotals> {
        let by_end = self.0.whole.get(Operation::ALL.iter().position(|it| *it == operation)?)?;
        // A kind of a later version counts as the last one, `Other`.
        let at = CallResult::ALL.iter().position(|it| *it == result).unwrap_or(CallResult::ALL.len() - 1);
        by_end.get(at)
    }

    fn add(&self, call: &CallEvent<'_>) {
        if let Some(counts) = self.of(call.operation, call.result) {
            // Relaxed: each number is a total of its own.
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
        let entries =
            self.iter().map(|(it, result, count, took)| ((it.name(), result.name()), (count, took)));
        f.debug_map().entries(entries).finish()
    }
}
