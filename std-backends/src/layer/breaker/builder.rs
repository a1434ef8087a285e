//! The builder of a circuit breaker.

use std::sync::Arc;
use std::time::Duration;

use portable_atomic::AtomicU64;
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Clock, Ratio, debug_fields};

use crate::MonotonicClock;
use crate::layer::breaker::control::Breaker;
use crate::layer::breaker::settings::{BreakerSettings, Share, is_outage};
use crate::layer::breaker::state::StateChange;
use crate::layer::breaker::state_machine::{BreakerInner, BreakerNode, Listener};
use crate::util::nodes::Nodes;
use crate::util::random::Random;
use crate::util::setters::setters;

/// The options of a [`Breaker`].
///
/// [`Breaker::builder`] creates it. Every option has a default.
///
/// ```
/// use std::time::Duration;
/// use traffik::Ratio;
/// use traffik::layer::Breaker;
///
/// let breaker = Breaker::builder("redis")
///     .failure_rate(Ratio::new(1, 2)?, 20, Duration::from_secs(10))
///     .open_for(Duration::from_secs(1))
///     .build()?;
/// assert_eq!(breaker.name(), "redis");
/// assert!(Breaker::builder("redis").failures(0).build().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct BreakerBuilder {
    name: Arc<str>,
    settings: BreakerSettings,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    listeners: Vec<Listener>,
    random: Random,
}

impl BreakerBuilder {
    setters! {
        /// Opens after this many failures in a row. Defaults to 5 if no failure rate is set, else to no
        /// such rule.
        ///
        /// Concurrent calls that fail within 5 ms of the first one count as one failure: a connection that
        /// breaks takes all its calls along.
        pub const fn failures(in_a_row: u32) => settings.failures = Some(in_a_row);

        /// Opens when at least `share` of the calls within `window` failed, if there were at least `calls`
        /// calls. Defaults to no such rule.
        ///
        /// The counts cover the last nine to ten tenths of `window`. Both rules may be set; the first to
        /// apply opens the breaker.
        pub const fn failure_rate(share: Ratio, calls: u32, window: Duration) =>
            settings.share = Some(Share { rate: share, calls, window });

        /// Counts a call that takes `from` or longer as failed, whatever its answer, and also if its answer
        /// was dropped. Defaults to no such limit.
        pub const fn slow(from: Duration) => settings.slow = Some(from);

        /// Sets the time that the breaker stays open. Defaults to 500 ms.
        pub const fn open_for(time: Duration) => settings.open_for = time;

        /// Sets the random time, from zero to `most`, that the breaker stays open beyond
        /// [`open_for`](Self::open_for). Defaults to 250 ms. It keeps the clients of one store from
        /// returning at the same moment.
        pub const fn jitter(most: Duration) => settings.jitter = most;

        /// Closes after this many successful probes in a row. Defaults to 1.
        pub const fn successes(in_a_row: u32) => settings.successes = in_a_row;

        /// Sets the kinds of failure that count. Defaults to [`is_outage`]. Failures of other kinds count
        /// as successes, since the storage answered.
        pub const fn counts(counts: fn(ErrorKind) -> bool) => settings.counts = counts;

        /// Sets the clock, which should not step. Defaults to a [`MonotonicClock`].
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Sets the seed of the jitter, for tests that must repeat. Defaults to a random one.
        pub const fn seed(seed: u64) => random = Random::seeded(seed);
    }

    /// Calls `listener` at each change of state.
    ///
    /// The change implements `Display` for logs. Its fields are `breaker`, the name; `node`, `None` for a
    /// storage that is a single node; `number`, a `u64` that orders the changes of this breaker; `from` and
    /// `to`, each a [`BreakerState`](crate::layer::BreakerState); and `cause`, the failure that opened the
    /// breaker.
    ///
    /// Two changes can reach a listener in the wrong order. The listener runs within the call that caused
    /// the change. It should be quick, and must not panic, because that call would panic.
    pub fn on_change(mut self, listener: impl Fn(&StateChange) + Send + Sync + 'static) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// Builds the breaker, closed.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Invalid`] for 0 failures, successes or calls, for an open time, a slow limit
    /// or a window of 0 s, and for a rate that is not above 0 and at most 1.
    pub fn build(self) -> Result<Breaker, BackendError> {
        // A breaker with such settings would always be open or never open. The messages name values that
        // work.
        let settings = &self.settings;
        let refuse = |message: &str| Err(BackendError::new(ErrorKind::Invalid, message));
        if settings.failures == Some(0) {
            return refuse(
                "a breaker that opens after 0 failures is always open; set `failures` to 1 or more",
            );
        }
        if settings.successes == 0 {
            return refuse(
                "a breaker that closes after 0 successes never tries the storage; set `successes` to 1 or \
                 more",
            );
        }
        if settings.open_for.is_zero() {
            return refuse(
                "a breaker that is open for 0 s never refuses a call; set `open_for` to 500 ms, for example",
            );
        }
        if settings.slow.is_some_and(|slow| slow.is_zero()) {
            return refuse("calls of 0 s are always slow; set `slow` well above what a call takes");
        }
        if let Some(Share { rate, calls, window }) = &settings.share
            && (*rate == Ratio::ZERO || *rate > Ratio::ONE || *calls == 0 || window.is_zero())
        {
            return refuse(&format!(
                "a failure rate of {rate} over {calls} calls in {window:?} cannot be reached, or always is; \
                 set a rate above 0 and at most 1, at least 1 call, and a window above 0 s",
            ));
        }
        Ok(self.build_unchecked())
    }

    /// Builds the breaker without checking its settings.
    fn build_unchecked(mut self) -> Breaker {
        // A breaker without any rule would never open.
        if self.settings.failures.is_none() && self.settings.share.is_none() {
            self.settings.failures = Some(5);
        }
        let Self { name, settings, clock, listeners, random } = self;
        // A clock that steps would end or extend the open time, so the default is monotonic.
        let clock = clock.unwrap_or_else(|| Arc::new(MonotonicClock::default()));
        // `whole` judges a storage without named nodes; nodes are added as calls name them.
        let (whole, nodes) = (BreakerNode::new(None), Nodes::new());
        let (changes, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        let inner = BreakerInner { name, settings, clock, listeners, random, whole, nodes, changes, refused };
        Breaker { inner: Arc::new(inner) }
    }
}

impl Breaker {
    /// Creates a breaker with default settings: it opens after 5 failures in a row, for 500 to 750 ms.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self::builder(name).build_unchecked()
    }

    /// Creates a builder of a breaker with this name, which appears in messages. By default the breaker
    /// opens after 5 failures in a row, for 500 to 750 ms.
    pub fn builder(name: impl Into<Arc<str>>) -> BreakerBuilder {
        let settings = BreakerSettings {
            failures: None,
            share: None,
            slow: None,
            open_for: Duration::from_millis(500),
            jitter: Duration::from_millis(250),
            successes: 1,
            counts: is_outage,
        };
        let (name, random) = (name.into(), Random::default());
        BreakerBuilder { name, settings, clock: None, listeners: Vec::new(), random }
    }
}

debug_fields!([] BreakerBuilder: name);
