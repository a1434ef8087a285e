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

/// What a [`Breaker`] is to be like.
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
        /// Opens after so many failures in a row: five, if neither this nor a rate is given. Calls that are
        /// under way together and fail within 5 ms of each other, as all do on a connection that breaks,
        /// count as one.
        pub const fn failures(in_a_row: u32) => settings.failures = Some(in_a_row);

        /// Opens when at least this share of the calls within a window failed, of which there must be `calls`
        /// at least. A window is counted in tenths, the current one included.
        pub const fn failure_rate(share: Ratio, calls: u32, window: Duration) =>
            settings.share = Some(Share { most: share, calls, window });

        /// A call that takes this long counts as failed, whatever it answers, and also when nobody awaits it
        /// any longer. None does if nothing is said.
        pub const fn slow(from: Duration) => settings.slow = Some(from);

        /// Stays open for so long, 500 ms if nothing is said.
        pub const fn open_for(time: Duration) => settings.open_for = time;

        /// And for up to this much longer, at random, so that not all who share a store come back to it at
        /// once: 250 ms if nothing is said.
        pub const fn jitter(most: Duration) => settings.jitter = most;

        /// Closes after so many probes that succeed in a row, 1 if nothing is said.
        pub const fn successes(in_a_row: u32) => settings.successes = in_a_row;

        /// Which kinds of failure count: [`is_outage`] if nothing is said. Those that do not count as successes,
        /// for the storage answered.
        pub const fn counts(counts: fn(ErrorKind) -> bool) => settings.counts = counts;

        /// Goes by this clock, which should not step; by a [`MonotonicClock`] if nothing is said.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Draws its jitter from the sequence of this seed: for tests that shall be the same each time.
        pub const fn seed(seed: u64) => random = Random::seeded(seed);
    }

    /// Calls this at each change of state.
    ///
    /// The change has a text for a log, and the fields `breaker`, the name; `node`, which is `None` for a
    /// storage that is one node; `number`, a `u64` that orders the changes of this breaker; `from` and `to`,
    /// each a [`BreakerState`](crate::layer::BreakerState); and `cause`, the failure that opened it. Two
    /// changes can reach a listener in the wrong order. The listener runs within the call that brought the
    /// change about: it should be quick, and not panic, for then that call does.
    pub fn on_change(mut self, listener: impl Fn(&StateChange) + Send + Sync + 'static) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// The breaker.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if it could never open or never close.
    pub fn build(self) -> Result<Breaker, BackendError> {
        let settings = &self.settings;
        let refuse = |message: &'static str| Err(BackendError::new(ErrorKind::Invalid, message));
        if settings.failures == Some(0) {
            return refuse("a breaker that opens after 0 failures is always open; take 1 or more");
        }
        if settings.successes == 0 {
            return refuse("a breaker closes after 1 probe or more");
        }
        if settings.open_for.is_zero() {
            return refuse("a breaker must stay open for some time; take 500 ms");
        }
        if settings.slow.is_some_and(|slow| slow.is_zero()) {
            return refuse("if calls of 0 s are slow, all are; take well above what a call takes");
        }
        if let Some(Share { most, calls, window }) = &settings.share
            && (*most == Ratio::ZERO || *most > Ratio::ONE || *calls == 0 || window.is_zero())
        {
            return refuse(
                "a failure rate is above 0 and at most 1, of 1 call or more, in a window above 0 s",
            );
        }
        Ok(self.build_unchecked())
    }

    /// The breaker, of settings that are known to make sense.
    fn build_unchecked(mut self) -> Breaker {
        if self.settings.failures.is_none() && self.settings.share.is_none() {
            self.settings.failures = Some(5);
        }
        let Self { name, settings, clock, listeners, random } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(MonotonicClock::default()));
        let (whole, nodes) = (BreakerNode::new(None), Nodes::new());
        let (changes, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        let inner = BreakerInner { name, settings, clock, listeners, random, whole, nodes, changes, refused };
        Breaker { inner: Arc::new(inner) }
    }
}

impl Breaker {
    /// A breaker with default settings.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self::builder(name).build_unchecked()
    }

    /// A breaker of this name, closed. If nothing else is said it opens after five failures in a row, for 500
    /// to 750 ms.
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
