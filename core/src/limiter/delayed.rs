//! An admission whose time has not come, given up when it is dropped before.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::target::WaitTarget;
use crate::storage::{Line, Returning, Ticket, Turn};
use crate::strategy::Taken;
use crate::{Key, Receipts, Strategy, Verdict};

/// An admission whose time has not come.
pub(super) struct Delayed<'a, S, L, K, W>
where
    S: Strategy,
    L: WaitTarget<S>,
    K: Key + ?Sized,
    W: Fn() -> Option<Duration>,
{
    limiter: &'a L,
    key: &'a K,
    cost: S::Cost,
    verdict: S::Verdict,
    place: Place,
    /// How long it waits, counted from when the watch was started.
    wait: Duration,
    watch: W,
}

/// A place of an admission until its time.
#[derive(Clone, Copy)]
enum Place {
    /// In a line, in which it moves up.
    Line(Ticket),
    /// By itself: its turn is none that others could leave at, or there is no line.
    Alone,
    /// It has left, or is about to be refunded.
    Left,
}

impl<'a, S, L, K, W> Delayed<'a, S, L, K, W>
where
    S: Strategy,
    L: WaitTarget<S>,
    K: Key + ?Sized,
    W: Fn() -> Option<Duration>,
{
    pub(super) fn enter(
        limiter: &'a L,
        key: &'a K,
        cost: S::Cost,
        verdict: S::Verdict,
        wait: Duration,
        watch: W,
    ) -> Self {
        let line = line_of(limiter).filter(|_| watch().is_some());
        let place = match (line, Turn::of(&verdict, cost)) {
            (Some(line), Some(turn)) => {
                Place::Line(line.enter(&key, &turn, &|visit| verdict.receipt().each(visit)))
            }
            _ => Place::Alone,
        };
        let mut delayed = Self { limiter, key, cost, verdict, place, wait, watch };
        if delayed.poll_sooner(&mut Context::from_waker(Waker::noop()))
            && let Place::Line(ticket) = place
        {
            // It has taken a free turn, and its own is free now.
            GivenUp { line: line.map(|line| (line, ticket.key)), own: None }.refund_now(limiter, key);
        }
        delayed
    }

    /// How long it waits from now on.
    pub(super) fn left(&self) -> Duration {
        self.wait.saturating_sub((self.watch)().unwrap_or_default())
    }

    /// Whether it has moved to a sooner turn.
    pub(super) fn poll_sooner(&mut self, context: &mut Context<'_>) -> bool {
        let Place::Line(ticket) = self.place else { return false };
        let sooner = line_of(self.limiter).map(|line| line.poll_sooner(ticket, context));
        let Some(Poll::Ready(sooner)) = sooner else { return false };
        self.wait = self.wait.saturating_sub(sooner);
        true
    }

    /// Leaves with its turn.
    pub(super) fn leave(&mut self) -> S::Verdict {
        let mut verdict = self.verdict.clone();
        if let (Place::Line(ticket), Some(line)) = (self.place, line_of(self.limiter)) {
            line.depart(ticket, &mut |next| verdict.each_receipt(&mut |receipt| *receipt = next()));
        }
        self.place = Place::Left;
        verdict
    }

    /// Gives its turn up, so that others move up. Returns what is to be refunded.
    pub(super) fn give_up(&mut self) -> GivenUp<'a, S> {
        let (line, own) = match (self.place, line_of(self.limiter)) {
            (Place::Line(ticket), Some(line)) => {
                line.give_up(ticket, (self.watch)().is_some_and(|passed| passed > self.wait));
                (Some((line, ticket.key)), None)
            }
            (Place::Alone, _) => (None, Some((self.cost, self.verdict.receipt()))),
            (Place::Line(_) | Place::Left, _) => (None, None),
        };
        self.place = Place::Left;
        GivenUp { line, own }
    }
}

fn line_of<S: Strategy, L: WaitTarget<S>>(limiter: &L) -> Option<&dyn Line> {
    limiter.wait_queue()?.line()
}

impl<S, L, K, W> Drop for Delayed<'_, S, L, K, W>
where
    S: Strategy,
    L: WaitTarget<S>,
    K: Key + ?Sized,
    W: Fn() -> Option<Duration>,
{
    fn drop(&mut self) {
        self.give_up().refund_now(self.limiter, self.key);
    }
}

/// The refunds due once a turn was given up: the turns at the end of a line, or that of one by itself.
pub(super) struct GivenUp<'a, S: Strategy> {
    line: Option<(&'a dyn Line, u64)>,
    own: Option<(S::Cost, Taken<S>)>,
}

impl<'a, S: Strategy> GivenUp<'a, S> {
    pub(super) fn next(&mut self) -> Option<Refund<'a, S>> {
        if let Some((cost, receipt)) = self.own.take() {
            return Some(Refund { returning: None, cost, receipt });
        }
        let (line, key) = self.line?;
        let (returning, receipt) = Returning::begin(line, key)?;
        Some(Refund { cost: returning.cost(), returning: Some(returning), receipt })
    }

    /// Refunds it as far as the storage can do that at once. A storage that fails keeps the charge.
    pub(super) fn refund_now<L: WaitTarget<S>, K: Key + ?Sized>(mut self, limiter: &L, key: &K) {
        while let Some(refund) = self.next() {
            if limiter.is_local() {
                let mut refunded = limiter.refund(key, refund.cost, refund.receipt);
                // What is local answers as soon as it is polled.
                let polled = Pin::new(&mut refunded).poll(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(refunded) = polled {
                    refund.answered(&refunded);
                }
            } else if let Some(returning) = refund.returning {
                returning.keep();
            }
        }
    }
}

/// A refund that is to be made.
pub(super) struct Refund<'a, S: Strategy> {
    returning: Option<Returning<'a>>,
    pub(super) cost: S::Cost,
    pub(super) receipt: Taken<S>,
}

impl<S: Strategy> Refund<'_, S> {
    pub(super) fn answered<E>(self, refunded: &Result<S::Verdict, E>) {
        if let Some(returning) = self.returning {
            returning.answered(refunded);
        }
    }
}
