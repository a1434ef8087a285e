//! An admission whose time has not come, given up when it is dropped before.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::target::WaitTarget;
use crate::storage::{DelayLine, Returning, Ticket, Turn};
use crate::strategy::ReceiptOf;
use crate::{Hit, Key, Receipts, Strategy, Verdict};

/// An admission whose time has not come.
pub(super) struct Delayed<'a, S, L, K, H, W>
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
    place: Place,
    /// How long it waits, counted from when the watch was started.
    wait: Duration,
    watch: W,
}

/// A place of an admission until its time.
#[derive(Clone, Copy)]
enum Place {
    /// In a line, in which it moves up.
    DelayLine(Ticket),
    /// By itself: its turn is none that others could leave at, or there is no line.
    Alone,
    /// It has left, or is about to be refunded.
    Left,
}

impl<'a, S, L, K, H, W> Delayed<'a, S, L, K, H, W>
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
        let place = match (line, Turn::of(&verdict, hit.into().cost)) {
            (Some(line), Some(turn)) => {
                let key = hit.into().class.waiting_for(key);
                Place::DelayLine(line.enter(&key, &turn, &|visit| verdict.receipt().for_each(visit)))
            }
            _ => Place::Alone,
        };
        let mut delayed = Self { limiter, key, hit, verdict, place, wait, watch };
        if delayed.poll_sooner(&mut Context::from_waker(Waker::noop()))
            && let (Place::DelayLine(ticket), Some(line)) = (place, line)
        {
            // It has taken a free turn, and its own is free now.
            GivenUp::InLine(line, ticket.key, hit).refund_now(limiter, key);
        }
        delayed
    }

    /// How long it waits from now on.
    pub(super) fn left(&self) -> Duration {
        self.wait.saturating_sub((self.watch)().unwrap_or_default())
    }

    /// Whether it has moved to a sooner turn.
    pub(super) fn poll_sooner(&mut self, context: &mut Context<'_>) -> bool {
        let Place::DelayLine(ticket) = self.place else { return false };
        let sooner = line_of(self.limiter).map(|line| line.poll_sooner(ticket, context));
        let Some(Poll::Ready(sooner)) = sooner else { return false };
        self.wait = self.wait.saturating_sub(sooner);
        true
    }

    /// Leaves with its turn.
    pub(super) fn leave(&mut self) -> S::Verdict {
        let mut verdict = self.verdict.clone();
        if let (Place::DelayLine(ticket), Some(line)) = (self.place, line_of(self.limiter)) {
            line.depart(ticket, &mut |next| verdict.for_each_receipt_mut(&mut |receipt| *receipt = next()));
        }
        self.place = Place::Left;
        verdict
    }

    /// Gives its turn up, so that others move up. Returns what is to be refunded.
    pub(super) fn give_up(&mut self) -> GivenUp<'a, S, H> {
        let given_up = match (self.place, line_of(self.limiter)) {
            (Place::DelayLine(ticket), Some(line)) => {
                line.give_up(ticket, (self.watch)().is_some_and(|passed| passed > self.wait));
                GivenUp::InLine(line, ticket.key, self.hit)
            }
            (Place::Alone, _) => GivenUp::Alone(self.hit, self.verdict.receipt()),
            (Place::DelayLine(_) | Place::Left, _) => GivenUp::Nothing,
        };
        self.place = Place::Left;
        given_up
    }
}

fn line_of<S: Strategy, L: WaitTarget<S>>(limiter: &L) -> Option<&dyn DelayLine> {
    limiter.wait_queue()?.line()
}

impl<S, L, K, H, W> Drop for Delayed<'_, S, L, K, H, W>
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
pub(super) enum GivenUp<'a, S: Strategy, H> {
    /// Refunds of the turns at the end of a line. All who stood in it are of the class of this hit.
    InLine(&'a dyn DelayLine, u64, H),
    /// The refund of a turn by itself.
    Alone(H, ReceiptOf<S>),
    Nothing,
}

impl<'a, S: Strategy, H: Into<Hit<S::Cost>> + Copy> GivenUp<'a, S, H> {
    pub(super) fn next(&mut self) -> Option<Refund<'a, S>> {
        match *self {
            Self::InLine(line, key, hit) => {
                let (returning, receipt) = Returning::begin(line, key)?;
                let hit = Hit { cost: returning.cost(), ..hit.into() };
                Some(Refund { returning: Some(returning), hit, receipt })
            }
            Self::Alone(hit, receipt) => {
                *self = Self::Nothing;
                Some(Refund { returning: None, hit: hit.into(), receipt })
            }
            Self::Nothing => None,
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
    returning: Option<Returning<'a>>,
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
