//! The builder of a retry.

use std::sync::Arc;
use std::time::Duration;

use portable_atomic::AtomicU64;
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Clock, debug_fields};

use crate::MonotonicClock;
use crate::layer::Backoff;
use crate::layer::retry::settings::{RetrySettings, is_transient};
use crate::layer::retry::storage::{Retry, RetryInner};
use crate::util::random::Random;
use crate::util::setters::setters;

/// The options of a [`Retry`].
///
/// [`Retry::builder`] creates it. Every option has a default.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::Retry;
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{Memory, TokenBucket};
///
/// let store = Local(Memory::<TokenBucket>::new(1_000));
/// let storage = Retry::builder(store, Manual::new()).attempts(2).deadline(Duration::from_millis(100)).build()?;
/// assert_eq!(storage.retries(), 0);
/// # Ok::<(), traffik::storage::BackendError>(())
/// ```
#[must_use]
pub struct RetryBuilder<T, R> {
    storage: T,
    timer: R,
    settings: RetrySettings,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    random: Random,
}

impl<T, R> RetryBuilder<T, R> {
    setters! {
        /// Sets the number of attempts, the first one included. Defaults to 3.
        pub const fn attempts(most: u32) => settings.attempts = most;

        /// Sets the kinds of failure after which it tries again. Defaults to [`is_transient`].
        ///
        /// A call that charges nothing and got no answer in time counts as `Unavailable`. Other calls that
        /// end in `Timeout` need [`after_timeouts`](Self::after_timeouts).
        pub const fn on(kinds: fn(ErrorKind) -> bool) => settings.on = kinds;

        /// Also tries again after an unknown outcome. Defaults to reporting it.
        ///
        /// **A hit may then be charged once for each attempt**, and denied because of its own charge. A
        /// refund may give back more than was taken. A reset may forget what was charged after it.
        pub const fn after_timeouts() => settings.after_timeouts = true;

        /// Sets the waits between attempts. Defaults to 10 ms, doubling up to 200 ms, with full jitter.
        pub const fn backoff(backoff: Backoff) => settings.backoff = backoff;

        /// Sets the longest time of all attempts and waits together. Defaults to 1 s. A call whose next
        /// wait would end later fails at once.
        pub const fn deadline(time: Duration) => settings.deadline = Some(time);

        /// Removes the deadline, for a storage whose every call has a deadline of its own.
        pub const fn without_deadline() => settings.deadline = None;

        /// Sets the clock, which should not step. Defaults to a [`MonotonicClock`].
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Sets the seed of the jitter, for tests that must repeat. Defaults to a random one.
        pub const fn seed(seed: u64) => random = Random::seeded(seed);
    }

    /// Builds the storage.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Invalid`] for 0 attempts, a deadline of 0 s, or a backoff whose longest wait
    /// is shorter than the first.
    pub fn build(self) -> Result<Retry<T, R>, BackendError> {
        // Settings that allow no attempt are mistakes. The messages name values that work.
        let settings = &self.settings;
        let refuse = |message: &'static str| Err(BackendError::new(ErrorKind::Invalid, message));
        if settings.attempts == 0 {
            return refuse("0 attempts never ask the storage; set 1 to ask once, or 3 to try again twice");
        }
        if settings.deadline.is_some_and(|time| time.is_zero()) {
            return refuse("a deadline of 0 s allows no attempt; set 1 s, or use without_deadline()");
        }
        if settings.backoff.is_upside_down() {
            return refuse("the longest wait of the backoff is shorter than its first; swap the two");
        }
        Ok(self.build_unchecked())
    }

    /// Builds the storage without checking its settings.
    fn build_unchecked(self) -> Retry<T, R> {
        let Self { storage, timer, settings, clock, random } = self;
        // A clock that steps would end or extend the deadline, so the default is monotonic.
        let clock = clock.unwrap_or_else(|| Arc::new(MonotonicClock::default()));
        let retries = AtomicU64::new(0);
        Retry { inner: Arc::new(RetryInner { storage, timer, settings, clock, random, retries }) }
    }
}

impl<T, R> Retry<T, R> {
    /// Creates a builder of a retry around `storage`. By default it makes up to three attempts within 1 s,
    /// with waits of at most 10 ms and 20 ms between them.
    pub fn builder(storage: T, timer: R) -> RetryBuilder<T, R> {
        // Waits of at most 10 and 20 ms between three attempts: a short hiccup passes unnoticed.
        let settings = RetrySettings {
            attempts: 3,
            on: is_transient,
            after_timeouts: false,
            backoff: Backoff::exponential(Duration::from_millis(10), Duration::from_millis(200)),
            deadline: Some(Duration::from_secs(1)),
        };
        RetryBuilder { storage, timer, settings, clock: None, random: Random::default() }
    }

    /// Wraps a storage with default settings: up to three attempts within 1 s.
    pub fn new(storage: T, timer: R) -> Self {
        Self::builder(storage, timer).build_unchecked()
    }
}

debug_fields!([T, R] RetryBuilder<T, R>: attempts = |it| it.settings.attempts);
