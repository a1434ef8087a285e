//! How long a wait may be, and how long it would be.

use core::future::{Future, pending, ready};
use core::time::Duration;

use super::delayed::GivenUp;
use super::target::WaitTarget;
use crate::{Hit, Key, Outcome, Strategy, Timer, Timestamp, Verdict};

/// A bound on how long a hit may wait.
pub(super) trait Bound {
    /// The time that is left; `None` without a bound.
    fn left(&self) -> Option<Duration>;

    /// Completes when no time is left.
    fn over(&self) -> impl Future<Output = ()>;

    /// Refunds what was given up because no time is left.
    fn refund<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
        &self,
        limiter: &L,
        key: &K,
        given_up: GivenUp<'_, S, impl Into<Hit<S::Cost>> + Copy>,
    ) -> impl Future<Output = ()>;
}

/// No bound.
pub(super) struct Unbounded;

impl Bound for Unbounded {
    fn left(&self) -> Option<Duration> {
        None
    }

    fn over(&self) -> impl Future<Output = ()> {
        pending()
    }

    /// Never called, so the future needs no room for it.
    fn refund<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
        &self,
        limiter: &L,
        key: &K,
        given_up: GivenUp<'_, S, impl Into<Hit<S::Cost>> + Copy>,
    ) -> impl Future<Output = ()> {
        given_up.refund_now(limiter, key);
        ready(())
    }
}

/// A time from now on.
pub(super) struct Within<'a, T, W> {
    timer: &'a T,
    within: Duration,
    watch: W,
}

impl<'a, T: Timer> Within<'a, T, ()> {
    /// A time from now on, by this timer.
    pub(super) fn new(timer: &'a T, within: Duration) -> Within<'a, T, impl Fn() -> Option<Duration>> {
        Within { timer, within, watch: timer.stopwatch() }
    }
}

impl<T: Timer, W: Fn() -> Option<Duration>> Bound for Within<'_, T, W> {
    fn left(&self) -> Option<Duration> {
        Some(self.within.saturating_sub((self.watch)().unwrap_or_default()))
    }

    fn over(&self) -> impl Future<Output = ()> {
        self.timer.sleep(self.within)
    }

    async fn refund<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
        &self,
        limiter: &L,
        key: &K,
        mut given_up: GivenUp<'_, S, impl Into<Hit<S::Cost>> + Copy>,
    ) {
        while let Some(refund) = given_up.next() {
            let refunded = limiter.refund(key, refund.hit, refund.receipt).await;
            refund.answered(&refunded);
        }
    }
}

/// The expectation of how long a hit waits behind others, by deciding on all of them in turn.
///
/// It looks no further than a bound: a wait that is longer is at least what it expects then. What others take
/// meanwhile is not known.
pub(super) struct Expectation<'a, S: Strategy> {
    strategy: &'a S,
    state: S::State,
    start: Timestamp,
    now: Timestamp,
    within: Duration,
    delay: Duration,
}

impl<'a, S: Strategy> Expectation<'a, S> {
    /// An expectation from a state on that is brought down to a clock which was set back, as a storage does.
    pub(super) fn new(strategy: &'a S, mut state: S::State, start: Timestamp, within: Duration) -> Self {
        let _ = strategy.rebase(&mut state, start);
        Self { strategy, state, start, now: start, within, delay: Duration::ZERO }
    }

    /// Decides on the next hit.
    pub(super) fn add(&mut self, hit: &Hit<S::Cost>) {
        self.delay = Duration::ZERO;
        while self.waited() <= self.within {
            match self.strategy.decide(&mut self.state, hit, self.now).outcome() {
                Outcome::Allow { after } => {
                    self.delay = after;
                    return;
                }
                Outcome::Deny { retry_after } if self.now + retry_after > self.now => {
                    self.now = self.now + retry_after;
                }
                Outcome::Deny { .. } | Outcome::Never => {
                    self.delay = Duration::MAX;
                    return;
                }
            }
        }
    }

    /// The wait of the last hit.
    pub(super) fn waited(&self) -> Duration {
        self.now.since(self.start).saturating_add(self.delay)
    }
}
