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

/// What a [`Retry`] is to be like.
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
        /// Sets the number of attempts, the first one included; defaults to three.
        pub const fn attempts(most: u32) => settings.attempts = most;

        /// Tries again on these kinds of failure: on those that [are passing](is_transient) if nothing is said.
        /// A call that charges nothing and was not answered in time counts as `Unavailable`. For others that
        /// end in `Timeout`, see [`after_timeouts`](Self::after_timeouts).
        pub const fn on(kinds: fn(ErrorKind) -> bool) => settings.on = kinds;

        /// Tries again also what may have been done already. **A hit can then be charged up to as often as
        /// there are attempts**, and told as denied because of its own charge; a refund can give back more
        /// than was taken; a reset can forget what came after it.
        pub const fn after_timeouts() => settings.after_timeouts = true;

        /// Waits like this between attempts: from 10 ms on, doubling up to 200 ms, with full jitter, if
        /// nothing is said.
        pub const fn backoff(backoff: Backoff) => settings.backoff = backoff;

        /// All attempts and the waits between them take no longer than this: 1 s if nothing is said. Who
        /// would have to wait beyond it is told of the failure at once.
        pub const fn deadline(time: Duration) => settings.deadline = Some(time);

        /// Takes as long as the attempts take: for a storage in which each has a deadline of its own.
        pub const fn without_deadline() => settings.deadline = None;

        /// Goes by this clock, which should not step; by a [`MonotonicClock`] if nothing is said.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Draws its jitter from the sequence of this seed: for tests that shall be the same each time.
        pub const fn seed(seed: u64) => random = Random::seeded(seed);
    }

    /// The storage.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if it could never make an attempt, or the longest wait is shorter than the
    /// first.
    pub fn build(self) -> Result<Retry<T, R>, BackendError> {
        let settings = &self.settings;
        let refuse = |message: &'static str| Err(BackendError::new(ErrorKind::Invalid, message));
        if settings.attempts == 0 {
            return refuse("0 attempts never ask the storage; take 1 to ask once, or 3 to try again twice");
        }
        if settings.deadline.is_some_and(|time| time.is_zero()) {
            return refuse("within 0 s no attempt can be made; take 1 s, or `without_deadline`");
        }
        if settings.backoff.is_upside_down() {
            return refuse("the longest wait is shorter than the first one; give them the other way round");
        }
        Ok(self.build_unchecked())
    }

    /// The storage, of settings that are known to make sense.
    fn build_unchecked(self) -> Retry<T, R> {
        let Self { storage, timer, settings, clock, random } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(MonotonicClock::default()));
        let retries = AtomicU64::new(0);
        Retry { inner: Arc::new(RetryInner { storage, timer, settings, clock, random, retries }) }
    }
}

impl<T, R> Retry<T, R> {
    /// The storage, asked up to three times within 1 s, 10 ms and 20 ms at most apart, unless something else
    /// is said.
    pub fn builder(storage: T, timer: R) -> RetryBuilder<T, R> {
        let settings = RetrySettings {
            attempts: 3,
            on: is_transient,
            after_timeouts: false,
            backoff: Backoff::exponential(Duration::from_millis(10), Duration::from_millis(200)),
            deadline: Some(Duration::from_secs(1)),
        };
        RetryBuilder { storage, timer, settings, clock: None, random: Random::default() }
    }

    /// A storage that is asked again by default settings.
    pub fn new(storage: T, timer: R) -> Self {
        Self::builder(storage, timer).build_unchecked()
    }
}

debug_fields!([T, R] RetryBuilder<T, R>: attempts = |it| it.settings.attempts);
