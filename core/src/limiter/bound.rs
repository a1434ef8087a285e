//! The bound on how long a wait may be.

use core::future::{Future, pending, ready};
use core::time::Duration;

use super::delayed::PendingRefunds;
use super::target::WaitTarget;
use crate::{Hit, Key, Strategy, Timer};

/// The bound on how long a hit may wait.
pub(super) trait WaitBound {
    /// Returns the time that is left; `None` without a bound.
    fn left(&self) -> Option<Duration>;

    /// Completes when no time is left.
    fn time_up(&self) -> impl Future<Output = ()>;

    /// Refunds a turn that was given up because no time is left.
    fn refund<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
        &self,
        limiter: &L,
        key: &K,
        refunds: PendingRefunds<'_, S, impl Into<Hit<S::Cost>> + Copy>,
    ) -> impl Future<Output = ()>;
}

/// A wait without a bound.
pub(super) struct NoBound;

impl WaitBound for NoBound {
    fn left(&self) -> Option<Duration> {
        None
    }

    fn time_up(&self) -> impl Future<Output = ()> {
        pending()
    }

    /// Refunds at once, so that the waiting future keeps no room for a refund. A wait without a bound never
    /// gives up, so nothing calls it.
    fn refund<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
        &self,
        limiter: &L,
        key: &K,
        refunds: PendingRefunds<'_, S, impl Into<Hit<S::Cost>> + Copy>,
    ) -> impl Future<Output = ()> {
        refunds.refund_now(limiter, key);
        // `ready` is the smallest future there is.
        ready(())
    }
}

/// A bound of `within`, counted from its creation.
pub(super) struct TimeBound<'a, T, W> {
    timer: &'a T,
    within: Duration,
    watch: W,
}

impl<'a, T: Timer> TimeBound<'a, T, ()> {
    /// Creates a bound that this timer measures from now on.
    pub(super) fn new(timer: &'a T, within: Duration) -> TimeBound<'a, T, impl Fn() -> Option<Duration>> {
        TimeBound { timer, within, watch: timer.stopwatch() }
    }
}

impl<T: Timer, W: Fn() -> Option<Duration>> WaitBound for TimeBound<'_, T, W> {
    fn left(&self) -> Option<Duration> {
        // left = within - passed. A timer without a stopwatch reports no time as passed.
        Some(self.within.saturating_sub((self.watch)().unwrap_or_default()))
    }

    fn time_up(&self) -> impl Future<Output = ()> {
        self.timer.sleep(self.within)
    }

    async fn refund<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
        &self,
        limiter: &L,
        key: &K,
        mut refunds: PendingRefunds<'_, S, impl Into<Hit<S::Cost>> + Copy>,
    ) {
        // One refund at a time: its answer says whether the turn before it is the last one now.
        while let Some(refund) = refunds.next() {
            let refunded = limiter.refund(key, refund.hit, refund.receipt).await;
            refund.answered(&refunded);
        }
    }
}
