//! A storage that is asked again where it fails.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;
use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, MultiKeyReply, Reply};
use traffik_core::{Clock, ErasedKey, Hit, Op, Strategy, Timer, Timestamp, debug_fields};

use crate::layer::DeadlineExceeded;
use crate::layer::calls::{changes, check_keys};
use crate::layer::delegate::delegate;
use crate::layer::retry::settings::RetrySettings;
use crate::util::key::{KeyRefs, bytes};
use crate::util::race::{Either, race};
use crate::util::random::Random;

/// A storage that is asked again where it fails, after waits that grow.
///
/// * It tries again after failures that say that nothing was charged. An unknown outcome
///   ([`ErrorKind::Timeout`] of anything but a peek or a look at a state) is told as it is, unless
///   [`after_timeouts`](crate::layer::RetryBuilder::after_timeouts) is said: a hit could be charged twice.
///   Where one attempt was left unknown, the whole call is, whatever the last attempt failed with.
/// * Calls share nothing, no budget of attempts either: those that ask a node again that is down take nothing
///   from those of other nodes.
/// * All ends by the [deadline](crate::layer::RetryBuilder::deadline), which is 1 s if nothing is said. An
///   attempt on its way then is dropped, with [`DeadlineExceeded`] for its cause.
/// * An answer that is there at once is passed on as it is: nothing is allocated for it, and no clock read.
/// * Put a [`Timeout`](crate::layer::Timeout) within it, so that one attempt does not use up the time of all;
///   and a [`CircuitBreaker`](crate::layer::CircuitBreaker) around it counts calls, within it attempts.
///
/// **Bound.** At most [`attempts`](crate::layer::RetryBuilder::attempts) calls of the storage for one of its
/// own. Without `after_timeouts` nothing is charged twice.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::{Backoff, Retry, Timeout};
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
/// // Memory stands here for a store that may fail.
/// let attempt = Timeout::new(Local(Memory::new(1_000)), Runtime, Duration::from_millis(50));
/// let storage = Retry::builder(attempt, Runtime)
///     .attempts(4)
///     .backoff(Backoff::exponential(Duration::from_millis(5), Duration::from_millis(40)).with_half_jitter())
///     .deadline(Duration::from_millis(250))
///     .build()?;
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// assert!(matches!(limiter.check("alice"), Reply::Ready(Some(Ok(_)))));
/// # Ok::<(), traffik::storage::BackendError>(())
/// ```
pub struct Retry<T, R> {
    pub(super) inner: Arc<RetryInner<T, R>>,
}

pub(super) struct RetryInner<T, R> {
    pub(super) storage: T,
    pub(super) timer: R,
    pub(super) settings: RetrySettings,
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    pub(super) random: Random,
    pub(super) retries: AtomicU64,
}

impl<T, R> Retry<T, R> {
    /// The storage.
    #[must_use]
    pub fn storage(&self) -> &T {
        &self.inner.storage
    }

    /// How many attempts there were beyond the first ones.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.inner.retries.load(Ordering::Relaxed)
    }
}

impl<T: Send + Sync + 'static, R: Timer + Send + Sync + 'static> Retry<T, R> {
    /// What came of the first attempt, and how to make another one if that takes more than its answer.
    fn call<A, C>(&self, changes: bool, first: Reply<A>, again: impl FnOnce() -> C) -> Reply<A>
    where
        A: Send + 'static,
        C: Fn(&T) -> Reply<A> + Send + 'static,
    {
        if let Reply::Ready(Some(answer)) = &first
            && answer.as_ref().err().is_none_or(|failure| !self.inner.should_retry(failure, 1, changes))
        {
            return first;
        }
        let (inner, again) = (Arc::clone(&self.inner), again());
        let until = inner.settings.deadline.map(|time| inner.clock.now() + time);
        Reply::pending(async move { inner.run(first, again, until, changes).await })
    }
}

impl<T, R: Timer> RetryInner<T, R> {
    /// Whether another attempt is to be made after this many.
    fn should_retry(&self, failure: &BackendError, attempts: u32, changes: bool) -> bool {
        let RetrySettings { attempts: most, on, after_timeouts, .. } = self.settings;
        attempts < most
            && match failure.kind() {
                ErrorKind::Timeout if changes => after_timeouts,
                ErrorKind::Timeout => on(ErrorKind::Unavailable),
                kind => on(kind),
            }
    }

    async fn run<A>(
        &self,
        first: Reply<A>,
        again: impl Fn(&T) -> Reply<A>,
        until: Option<Timestamp>,
        changes: bool,
    ) -> Result<A, BackendError> {
        let is_over = |at| until.is_some_and(|until| at >= until);
        let (mut reply, mut attempts, mut is_unknown) = (first, 1, false);
        loop {
            let failure = match self.answer(reply, until, changes).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            is_unknown |= changes && failure.kind() == ErrorKind::Timeout;
            let wait = self.settings.backoff.after(attempts, self.random.next());
            let goes_on = self.should_retry(&failure, attempts, changes) && !is_over(self.clock.now() + wait);
            if goes_on {
                self.timer.sleep(wait).await;
            }
            // A timer may be late.
            if !goes_on || is_over(self.clock.now()) {
                let is_told = !is_unknown || failure.kind() == ErrorKind::Timeout;
                return Err(if is_told { failure } else { failure.with_kind(ErrorKind::Timeout) });
            }
            attempts += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
            reply = again(&self.storage);
        }
    }

    /// The answer to one attempt, if it is there before the end of all.
    async fn answer<A>(
        &self,
        reply: Reply<A>,
        until: Option<Timestamp>,
        changes: bool,
    ) -> Result<A, BackendError> {
        let (Reply::Pending(_), Some(until), Some(limit)) = (&reply, until, self.settings.deadline) else {
            return reply.await;
        };
        match race(reply, self.timer.sleep(until.since(self.clock.now()))).await {
            Either::Left(answer) => answer,
            Either::Right(()) => Err(DeadlineExceeded { limit }.failure(changes)),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S, T, R> AsyncStorage<S> for Retry<T, R>
where
    S: Strategy,
    T: AsyncStorage<S> + 'static,
    R: Timer + Send + Sync + 'static,
{
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.call(changes(op), self.storage().apply(strategy, key, op), || {
            let (strategy, key, op) = (strategy.clone(), bytes(key), *op);
            move |storage: &T| storage.apply(&strategy, &key, &op)
        })
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.call(false, self.storage().load(strategy, key), || {
            let (strategy, key) = (strategy.clone(), bytes(key));
            move |storage: &T| storage.load(&strategy, &key)
        })
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        self.call(true, self.storage().check_together(strategy, keys, hit), || {
            let keys: Vec<_> = keys.iter().map(|key| bytes(*key)).collect();
            let (strategy, hit) = (strategy.clone(), *hit);
            move |storage: &T| check_keys(storage, &strategy, &keys, &hit)
        })
    }

    delegate!(self => self.storage(); apply_due, node, is_local, known_denial, wait_queue);
}

impl<T, R> Clone for Retry<T, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

debug_fields!([T: Debug, R] Retry<T, R>: storage = |it| it.storage(), retries = |it| it.retries());
