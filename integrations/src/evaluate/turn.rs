//! The turn of a request or message that was admitted with a delay, given up when it goes before.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use traffik_core::storage::{BoxFuture, DelayLine, DelayTurn, Reply, ReturningTurn, Ticket, WaitQueue};
use traffik_core::{ErasedKey, Hit, Outcome, Receipts, Strategy, Verdict};

use crate::middleware::background::Spawn;
use crate::throttle::{ReceiptOf, Watch};

/// The account that a turn was charged to.
pub(crate) trait TurnAccount<S: Strategy>: Send + Sync {
    fn wait_queue(&self) -> Option<&dyn WaitQueue>;

    /// Shows its key. Hits of different classes stand in lines of their own for it.
    fn show_key(&self, show: &mut dyn FnMut(&dyn ErasedKey));

    fn refund(&self, hit: Hit<S::Cost>, receipt: ReceiptOf<S>) -> Reply<S::Verdict>;

    fn spawner(&self) -> Option<&Arc<Spawn>>;
}

/// A turn that has not come. Dropped before, it is given up: those behind it in this process move up, and the
/// last turn goes back to the storage.
pub(crate) struct DelayedTurn<S: Strategy> {
    account: Arc<dyn TurnAccount<S>>,
    /// `None` for a turn by itself: it is none that others could leave at, or there is no line.
    ticket: Option<Ticket>,
    hit: Hit<S::Cost>,
    /// What was charged for a turn by itself; `None` once it has come or is given up.
    charged: Option<ReceiptOf<S>>,
    /// How long it waits, counted from when the watch was started.
    wait: Duration,
    watch: Watch,
}

impl<S: Strategy> DelayedTurn<S> {
    /// Enters the line of an account with an admission; `None` if it has no delay.
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
            // It has taken a free turn, and its own is free now.
            delayed.spawn(delayed.surplus());
        }
        Some(delayed)
    }

    /// How long it waits from now on.
    pub(crate) fn left(&self) -> Duration {
        self.wait.saturating_sub((self.watch)())
    }

    /// Waits until it moves to a sooner turn.
    pub(crate) fn poll_sooner(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut moved = Poll::Pending;
        while let Some(Poll::Ready(sooner)) =
            self.line().map(|(line, ticket)| line.poll_sooner(ticket, context))
        {
            self.wait = self.wait.saturating_sub(sooner);
            moved = Poll::Ready(());
        }
        moved
    }

    /// Leaves with its turn, which is noted in the admission.
    pub(crate) fn leave(mut self, admitted: &mut S::Verdict) {
        if let Some((line, ticket)) = self.line() {
            line.depart(ticket, &mut |next| admitted.for_each_receipt_mut(&mut |receipt| *receipt = next()));
        }
        self.charged = None;
    }

    /// Gives it up. Returns what is to be awaited until the storage has it back, if it is not there at once.
    pub(crate) fn give_up(mut self) -> Option<BoxFuture<'static, ()>> {
        self.begin_refund()
    }

    fn line(&self) -> Option<(&dyn DelayLine, Ticket)> {
        self.charged?;
        Some((self.account.wait_queue()?.line()?, self.ticket?))
    }

    fn begin_refund(&mut self) -> Option<BoxFuture<'static, ()>> {
        if let Some((line, ticket)) = self.line() {
            line.give_up(ticket, (self.watch)() > self.wait);
            self.charged = None;
            return self.surplus();
        }
        match self.account.refund(self.hit, self.charged.take()?) {
            Reply::Ready(_) => None,
            pending => Some(Box::pin(async move { drop(pending.await) })),
        }
    }

    /// Has a refund made in the background; where there is none it is not made.
    fn spawn(&self, refund: Option<BoxFuture<'static, ()>>) {
        if let (Some(refund), Some(spawn)) = (refund, self.account.spawner()) {
            spawn(refund);
        }
    }

    /// Refunds the turns at the end of the line that are free, one after another.
    fn surplus(&self) -> Option<BoxFuture<'static, ()>> {
        let (account, key, hit) = (Arc::clone(&self.account), self.ticket?.key, self.hit);
        let mut refunds: BoxFuture<'static, ()> = Box::pin(async move {
            while let Some((returning, receipt)) = begin(&*account, key) {
                let hit = Hit { cost: returning.cost(), ..hit };
                let refunded = account.refund(hit, receipt).await;
                returning.answered(&refunded);
            }
        });
        // What is local answers as soon as it is polled.
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

/// Takes the last turn of a key out of its line, if it is free.
fn begin<S: Strategy>(account: &dyn TurnAccount<S>, key: u64) -> Option<(ReturningTurn<'_>, ReceiptOf<S>)> {
    ReturningTurn::begin(account.wait_queue()?.line()?, key)
}
