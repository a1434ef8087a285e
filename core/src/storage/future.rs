//! The interface of storages whose answer has to be awaited.

use alloc::sync::Arc;
use core::ops::Range;

use super::reply::{MultiKeyReply, Reply};
use super::{Answer, MultiKeyVerdict, Storage, StorageError, WaitQueue, storage_behind};
use crate::{ErasedKey, Hit, Key, Op, Strategy, Timestamp};

/// Keys that one hit is checked on.
pub(super) type Keys<'a> = &'a [&'a dyn ErasedKey];

/// The time at which a hit was due, and the leeway by which it may count as earlier than it comes.
pub(super) type Due = Range<Timestamp>;

/// A reply, and the time as of which it was decided.
pub(super) type TimedReply<V> = (Reply<V>, Option<Timestamp>);

/// A storage of any type for one strategy, behind a pointer.
///
/// Choose it for a field or a return value that holds a storage in layers, whose own type would be long.
///
/// ```
/// use std::sync::Arc;
/// use traffik::Gcra;
/// use traffik::storage::{AsyncStorage, DynStorage};
///
/// fn store(layered: impl AsyncStorage<Gcra> + 'static) -> DynStorage<Gcra> {
///     Arc::new(layered)
/// }
/// ```
pub type DynStorage<S> = Arc<dyn AsyncStorage<S>>;

/// A storage whose answer may take a while: on another machine, or in layers.
///
/// Implement it for a store of your own; wrap a [`Storage`] of this process in [`Local`](super::Local). The
/// duties of [`Storage`] hold here too, that of rebasing included, and:
///
/// * A call MUST NOT block the thread: run blocking work elsewhere, for example by tokio's `spawn_blocking`.
/// * The key MUST be read before the call returns; the reply owns all it needs.
/// * A call whose result is unknown MUST be reported as [`Timeout`](crate::ErrorKind::Timeout), and MUST NOT
///   be repeated.
/// * A dropped reply MUST NOT disturb later calls.
///
/// For a given strategy the trait can be used behind a pointer, a [`DynStorage`]. Run
/// [`laws::awaited`](crate::laws::awaited) (feature `laws`) over an implementation in a test.
///
/// ```
/// use traffik::storage::{AsyncStorage, Reply};
/// use traffik::{ErasedKey, Op, Strategy, Timestamp};
///
/// /// Counts the calls of another storage.
/// struct Counted<T>(T, std::sync::atomic::AtomicU64);
///
/// impl<S: Strategy, T: AsyncStorage<S>> AsyncStorage<S> for Counted<T> {
///     fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
///         self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         self.0.apply(strategy, key, op)
///     }
///
///     fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
///         self.0.load(strategy, key)
///     }
/// }
/// ```
pub trait AsyncStorage<S: Strategy>: Send + Sync {
    /// Applies an operation to the state of a key, at the present of this storage's clock.
    ///
    /// The reply waits for the storage, for as long as its timeout allows. A dropped reply may have changed
    /// the state.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`](crate::ErrorKind) that says why.
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict>;

    /// Applies an operation that was due at the start of this range, by the wait of a denial.
    ///
    /// Returns the reply, and the time as of which it was decided, if the storage knows that at once. A
    /// storage of this process decides as of the start, so that a timer that wakes late does not delay all
    /// that follows. That time is never later than its present, nor earlier than its present by more than
    /// `due` lasts. Defaults to [`apply`](Self::apply) and `None`: a store elsewhere decides by when the call
    /// arrives. A dropped reply may have changed the state.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`](crate::ErrorKind) that says why.
    fn apply_due(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>, due: Due) -> TimedReply<S::Verdict> {
        // The storage decides by when the call arrives, so the due time is of no use.
        let _ = due;
        (self.apply(strategy, key, op), None)
    }

    /// Returns a copy of the state that a key has under this strategy, and the present of this storage's
    /// clock.
    ///
    /// The reply waits for the storage, for as long as its timeout allows. A dropped reply changes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`](crate::ErrorKind) that says why.
    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)>;

    /// Returns the name of the node that keeps a key, by the same handle for as long as the node exists.
    ///
    /// Defaults to `None`: the storage is a single node. Nodes fail one at a time, so layers judge each on
    /// its own: a circuit breaker stops calls of the failing node, and keys on the others are served as
    /// before. A layer forgets a node once its handle has been dropped. A storage keeps the handles of its
    /// current nodes and of no others. A handle that is made for each call makes every call one of a new
    /// node, of which a layer knows nothing, and no breaker ever opens.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use traffik::ErasedKey;
    ///
    /// /// A storage that is made of several.
    /// struct Sharded {
    ///     names: Vec<Arc<str>>,
    /// }
    ///
    /// impl Sharded {
    ///     fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
    ///         let seed = traffik::Seed::new(1);
    ///         let at = seed.digest(key).as_u64() % self.names.len() as u64;
    ///         self.names.get(at as usize).cloned()
    ///     }
    /// }
    /// ```
    fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
        let _ = key;
        None
    }

    /// Reports whether replies are ready at once, as those of a storage of this process are.
    ///
    /// A caller of several storages calls such a one first, since that costs next to nothing. Defaults to
    /// `false`.
    fn is_local(&self) -> bool {
        false
    }

    /// Returns the denial of a check if it is known here, without a call of any store; otherwise `None`.
    ///
    /// A caller that checks one request on several storages uses it: a known denial saves the charges on the
    /// others, and their refunds. Defaults to `None`.
    fn known_denial(&self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        // Named, so that an implementation has the names; the default does not need them.
        let _ = (strategy, key, hit);
        None
    }

    /// Checks one hit on several keys, all or none, if this storage can do better than one key after another.
    ///
    /// Defaults to [`MultiKeyReply::Unsupported`]. The reply waits for the storage, for as long as its
    /// timeout allows. A dropped reply may have charged all of the keys, or some of them if the storage is
    /// not atomic.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`](crate::ErrorKind) that says why.
    fn check_together(
        &self,
        strategy: &S,
        keys: Keys<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let _ = (strategy, keys, hit);
        // The caller then checks one key after another, and refunds if one denies.
        Reply::ready(Ok(MultiKeyReply::Unsupported))
    }

    /// Returns the queue of the [waiters](crate::AsyncLimiter::until_ready) for each key in this process, the
    /// same one on every call.
    ///
    /// Defaults to `None`: waiters are served in no order.
    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        None
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, T: AsyncStorage<S> + ?Sized> AsyncStorage<S> for Arc<T> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        (**self).apply(strategy, key, op)
    }

    fn apply_due(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>, due: Due) -> TimedReply<S::Verdict> {
        (**self).apply_due(strategy, key, op, due)
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        (**self).load(strategy, key)
    }

    fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
        (**self).node(key)
    }

    fn is_local(&self) -> bool {
        (**self).is_local()
    }

    fn known_denial(&self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        (**self).known_denial(strategy, key, hit)
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: Keys<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        (**self).check_together(strategy, keys, hit)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        (**self).wait_queue()
    }
}

storage_behind!(Arc<T>);
