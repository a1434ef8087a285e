//! Storages whose answer has to be awaited: the same operations, as futures.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::{Answer, BackendError, MultiKeyVerdict, Storage, StorageError, WaitQueue, as_of, storage_behind};
use crate::{ErasedKey, Hit, Key, Op, Strategy, Timestamp};

/// Keys that one hit is checked on.
type Keys<'a> = &'a [&'a dyn ErasedKey];

/// The time at which a hit was due, and the leeway by which it may count as earlier than it comes.
type Due = Range<Timestamp>;

/// A reply, and the time as of which it was decided.
type TimedReply<V> = (Reply<V>, Option<Timestamp>);

/// A boxed future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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
/// Implement it for a store of your own; wrap a [`Storage`] of this process in [`Local`]. The duties of
/// [`Storage`] hold here too, and:
///
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

    /// Reports whether replies are there at once, as those of a storage of this process are.
    ///
    /// Where several storages are asked, such a one is asked first, since that costs next to nothing.
    /// Defaults to `false`.
    fn is_local(&self) -> bool {
        false
    }

    /// Returns the denial of a check if it is known here, without a call of any store; otherwise `None`.
    ///
    /// A caller that asks several storages about one request uses it: a known denial saves the refunds of
    /// what the others would have charged. Defaults to `None`.
    fn known_denial(&self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        // Named, so that an implementation has the names; the default does not need them.
        let _ = (strategy, key, hit);
        None
    }

    /// Checks one hit on several keys, all or none, if this storage can do better than one key after another.
    ///
    /// Defaults to [`MultiKeyReply::Unsupported`]. The reply waits for the storage, for as long as its
    /// timeout allows. A dropped reply may have charged all of the keys, and if the storage is not atomic
    /// some of them.
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
        Reply::ready(Ok(MultiKeyReply::Unsupported))
    }

    /// Returns the queue of those who [wait](crate::AsyncLimiter::until_ready) for a key in this process, the
    /// same one on every call.
    ///
    /// Defaults to `None`: they wait in no order.
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

/// A storage of this process behind the asynchronous interface; its replies are there at once.
///
/// Choose it to use `Memory` with an [`AsyncLimiter`](crate::AsyncLimiter), or as the fallback of a remote
/// store.
///
/// ```
/// use traffik::storage::{Local, Reply};
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), Local(Memory::new(1_000)));
/// assert!(matches!(limiter.check("alice"), Reply::Ready(Some(Ok(_)))));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Local<M>(pub M);

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, M: Storage<S> + Send + Sync> AsyncStorage<S> for Local<M> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        Reply::ready(self.0.apply_now(strategy, key, op).map_err(BackendError::from))
    }

    fn apply_due(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>, due: Due) -> TimedReply<S::Verdict> {
        // The clock is read before the operation, so `at` is never later than its present.
        let at = as_of(&due, self.0.now());
        (Reply::ready(self.0.apply(strategy, key, op, at).map_err(BackendError::from)), Some(at))
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        Reply::ready(self.0.load(key).map(|state| (state, self.0.now())).map_err(BackendError::from))
    }

    /// Returns `None`: this process is one node.
    fn node(&self, _: &dyn ErasedKey) -> Option<Arc<str>> {
        None
    }

    fn is_local(&self) -> bool {
        true
    }

    /// Returns `None`: a check here costs next to nothing.
    fn known_denial(&self, _: &S, _: &dyn ErasedKey, _: &Hit<S::Cost>) -> Option<S::Verdict> {
        None
    }

    /// Checks up to four keys in one step of the storage, and reports more as unsupported.
    fn check_together(
        &self,
        strategy: &S,
        keys: Keys<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        fn charged<S: Strategy, const N: usize>(
            storage: &impl Storage<S>,
            strategy: &S,
            keys: [&dyn ErasedKey; N],
            hit: &Hit<S::Cost>,
        ) -> Reply<MultiKeyReply<S::Verdict>> {
            let answer = storage.check_together(strategy, keys, hit, storage.now());
            Reply::ready(answer.map_err(BackendError::from).map(|verdict| {
                if verdict.is_atomic() {
                    MultiKeyReply::Atomic(verdict.verdicts.into())
                } else {
                    MultiKeyReply::Sequential(verdict.verdicts.into())
                }
            }))
        }
        // The number of keys is a constant of the storage interface, so each number has code of its own.
        match *keys {
            [a] => charged(&self.0, strategy, [a], hit),
            [a, b] => charged(&self.0, strategy, [a, b], hit),
            [a, b, c] => charged(&self.0, strategy, [a, b, c], hit),
            [a, b, c, d] => charged(&self.0, strategy, [a, b, c, d], hit),
            _ => Reply::ready(Ok(MultiKeyReply::Unsupported)),
        }
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        // The queue is of this process as well, so waiters of the asynchronous interface stand in the same one.
        self.0.wait_queue()
    }
}

/// The answer of a storage to one hit on several keys: a verdict for each key, in their order.
///
/// An [`AsyncStorage`] returns it from [`check_together`](AsyncStorage::check_together); callers of
/// [`AsyncLimiter::check_together`](crate::AsyncLimiter::check_together) do not meet it.
///
/// ```
/// use traffik::storage::{AsyncStorage, Local, MultiKeyReply, Reply};
/// use traffik::{Gcra, Hit, Memory, rate};
///
/// let storage = Local(Memory::new(1_000));
/// let reply = storage.check_together(&Gcra::new(rate!("1/s")), &[&"address", &"user"], &Hit::new(1));
/// assert!(matches!(reply, Reply::Ready(Some(Ok(MultiKeyReply::Atomic(verdicts)))) if verdicts.len() == 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiKeyReply<V> {
    /// The storage decided in one atomic step.
    Atomic(Vec<V>),
    /// The storage charged one key after another, and refunded those charged before one that denied.
    Sequential(Vec<V>),
    /// The storage cannot decide on so many keys, and did nothing.
    Unsupported,
}

/// The future that a storage answers with: ready already, or pending.
///
/// Await it. A ready reply is never boxed, so a local storage allocates nothing. It needs no pinning and
/// borrows nothing, so it can be part of any other future.
///
/// ```
/// use traffik::storage::Reply;
///
/// # traffik::runtime::Manual::new().run(async {
/// assert_eq!(Reply::ready(Ok(2)).await?, 2);
/// assert_eq!(Reply::pending(async { Ok(3) }).await?, 3);
/// # Ok::<(), traffik::storage::BackendError>(())
/// # })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an answer that is not awaited is dropped, and with it the call"]
pub enum Reply<T> {
    /// A result that is there; `None` once it has been taken.
    Ready(Option<Result<T, BackendError>>),
    /// A result that is on its way.
    Pending(BoxFuture<'static, Result<T, BackendError>>),
}

impl<T> Reply<T> {
    /// Creates a reply that is ready, such as a failure that is known before any call.
    ///
    /// Dropping it has no effect.
    ///
    /// # Errors
    ///
    /// The reply fails with the error in `answer`, if it is one.
    pub const fn ready(answer: Result<T, BackendError>) -> Self {
        Self::Ready(Some(answer))
    }

    /// Creates a reply that waits for a future.
    ///
    /// Dropping the reply drops that future.
    ///
    /// # Errors
    ///
    /// The reply fails as the future does.
    pub fn pending(answer: impl Future<Output = Result<T, BackendError>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(answer))
    }
}

/// Combinators run at once, without a box, if the reply is ready; otherwise once it is.
impl<T: 'static> Reply<T> {
    /// Replaces the result by what `change` makes of it.
    ///
    /// The new reply waits as long as this one; dropped before, it never calls `change`.
    ///
    /// # Errors
    ///
    /// The new reply fails if `change` returns an error.
    ///
    /// ```
    /// use traffik::storage::Reply;
    ///
    /// let doubled = Reply::ready(Ok(2)).map(|answer| Ok(2 * answer?));
    /// assert!(matches!(doubled, Reply::Ready(Some(Ok(4)))));
    /// ```
    #[inline]
    pub fn map<U>(
        self,
        change: impl FnOnce(Result<T, BackendError>) -> Result<U, BackendError> + Send + 'static,
    ) -> Reply<U> {
        match self {
            // Runs at once: a local reply stays local, and allocates nothing.
            Self::Ready(Some(answer)) => Reply::ready(change(answer)),
            // ReceiptOf already: it stays pending for ever, as a future does that is polled after its end.
            Self::Ready(None) => Reply::Ready(None),
            Self::Pending(answer) => Reply::pending(async move { change(answer.await) }),
        }
    }

    /// Shows the result to `look`, and leaves it as it is.
    ///
    /// The new reply waits as long as this one; dropped before, it never calls `look`.
    ///
    /// # Errors
    ///
    /// The new reply fails as this one does.
    ///
    /// ```
    /// use traffik::storage::{BackendError, ErrorKind, Reply};
    ///
    /// let down = Reply::<u32>::ready(Err(BackendError::new(ErrorKind::Unavailable, "down")));
    /// let looked = down.inspect(|answer| assert!(answer.is_err()));
    /// assert!(matches!(looked, Reply::Ready(Some(Err(_)))));
    /// ```
    #[inline]
    pub fn inspect(self, look: impl FnOnce(&Result<T, BackendError>) + Send + 'static) -> Self {
        match self {
            Self::Ready(answer) => {
                if let Some(answer) = &answer {
                    look(answer);
                }
                Self::Ready(answer)
            }
            Self::Pending(answer) => Self::pending(async move {
                let answer = answer.await;
                look(&answer);
                answer
            }),
        }
    }

    /// Goes on with another reply, made from the result of this one.
    ///
    /// The new reply waits for both; dropped before the first result, it never calls `next`.
    ///
    /// # Errors
    ///
    /// The new reply fails as the reply of `next` does.
    ///
    /// ```
    /// use traffik::storage::{BackendError, ErrorKind, Reply};
    ///
    /// let down = Reply::<u32>::ready(Err(BackendError::new(ErrorKind::Unavailable, "down")));
    /// let fallback = down.then(|it| if it.is_err() { Reply::ready(Ok(7)) } else { Reply::ready(it) });
    /// assert!(matches!(fallback, Reply::Ready(Some(Ok(7)))));
    /// ```
    #[inline]
    pub fn then<U: Send>(
        self,
        next: impl FnOnce(Result<T, BackendError>) -> Reply<U> + Send + 'static,
    ) -> Reply<U> {
        match self {
            Self::Ready(Some(answer)) => next(answer),
            Self::Ready(None) => Reply::Ready(None),
            // Dropping the new future drops whichever of the two calls is on its way.
            Self::Pending(answer) => Reply::pending(async move { next(answer.await).await }),
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Reply::Ready",
            Self::Pending(_) => "Reply::Pending",
        })
    }
}

/// A reply pins nothing but the future in its box.
impl<T> Unpin for Reply<T> {}

impl<T> Future for Reply<T> {
    type Output = Result<T, BackendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // States: `Ready(Some)` until its result is taken, then `Ready(None)`; `Pending` for ever.
        match &mut *self {
            Self::Pending(answer) => answer.as_mut().poll(context),
            Self::Ready(answer) => match answer.take() {
                Some(answer) => Poll::Ready(answer),
                // As with every future, polling again after the end is the caller's mistake.
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::{pending, ready};
    use core::pin::pin;
    use core::task::Waker;

    use super::*;
    use crate::storage::ErrorKind;

    fn now<T>(reply: Reply<T>) -> Poll<Result<T, BackendError>> {
        pin!(reply).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn answer<T>(reply: Reply<T>) -> Result<T, ErrorKind> {
        match now(reply) {
            Poll::Ready(answer) => answer.map_err(|failure| failure.kind()),
            Poll::Pending => unreachable!("it is there"),
        }
    }

    fn later(answer: Result<u32, ErrorKind>) -> Reply<u32> {
        Reply::pending(ready(answer.map_err(failure)))
    }

    fn failure(kind: ErrorKind) -> BackendError {
        BackendError::new(kind, "down")
    }

    #[test]
    fn combinators_run_at_once_only_if_the_answer_is_there() {
        let ready = Reply::ready(Ok(1)).map(|answer| answer).inspect(|_| {}).then(Reply::ready);
        assert!(matches!(ready, Reply::Ready(Some(Ok(1)))));
        let (waiting, run) = (Reply::<u32>::pending(pending()), Arc::new(()));
        let runs = Arc::clone(&run);
        let waiting = waiting.map(|answer| answer).inspect(move |_| drop(runs)).then(Reply::ready);
        assert!(now(waiting).is_pending());
        assert_eq!(Arc::strong_count(&run), 1, "a call that is dropped drops what was to follow");
        assert!(matches!(Reply::<u32>::Ready(None).then(Reply::ready), Reply::Ready(None)));
    }

    #[test]
    fn combinators_see_answers_and_failures_alike() {
        for make in [|answer: Result<u32, ErrorKind>| Reply::ready(answer.map_err(failure)), later] {
            assert_eq!(answer(make(Ok(1)).map(|told| told.map(|it| it + 1))), Ok(2));
            assert_eq!(answer(make(Err(ErrorKind::Full)).map(|told| told.or(Ok(3)))), Ok(3));
            assert_eq!(answer(make(Ok(4)).inspect(|told| assert!(told.is_ok()))), Ok(4));
            let failed = make(Ok(5)).then(|_| Reply::<u32>::ready(Err(failure(ErrorKind::Full))));
            assert_eq!(answer(failed), Err(ErrorKind::Full));
            assert_eq!(answer(make(Err(ErrorKind::Full)).then(|_| later(Ok(6)))), Ok(6));
        }
    }
}
