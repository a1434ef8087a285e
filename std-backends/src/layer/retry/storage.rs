//! The storage that tries again where another one fails.

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

/// A storage that tries a failed call again, after growing waits.
///
/// Choose it for a store that fails for a moment now and then, such as when a connection breaks. It belongs
/// around a [`Timeout`](crate::layer::Timeout), so that one attempt does not use up the time of all. A
/// [`CircuitBreaker`](crate::layer::CircuitBreaker) around it counts calls; within it, attempts. By default
/// it makes up to three attempts within 1 s, with random waits of up to 10 ms and 20 ms between them.
///
/// * It tries again after failures that charged nothing. It reports an unknown outcome
///   ([`ErrorKind::Timeout`] of anything but a peek or a load) unless you set
///   [`after_timeouts`](crate::layer::RetryBuilder::after_timeouts), since a hit could be charged twice. If
///   one attempt had an unknown outcome, so has the whole call, whatever the last attempt failed with.
/// * Calls share no budget of attempts: retries on a node that is down take nothing from calls to other
///   nodes.
/// * All attempts end by the [deadline](crate::layer::RetryBuilder::deadline), which defaults to 1 s. An
///   attempt under way is then dropped, and the call fails with the cause [`DeadlineExceeded`].
/// * A ready answer that ends the call passes unchanged, without an allocation and without reading the clock.
///
/// **Bound.** Each call makes at most [`attempts`](crate::layer::RetryBuilder::attempts) calls of the
/// storage. Without `after_timeouts` nothing is charged twice.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::{Backoff, Retry, Timeout};
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let (runtime, ms) = (Manual::new(), Duration::from_millis);
/// let store = Local(Memory::new(1_000)); // stands for a store that may fail
/// let attempt = Timeout::new(store, runtime.clone(), ms(50));
/// let storage = Retry::builder(attempt, runtime.clone())
///     .attempts(4)
///     .backoff(Backoff::exponential(ms(5), ms(40)).with_half_jitter())
///     .deadline(ms(250))
///     .build()?;
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// assert!(runtime.run(async { limiter.check("alice").await })??.is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Retry<T, R> {
    pub(super) inner: Arc<RetryInner<T, R>>,
}

/// The state that clones of a retry share.
pub(super) struct RetryInner<T, R> {
    pub(super) storage: T,
    pub(super) timer: R,
    pub(super) settings: RetrySettings,
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    pub(super) random: Random,
    pub(super) retries: AtomicU64,
}

impl<T, R> Retry<T, R> {
    /// Returns the storage within.
    #[must_use]
    pub fn storage(&self) -> &T {
        &self.inner.storage
    }

    /// Returns the number of attempts beyond the first of each call.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.inner.retries.load(Ordering::Relaxed)
    }
}

impl<T: Send + Sync + 'static, R: Timer + Send + Sync + 'static> Retry<T, R> {
    /// Returns the first answer if that ends the call, or else a future that makes further attempts with
    /// `again`.
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
    /// Returns whether another attempt follows the failure of attempt number `attempts`.
    fn should_retry(&self, failure: &BackendError, attempts: u32, changes: bool) -> bool {
        let RetrySettings { attempts: most, on, after_timeouts, .. } = self.settings;
        attempts < most
            // An unknown outcome is final unless the user allows double charges; a call that changes
            // nothing has none.
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
            // Any attempt that may have charged makes the outcome of the whole call unknown.
            is_unknown |= changes && failure.kind() == ErrorKind::Timeout;
            let wait = self.settings.backoff.after(attempts, self.random.next());
            let goes_on = self.should_retry(&failure, attempts, changes) && !is_over(self.clock.now() + wait);
            // No wait is begun that would end at or after the deadline.
            if goes_on {
                self.timer.sleep(wait).await;
            }
            // A timer may wake late.
            if !goes_on || is_over(self.clock.now()) {
                let is_kind_right = !is_unknown || failure.kind() == ErrorKind::Timeout;
                return Err(if is_kind_right { failure } else { failure.with_kind(ErrorKind::Timeout) });
            }
            attempts += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
            reply = again(&self.storage);
        }
    }

    /// Returns the answer to one attempt, if it is there before the deadline.
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
