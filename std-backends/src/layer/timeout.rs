//! A storage that is given up on where it takes too long.

use std::fmt::{self, Debug};
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, MultiKeyReply, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timer, Timestamp, debug_fields};

use super::calls::changes;
use super::delegate::delegate;
use crate::util::key::KeyRefs;
use crate::util::race::{Either, race};

/// A storage with a deadline for each call.
///
/// * The time runs from when the call is made, and the call is dropped when it is over.
/// * What may have been charged by then fails with [`Timeout`](traffik_core::ErrorKind::Timeout), for its
///   outcome is unknown; what charges nothing, a peek or a look at a state, with
///   [`Unavailable`](traffik_core::ErrorKind::Unavailable). The cause of both is a `DeadlineExceeded`, whose field is
///   `limit`, the time that the call was given.
/// * A storage that has a deadline of its own, as those on servers do, SHOULD have one that is no longer:
///   what it learns of its connections from calls that fail, it learns later from calls that are dropped.
/// * An answer that is there at once is passed on as it is: no timer is set for it, and nothing allocated.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::Timeout;
/// use traffik::Memory;
/// use traffik::storage::{Local, Reply};
/// use traffik::{AsyncLimiter, TokenBucket, rate};
/// # use std::future::{Future, ready};
/// # #[derive(Clone)]
/// # struct Runtime;
/// # impl traffik::Timer for Runtime {
/// #     fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send + 'static { ready(()) }
/// # }
///
/// // Memory stands here for a store that may take its time.
/// let storage = Timeout::new(Local(Memory::new(1_000)), Runtime, Duration::from_millis(50));
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// assert!(matches!(limiter.check("alice"), Reply::Ready(Some(Ok(_)))));
/// ```
#[derive(Clone)]
pub struct Timeout<T, R> {
    storage: T,
    timer: R,
    limit: Duration,
}

impl<T, R: Timer> Timeout<T, R> {
    /// The storage, given so long for each call.
    pub const fn new(storage: T, timer: R, limit: Duration) -> Self {
        Self { storage, timer, limit }
    }

    /// The storage.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    fn within<A: Send + 'static>(&self, reply: Reply<A>, changes: bool) -> Reply<A> {
        let Reply::Pending(answer) = reply else { return reply };
        let (over, limit) = (self.timer.sleep(self.limit), self.limit);
        Reply::pending(async move {
            match race(answer, over).await {
                Either::Left(answer) => answer,
                Either::Right(()) => Err(DeadlineExceeded { limit }.failure(changes)),
            }
        })
    }
}

/// A call was not answered in time: the [`cause`](BackendError::cause) of the [`BackendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlineExceeded {
    /// The time it was given.
    pub limit: Duration,
}

impl DeadlineExceeded {
    pub(super) fn failure(self, changes: bool) -> BackendError {
        BackendError::new(if changes { ErrorKind::Timeout } else { ErrorKind::Unavailable }, self)
    }
}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store has not answered within {:?}", self.limit)
    }
}

impl std::error::Error for DeadlineExceeded {}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, T: AsyncStorage<S>, R: Timer + Send + Sync> AsyncStorage<S> for Timeout<T, R> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.within(self.storage.apply(strategy, key, op), changes(op))
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.within(self.storage.load(strategy, key), false)
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        self.within(self.storage.check_together(strategy, keys, hit), true)
    }

    delegate!(self => self.storage; apply_due, node, is_local, known_denial, wait_queue);
}

debug_fields!([T: Debug, R] Timeout<T, R>: storage, limit);
