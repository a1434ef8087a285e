//! An admission with a delay, which gives up its turn when it is dropped early.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::target::WaitTarget;
use crate::storage::{DelayLine, DelayTurn, ReturningTurn, Ticket};
use crate::strategy::ReceiptOf;
use crate::{Hit, Key, Receipts, Strategy, Verdict};

/// An admission that may proceed only after a delay. Dropping it gives up its turn.
pub(super) struct DelayedAdmission<'a, S, L, K, H, W>
where
    S: Strategy,
    L: WaitTarget<S>,
    K: Key + ?Sized,
    H: Into<Hit<S::Cost>> + Copy,
    W: Fn() -> Option<Duration>,
{
    limiter: &'a L,
    key: &'a K,
    hit: H,
    verdict: S::Verdict,
    position: LinePosition,
    /// The delay, counted from the start of the watch.
    wait: Duration,
    watch: W,
}

/// The position of a delayed admission.
#[derive(Clone, Copy)]
enum LinePosition {
    /// In a line of the process, in which it can move up.
    InLine(Ticket),
    /// Outside of any line: there is none, or its turn fits no other hit.
    OutsideLine,
    /// Out of the line: the admission has proceeded, or its turn is about to be refunded.
    Departed,
}

impl<'a, S, L, K, H, W> DelayedAdmission<'a, S, L, K, H, W>
where
    S: Strategy,
    L: WaitTarget<S>,
    K: Key + ?Sized,
    H: Into<Hit<S::Cost>> + Copy,
    W: Fn() -> Option<Duration>,
{
    /// Enters the line, if there is one, and takes a free turn that is sooner, if there is one.
    pub(super) fn enter(
        limiter: &'a L,
        key: &'a K,
        hit: H,
        verdict: S::Verdict,
        wait: Duration,
        watch: W,
    ) -> Self {
        // A timer without a stopwatch cannot measure the way to a sooner turn, so the admission stays
        // outside.
        let line = line_of(limiter).filter(|_| watch().is_some());
        let position = match (line, DelayTurn::of(&verdict, hit.into().cost)) {
            (Some(line), Some(turn)) => {
                let key = hit.into().class.waiting_for(key);
                LinePosition::InLine(line.enter(&key, &turn, &|visit| verdict.receipt().for_each(visit)))
            }
            _ => LinePosition::OutsideLine,
        };
        let mut delayed = Self { limiter, key, hit, verdict, position, wait, watch };
        if delayed.poll_sooner(&mut Context::from_waker(Waker::noop()))
            && let (LinePosition::InLine(ticket), Some(line)) = (position, line)
        {
            // The admission took a free turn that is sooner, so the turn that it was given is refunded.
            PendingRefunds::InLine(line, ticket.key, hit).refund_now(limiter, key);
        }
        delayed
    }

    /// Returns how long the admission still has to wait: `wait - passed`.
    pub(super) fn left(&self) -> Duration {
        self.wait.saturating_sub((self.watch)().unwrap_or_default())
    }

    /// Reports whether the admission has moved up to a sooner turn, and shortens its wait if so.
    pub(super) fn poll_sooner(&mut self, context: &mut Context<'_>) -> bool {
        let LinePosition::InLine(ticket) = self.position else { return false };
        let sooner = line_of(self.limiter).map(|line| line.poll_sooner(ticket, context));
        let Some(Poll::Ready(sooner)) = sooner else { return false };
        self.wait = self.wait.saturating_sub(sooner);
        true
    }

    /// Leaves the line to proceed. Returns the verdict, with the receipts of the turn that it has now.
    pub(super) fn leave(&mut self) -> S::Verdict {
        let mut verdict = self.verdict.clone();
        if let (LinePosition::InLine(ticket), Some(line)) = (self.position, line_of(self.limiter)) {
            // The turn may be that of another hit by now, and a refund has to name that one.
            line.depart(ticket, &mut |next| verdict.for_each_receipt_mut(&mut |receipt| *receipt = next()));
        }
        self.position = LinePosition::Departed;
        verdict
    }

    /// Gives up the turn, so that others move up. Returns the refunds that are due.
    pub(super) fn give_up(&mut self) -> PendingRefunds<'a, S, H> {
        // Invariant: the position becomes `Departed` at once, so a turn is given up only once.
        let refunds = match (self.position, line_of(self.limiter)) {
            (LinePosition::InLine(ticket), Some(line)) => {
                line.give_up(ticket, (self.watch)().is_some_and(|passed| passed > self.wait));
                PendingRefunds::InLine(line, ticket.key, self.hit)
            }
            (LinePosition::OutsideLine, _) => PendingRefunds::Single(self.hit, self.verdict.receipt()),
            (LinePosition::InLine(_) | LinePosition::Departed, _) => PendingRefunds::Empty,
        };
        self.position = LinePosition::Departed;
        refunds
    }
}

/// Returns the line of delayed admissions, if the storage has one.
fn line_of<S: Strategy, L: WaitTarget<S>>(limiter: &L) -> Option<&dyn DelayLine> {
    limiter.wait_queue()?.line()
}

impl<S, L, K, H, W> Drop for DelayedAdmission<'_, S, L, K, H, W>
where
    S: Strategy,
    L: WaitTarget<S>,
    K: Key + ?Sized,
    H: Into<Hit<S::Cost>> + Copy,
    W: Fn() -> Option<Duration>,
{
    fn drop(&mut self) {
        // A turn that has left, or was given up before, has nothing to refund.
        self.give_up().refund_now(self.limiter, self.key);
    }
}

/// The refunds that are due after a turn was given up.
pub(super) enum PendingRefunds<'a, S: Strategy, H> {
    /// Refunds of the turns at the end of a line. All hits in it are of the class of this one.
    InLine(&'a dyn DelayLine, u64, H),
    /// The refund of a turn outside of any line.
    Single(H, ReceiptOf<S>),
    /// Nothing to refund.
    Empty,
}

impl<'a, S: Strategy, H: Into<Hit<S::Cost>> + Copy> PendingRefunds<'a, S, H> {
    /// Returns the next refund, or `None` after the last one.
    pub(super) fn next(&mut self) -> Option<Refund<'a, S>> {
        match *self {
            Self::InLine(line, key, hit) => {
                let (returning, receipt) = ReturningTurn::begin(line, key)?;
                let hit = Hit { cost: returning.cost(), ..hit.into() };
                Some(Refund { returning: Some(returning), hit, receipt })
            }
            Self::Single(hit, receipt) => {
                *self = Self::Empty;
                Some(Refund { returning: None, hit: hit.into(), receipt })
            }
            Self::Empty => None,
        }
    }

    /// Makes the refunds that need no waiting, which are those of a local storage. A failed refund leaves the
    /// charge in place.
    pub(super) fn refund_now<L: WaitTarget<S>, K: Key + ?Sized>(mut self, limiter: &L, key: &K) {
        while let Some(refund) = self.next() {
            if limiter.is_local() {
                let mut refunded = limiter.refund(key, refund.hit, refund.receipt);
                // A local storage answers when its future is first polled.
                let polled = Pin::new(&mut refunded).poll(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(refunded) = polled {
                    refund.answered(&refunded);
                }
            } else if let Some(returning) = refund.returning {
                // A drop cannot await a remote refund: the turn stays in the line for the next hit.
                returning.keep();
            }
        }
    }
}

/// A refund that is due.
pub(super) struct Refund<'a, S: Strategy> {
    returning: Option<ReturningTurn<'a>>,
    pub(super) hit: Hit<S::Cost>,
    pub(super) receipt: ReceiptOf<S>,
}

impl<S: Strategy> Refund<'_, S> {
    /// Settles the turn by the answer of the storage.
    pub(super) fn answered<E>(self, refunded: &Result<S::Verdict, E>) {
        if let Some(returning) = self.returning {
            returning.answered(refunded);
        }
    }
}
