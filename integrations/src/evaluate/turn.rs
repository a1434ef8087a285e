//! The turn of a request or message that was admitted with a delay.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use traffik_core::storage::{BoxFuture, DelayLine, DelayTurn, Reply, ReturningTurn, Ticket, WaitQueue};
use traffik_core::{ErasedKey, Hit, Outcome, Receipts, Strategy, Verdict};

use crate::middleware::background::SpawnFn;
use crate::throttle::{VerdictReceipt, Watch};

/// The client's account with a throttle, to which a turn was charged.
pub(crate) trait TurnAccount<S: Strategy>: Send + Sync {
    fn wait_queue(&self) -> Option<&dyn WaitQueue>;

    /// Calls `show` with the key. Hits of different classes wait in separate queues.
    fn show_key(&self, show: &mut dyn FnMut(&dyn ErasedKey));

    fn refund(&self, hit: Hit<S::Cost>, receipt: VerdictReceipt<S>) -> Reply<S::Verdict>;

    fn spawner(&self) -> Option<&Arc<SpawnFn>>;
}

/// A turn that has not come yet. Dropping it gives it up: waiters behind it in this process move up, and the
/// last turn goes back to the storage.
pub(crate) struct DelayedTurn<S: Strategy> {
    account: Arc<dyn TurnAccount<S>>,
    /// The place in the queue; `None` if there is no queue, or no other waiter could take the turn.
    ticket: Option<Ticket>,
    hit: Hit<S::Cost>,
    /// The receipt of the charge; `None` once the turn has come or is given up.
    charged: Option<VerdictReceipt<S>>,
    /// The wait, counted from the start of `watch`.
    wait: Duration,
    watch: Watch,
}

impl<S: Strategy> DelayedTurn<S> {
    /// Enters the queue of an account with an admission. Returns `None` if the admission has no delay.
    pub(crate) fn enter(
        account: Arc<dyn TurnAccount<S>>,
        hit: Hit<S::Cost>,
        admitted: &S::Verdict,
        watch: Watch,
    ) -> Option<Self> {
        let Outcome::Allow { after: wait } = admitted.outcome() else { return None };
        if wait.is_zero() {
            return None;
        }
        let line = account.wait_queue().and_then(|queue| queue.line());
        let mut ticket = None;
        if let (Some(line), Some(turn)) = (line, DelayTurn::of(admitted, hit.cost)) {
            let receipts = |visit: &mut dyn FnMut(_)| admitted.receipt().for_each(visit);
            account.show_key(&mut |key| {
                ticket = Some(line.enter(&hit.class.waiting_for(key), &turn, &receipts));
            });
        }
        let mut delayed = Self { account, ticket, hit, charged: Some(admitted.receipt()), wait, watch };
        if delayed.poll_sooner(&mut Context::from_waker(Waker::noop())).is_ready() {
            // It took a turn that was given up, so the turn at the end of the queue is free now.
            delayed.spawn(delayed.surplus());
        }
        Some(delayed)
    }

    /// Returns the time left until the turn.
    pub(crate) fn left(&self) -> Duration {
        self.wait.saturating_sub((self.watch)())
    }

    /// Polls for a sooner turn.
    pub(crate) fn poll_sooner(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut moved = Poll::Pending;
        // wait := wait - sooner, for each turn that it moves ahead. Polled until pending, so that the waker
        // is set.
        while let Some(Poll::Ready(sooner)) =
            self.line().map(|(line, ticket)| line.poll_sooner(ticket, context))
        {
            self.wait = self.wait.saturating_sub(sooner);
            moved = Poll::Ready(());
        }
        moved
    }

    /// Leaves the queue, and writes the receipts of the turn into the admission.
    pub(crate) fn leave(mut self, admitted: &mut S::Verdict) {
        if let Some((line, ticket)) = self.line() {
            line.depart(ticket, &mut |next| admitted.for_each_receipt_mut(&mut |receipt| *receipt = next()));
        }
        // From here `drop` refunds nothing: the charge belongs to the request.
        self.charged = None;
    }

    /// Gives the turn up. Returns the future of the refund if the storage did not answer at once.
    pub(crate) fn give_up(mut self) -> Option<BoxFuture<'static, ()>> {
        self.begin_refund()
    }

    /// Returns the queue and the place in it, as long as the turn is held.
    fn line(&self) -> Option<(&dyn DelayLine, Ticket)> {
        self.charged?;
        Some((self.account.wait_queue()?.line()?, self.ticket?))
    }

    /// Gives the turn up once, and starts the refund.
    fn begin_refund(&mut self) -> Option<BoxFuture<'static, ()>> {
        if let Some((line, ticket)) = self.line() {
            // A turn whose time has passed cannot be passed on to others.
            line.give_up(ticket, (self.watch)() > self.wait);
            self.charged = None;
            return self.surplus();
        }
        match self.account.refund(self.hit, self.charged.take()?) {
            Reply::Ready(_) => None,
            pending => Some(Box::pin(async move { drop(pending.await) })),
        }
    }

    /// Runs a refund in the background; without a spawner the refund is dropped.
    fn spawn(&self, refund: Option<BoxFuture<'static, ()>>) {
        if let (Some(refund), Some(spawn)) = (refund, self.account.spawner()) {
            spawn(refund);
        }
    }

    /// Refunds the free turns at the end of the queue, one after another.
    fn surplus(&self) -> Option<BoxFuture<'static, ()>> {
        let (account, key, hit) = (Arc::clone(&self.account), self.ticket?.key, self.hit);
        let mut refunds: BoxFuture<'static, ()> = Box::pin(async move {
            while let Some((returning, receipt)) = begin(&*account, key) {
                let hit = Hit { cost: returning.cost(), ..hit };
                let refunded = account.refund(hit, receipt).await;
                returning.answered(&refunded);
            }
        });
        // A local storage answers at the first poll, so nothing is left to spawn.
        let poll = refunds.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        poll.is_pending().then_some(refunds)
    }
}

impl<S: Strategy> Drop for DelayedTurn<S> {
    fn drop(&mut self) {
        let refund = self.begin_refund();
        self.spawn(refund);
    }
}

/// Takes the last turn of a key out of its queue, if it is free.
fn begin<S: Strategy>(
    account: &dyn TurnAccount<S>,
    key: u64,
) -> Option<(ReturningTurn<'_>, VerdictReceipt<S>)> {
    ReturningTurn::begin(account.wait_queue()?.line()?, key)
}
