//! Storages that may have to wait for their answer: the same operations, as futures.

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

/// The time at which a hit was due, and from there on as much as it may count as earlier than it comes.
type Due = Range<Timestamp>;

/// An answer, and the time as of which it was decided.
type TimedReply<V> = (Reply<V>, Option<Timestamp>);

/// A boxed future that owns all it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A storage of any type for limits of this strategy, behind a pointer: the short name of what layers around
/// a storage come to, for a field or a return value.
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

/// Keeps a state per key somewhere that may take a while, or fail.
///
/// What [`Storage`] asks of an implementation holds here too, and:
///
/// * The key MUST be read before the call returns; the answer owns all it needs.
/// * A call whose outcome is unknown MUST be reported as [`Timeout`](crate::ErrorKind::Timeout), and MUST NOT
///   be repeated.
/// * Dropping an answer MUST NOT disturb later calls.
///
/// For a given strategy the trait can be used behind a pointer, a [`DynStorage`].
pub trait AsyncStorage<S: Strategy>: Send + Sync {
    /// Applies an operation to the state of a key, at the present of this storage's clock.
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict>;

    /// Applies an operation that was due at the start of this time, by the wait of a denial. Returns the
    /// answer, and the time as of which it was decided, if the storage knows that at once. Defaults to
    /// [`apply`](Self::apply) and `None`: a store elsewhere decides by when the call arrives.
    ///
    /// A storage of this process decides as of the start, so that a timer that wakes late does not put off
    /// all that follows; but never as of a time that is later than its present, or earlier than that by more
    /// than `due` lasts.
    fn apply_due(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>, due: Due) -> TimedReply<S::Verdict> {
        let _ = due;
        (self.apply(strategy, key, op), None)
    }

    /// A copy of the state that a key has under this limit, and the present of this storage's clock.
    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)>;

    /// Returns the name of the node that keeps a key, the same handle every time as long as that node is one;
    /// or `None`, which is the default, from a storage that is a single node.
    ///
    /// Nodes fail one at a time, so layers judge each alone: a circuit breaker leaves the one alone that
    /// fails, and keys on all others are served as before. A layer forgets a node once its handle has been
    /// dropped. A storage keeps the handles of the nodes that it has, and of no others. With a handle made
    /// for each call every call is on a new node, of which nothing is known, and no breaker opens.
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

    /// Whether answers are there at once, as those of a storage of this process are: it is asked first, where
    /// several are, since that costs next to nothing.
    fn is_local(&self) -> bool {
        false
    }

    /// Returns the denial of a check if it is known here, without a call of any store; `None`
    /// if the store has to be asked. For who asks several storages about one request, and would have to take
    /// back what others charged.
    fn known_denial(&self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        let _ = (strategy, key, hit);
        None
    }

    /// Checks one hit on several keys, all of which are charged or none, if this storage can do better than
    /// to be asked for one after another.
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
    /// same one every time. Defaults to `None`: they wait in no order.
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

/// A storage of this process, which never waits, behind the asynchronous interface.
#[derive(Clone, Debug, Default)]
pub struct Local<M>(pub M);

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, M: Storage<S> + Send + Sync> AsyncStorage<S> for Local<M> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        Reply::ready(self.0.apply_now(strategy, key, op).map_err(BackendError::from))
    }

    fn apply_due(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>, due: Due) -> TimedReply<S::Verdict> {
        let at = as_of(&due, self.0.now());
        (Reply::ready(self.0.apply(strategy, key, op, at).map_err(BackendError::from)), Some(at))
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        Reply::ready(self.0.load(key).map(|state| (state, self.0.now())).map_err(BackendError::from))
    }

    /// One node, which is this process.
    fn node(&self, _: &dyn ErasedKey) -> Option<Arc<str>> {
        None
    }

    fn is_local(&self) -> bool {
        true
    }

    /// Nothing is known without a check, which costs next to nothing.
    fn known_denial(&self, _: &S, _: &dyn ErasedKey, _: &Hit<S::Cost>) -> Option<S::Verdict> {
        None
    }

    /// Up to four keys.
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
            let told = storage.check_together(strategy, keys, hit, storage.now());
            Reply::ready(told.map_err(BackendError::from).map(|told| {
                if told.is_atomic() {
                    MultiKeyReply::Atomic(told.verdicts.into())
                } else {
                    MultiKeyReply::Sequential(told.verdicts.into())
                }
            }))
        }
        match *keys {
            [a] => charged(&self.0, strategy, [a], hit),
            [a, b] => charged(&self.0, strategy, [a, b], hit),
            [a, b, c] => charged(&self.0, strategy, [a, b, c], hit),
            [a, b, c, d] => charged(&self.0, strategy, [a, b, c, d], hit),
            _ => Reply::ready(Ok(MultiKeyReply::Unsupported)),
        }
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.0.wait_queue()
    }
}

/// What a storage made of one hit on several keys: a verdict for each of them, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiKeyReply<V> {
    /// It was one atomic step.
    Atomic(Vec<V>),
    /// They were charged one after another, and those charged before one that denied were refunded.
    Sequential(Vec<V>),
    /// It cannot, and did nothing.
    Unsupported,
}

/// The answer of a storage: there already, or on its way.
///
/// An answer that is there already is never boxed, so a local storage allocates nothing. It needs no pinning
/// and borrows nothing, so it can be part of any other future.
#[must_use = "an answer that is not awaited is dropped, and with it the call"]
pub enum Reply<T> {
    /// It is there; `None` once it has been taken.
    Ready(Option<Result<T, BackendError>>),
    /// It is on its way.
    Pending(BoxFuture<'static, Result<T, BackendError>>),
}

impl<T> Reply<T> {
    /// An answer that is there already.
    pub const fn ready(answer: Result<T, BackendError>) -> Self {
        Self::Ready(Some(answer))
    }

    /// An answer that has to be waited for.
    pub fn pending(answer: impl Future<Output = Result<T, BackendError>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(answer))
    }
}

/// Combinators run at once, and box nothing, if the answer is there; else they run when it is.
impl<T: 'static> Reply<T> {
    /// Returns another answer in place of this one.
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
            Self::Ready(Some(answer)) => Reply::ready(change(answer)),
            Self::Ready(None) => Reply::Ready(None),
            Self::Pending(answer) => Reply::pending(async move { change(answer.await) }),
        }
    }

    /// Shows the answer to `look`, and leaves it as it is.
    ///
    /// ```
    /// use traffik::storage::{ErrorKind, BackendError, Reply};
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

    /// Goes on with another call, made from the answer.
    ///
    /// ```
    /// use traffik::storage::{ErrorKind, BackendError, Reply};
    ///
    /// let down = Reply::<u32>::ready(Err(BackendError::new(ErrorKind::Unavailable, "down")));
    /// let fallback = down.then(|answer| if answer.is_err() { Reply::ready(Ok(7)) } else { Reply::ready(answer) });
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

/// Nothing in a reply is ever pinned but what is boxed.
impl<T> Unpin for Reply<T> {}

impl<T> Future for Reply<T> {
    type Output = Result<T, BackendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
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
