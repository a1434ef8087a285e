//! An admission whose time has not come, given up when it is dropped before.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::target::WaitTarget;
use crate::storage::{DelayLine, DelayTurn, ReturningTurn, Ticket};
use crate::strategy::ReceiptOf;
use crate::{Hit, Key, Receipts, Strategy, Verdict};

/// An admission whose time has not come.
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
    /// How long it waits, counted from when the watch was started.
    wait: Duration,
    watch: W,
}

/// A position of an admission until its time.
#[derive(Clone, Copy)]
enum LinePosition {
    /// In a line, in which it moves up.
    InLine(Ticket),
    /// By itself: its turn is none that others could leave at, or there is no line.
    OutsideLine,
    /// It has left, or is about to be refunded.
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
    pub(super) fn enter(
        limiter: &'a L,
        key: &'a K,
        hit: H,
        verdict: S::Verdict,
        wait: Duration,
        watch: W,
    ) -> Self {
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
            // It has taken a free turn, and its own is free now.
            PendingRefunds::InLine(line, ticket.key, hit).refund_now(limiter, key);
        }
        delayed
    }

    /// How long it waits from now on.
    pub(super) fn left(&self) -> Duration {
        self.wait.saturating_sub((self.watch)().unwrap_or_default())
    }

    /// Whether it has moved to a sooner turn.
    pub(super) fn poll_sooner(&mut self, context: &mut Context<'_>) -> bool {
        let LinePosition::InLine(ticket) = self.position else { return false };
        let sooner = line_of(self.limiter).map(|line| line.poll_sooner(ticket, context));
        let Some(Poll::Ready(sooner)) = sooner else { return false };
        self.wait = self.wait.saturating_sub(sooner);
        true
    }

    /// Leaves with its turn.
    pub(super) fn leave(&mut self) -> S::Verdict {
        let mut verdict = self.verdict.clone();
        if let (LinePosition::InLine(ticket), Some(line)) = (self.position, line_of(self.limiter)) {
            line.depart(ticket, &mut |next| verdict.for_each_receipt_mut(&mut |receipt| *receipt = next()));
        }
        self.position = LinePosition::Departed;
        verdict
    }

    /// Gives its turn up, so that others move up. Returns what is to be refunded.
    pub(super) fn give_up(&mut self) -> PendingRefunds<'a, S, H> {
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
        self.give_up().refund_now(self.limiter, self.key);
    }
}

/// The refunds due once a turn was given up.
pub(super) enum PendingRefunds<'a, S: Strategy, H> {
    /// Refunds of the turns at the end of a line. All who stood in it are of the class of this hit.
    InLine(&'a dyn DelayLine, u64, H),
    /// The refund of a turn by itself.
    Single(H, ReceiptOf<S>),
    Empty,
}

impl<'a, S: Strategy, H: Into<Hit<S::Cost>> + Copy> PendingRefunds<'a, S, H> {
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

    /// Refunds it as far as the storage can do that at once. A storage that fails keeps the charge.
    pub(super) fn refund_now<L: WaitTarget<S>, K: Key + ?Sized>(mut self, limiter: &L, key: &K) {
        while let Some(refund) = self.next() {
            if limiter.is_local() {
                let mut refunded = limiter.refund(key, refund.hit, refund.receipt);
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
    returning: Option<ReturningTurn<'a>>,
    pub(super) hit: Hit<S::Cost>,
    pub(super) receipt: ReceiptOf<S>,
}

impl<S: Strategy> Refund<'_, S> {
    pub(super) fn answered<E>(self, refunded: &Result<S::Verdict, E>) {
        if let Some(returning) = self.returning {
            returning.answered(refunded);
        }
    }
}
