//! The timeout, which fails a call that takes too long.

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
/// Choose it for a storage that may hang and has no deadline of its own. It belongs directly around the
/// store, within all other layers. The limit has no default: 50 ms suits a store in the same data centre.
///
/// * The time runs from when the call is made. At its end the call is dropped.
/// * A call that may have charged something fails with [`Timeout`](traffik_core::ErrorKind::Timeout), since
///   its outcome is unknown. A peek or a load fails with
///   [`Unavailable`](traffik_core::ErrorKind::Unavailable). The cause of both is a `DeadlineExceeded`,
///   whose field `limit` is the time that the call had.
/// * A storage with a deadline of its own, such as those on servers, SHOULD have one that is no longer. Such
///   a storage learns about its connections from calls that fail, and less from calls that are dropped.
/// * A ready answer passes unchanged, without a timer and without an allocation.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::Timeout;
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let runtime = Manual::new(); // in a program `Tokio` or `Smol`
/// let store = Local(Memory::new(1_000)); // stands for a store that may hang
/// let storage = Timeout::new(store, runtime.clone(), Duration::from_millis(50));
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// assert!(runtime.run(async { limiter.check("alice").await })??.is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Timeout<T, R> {
    storage: T,
    timer: R,
    limit: Duration,
}

impl<T, R: Timer> Timeout<T, R> {
    /// Wraps a storage, so that each of its calls may take at most `limit`.
    pub const fn new(storage: T, timer: R, limit: Duration) -> Self {
        Self { storage, timer, limit }
    }

    /// Returns the storage within.
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

/// The cause of the failure of a call that got no answer before its deadline.
///
/// It is the [`cause`](BackendError::cause) of the [`BackendError`] of a [`Timeout`] or a
/// [`Retry`](crate::layer::Retry), and of slow calls that opened a [`Breaker`](crate::layer::Breaker).
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::{DeadlineExceeded, Timeout};
/// use traffik::runtime::Manual;
/// use traffik::storage::{AsyncStorage, Reply};
/// use traffik::{AsyncLimiter, ErasedKey, Op, Timestamp, TokenBucket, Verdict, rate};
/// # use traffik::Strategy;
/// /// A store that never answers.
/// struct Hung;
///
/// impl<S: Strategy> AsyncStorage<S> for Hung {
///     fn apply(&self, _: &S, _: &dyn ErasedKey, _: &Op<S>) -> Reply<S::Verdict> {
///         Reply::pending(std::future::pending())
///     }
///
///     fn load(&self, _: &S, _: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
///         Reply::pending(std::future::pending())
///     }
/// }
///
/// let runtime = Manual::new();
/// let storage = Timeout::new(Hung, runtime.clone(), Duration::from_millis(50));
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// let failure = runtime.run(async { limiter.check("alice").await })?.unwrap_err();
/// let cause = failure.cause().downcast_ref::<DeadlineExceeded>();
/// assert_eq!(cause.map(|exceeded| exceeded.limit), Some(Duration::from_millis(50)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlineExceeded {
    /// The time that the call had.
    pub limit: Duration,
}

impl DeadlineExceeded {
    pub(super) fn failure(self, changes: bool) -> BackendError {
        BackendError::new(if changes { ErrorKind::Timeout } else { ErrorKind::Unavailable }, self)
    }
}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the storage did not answer within {:?}", self.limit)
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
