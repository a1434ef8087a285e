//! The lines of hits that were admitted with a delay, one for each key.

use core::task::{Context, Poll};
use core::time::Duration;

use super::Ticket;
use crate::{Cost, ErasedKey, Origin, Outcome, Receipt, Receipts, Timestamp, Verdict};

/// The turn of a delayed admission: the time at which a storage lets a hit leave, and for what cost.
///
/// ```
/// use core::time::Duration;
/// use traffik::storage::DelayTurn;
/// use traffik::{Hit, LeakyBucketQueue, Strategy, Timestamp, rate};
///
/// let strategy = LeakyBucketQueue::new(rate!("1/s"));
/// let mut state = Default::default();
/// let _ = strategy.decide(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// let second = strategy.decide(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// let turn = DelayTurn::of(&second, 1).expect("it is delayed");
/// assert_eq!((turn.at, turn.cost), (Timestamp::EPOCH + Duration::from_secs(1), 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayTurn {
    /// The time at which the storage gave the turn.
    pub given: Timestamp,
    /// The time of the turn.
    pub at: Timestamp,
    /// The time at which nothing is in use any more, if nobody comes after it.
    pub end: Timestamp,
    /// The cost that may leave at that time.
    pub cost: u32,
}

/// The line of turns of each key: if one is given up, those behind it in this process move up.
///
/// One hit at a time holds a turn, so hits leave as spaced as the storage decided. A hit moves to the first
/// free turn that is as large as its own cost. The turn that is free in the end is the last one, which is
/// refunded. `FifoQueue` of the crate `traffik` implements it.
///
/// * A turn MUST be held by one hit at most, and by none once it has been given back.
/// * A hit that moves MUST be woken.
/// * A line MUST keep nothing of a key for which nobody waits and no turn is on its way back.
///
/// ```
/// use traffik::FifoQueue;
/// use traffik::storage::WaitQueue;
///
/// let queue = FifoQueue::new();
/// assert!(queue.line().is_some()); // a `DelayLine`
/// ```
pub trait DelayLine: Send + Sync {
    /// Enters the line with a turn that a storage gave. `receipts` visits the receipts of its charge.
    fn enter(
        &self,
        key: &dyn ErasedKey,
        turn: &DelayTurn,
        receipts: &dyn Fn(&mut dyn FnMut(Receipt)),
    ) -> Ticket;

    /// Waits until the holder of a ticket moves up.
    ///
    /// Returns by how much sooner its turn is than at the last time that this returned `Ready`.
    fn poll_sooner(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Duration>;

    /// Departs with the turn that the holder has now. Calls `used` with a function that returns one of its
    /// receipts after another.
    fn depart(&self, ticket: Ticket, used: &mut dyn FnMut(&mut dyn FnMut() -> Receipt));

    /// Gives up the turn that the holder has now. `is_over` says that the time of the turn has passed, so
    /// that it is of no use to others.
    fn give_up(&self, ticket: Ticket, is_over: bool);

    /// Takes the last turn of a key out of the line if it is free, for a refund: one at a time.
    ///
    /// Calls `refund` with a function that returns one of its receipts after another.
    fn surplus(&self, key: u64, refund: &mut dyn FnMut(&mut dyn FnMut() -> Receipt)) -> Option<DelayTurn>;

    /// Ends the refund that [`surplus`](Self::surplus) began.
    ///
    /// A turn that `is_kept` was not the last one of the store, so it is free for the next hit of this
    /// process.
    fn settle(&self, key: u64, is_kept: bool);
}

impl DelayTurn {
    /// Returns the turn of an admission.
    ///
    /// Returns `None` if it has no delay, or if no other hit could use the turn: the verdict did not come
    /// from the store, or the limits of a pair charge different costs.
    pub fn of<V: Verdict, C: Cost>(admitted: &V, cost: C) -> Option<Self> {
        let Outcome::Allow { after } = admitted.outcome() else { return None };
        if after.is_zero() || C::uniform(cost.largest()) != cost || admitted.origin() != Origin::Store {
            return None;
        }
        // given = the latest time of the receipts; at = given + after.
        let mut given = Timestamp::EPOCH;
        admitted.receipt().for_each(&mut |receipt| given = given.max(receipt.at));
        Some(Self { given, at: given + after, end: end(admitted), cost: cost.largest() })
    }

    /// Reports whether a refund took this turn back, by its answer: less is in use than with the turn.
    ///
    /// Of several limits the refund may have reached some, so the turn is incomplete in any case.
    fn is_taken_back<V: Verdict>(&self, refunded: &V) -> bool {
        self.end == Timestamp::MAX || end(refunded) < self.end
    }
}

/// Returns the time at which nothing is in use any more; `MAX` for several limits.
fn end<V: Verdict>(verdict: &V) -> Timestamp {
    let mut end = Timestamp::MAX;
    // end = at + reset_after: with one limit alone it shows which turn is the last one of the store.
    if V::Receipt::COUNT == 1 {
        verdict.for_each(&mut |decision| end = decision.receipt().at + decision.reset_after());
    }
    end
}

/// A turn on its way back to the storage, out of its line until the storage has answered.
///
/// A turn that is dropped without an answer counts as refunded, since nobody knows what the storage did.
///
/// ```
/// use traffik::storage::{ReturningTurn, WaitQueue};
/// use traffik::{FifoQueue, Receipt};
///
/// let queue = FifoQueue::new();
/// let line = queue.line().expect("it has one");
/// assert!(ReturningTurn::begin::<Receipt>(line, 7).is_none()); // no turn is free
/// ```
#[expect(missing_debug_implementations, reason = "machinery, which nobody names")]
#[must_use = "a turn that is not refunded is lost"]
pub struct ReturningTurn<'a> {
    line: &'a dyn DelayLine,
    key: u64,
    turn: DelayTurn,
    /// Whether the storage kept the turn; `None` without an answer.
    is_kept: Option<bool>,
}

impl<'a> ReturningTurn<'a> {
    /// Takes the last turn of a key out of its line if it is free. Returns the turn and its receipt.
    pub fn begin<R: Receipts>(line: &'a dyn DelayLine, key: u64) -> Option<(Self, R)> {
        let mut receipt = R::default();
        let turn = line.surplus(key, &mut |next| receipt = R::gather(next))?;
        Some((Self { line, key, turn, is_kept: None }, receipt))
    }

    /// Returns the cost to refund.
    #[must_use]
    pub fn cost<C: Cost>(&self) -> C {
        C::uniform(self.turn.cost)
    }

    /// Settles the turn by the answer to the refund. A refund that failed may have been made.
    pub fn answered<V: Verdict, E>(mut self, refunded: &Result<V, E>) {
        self.is_kept = Some(refunded.as_ref().is_ok_and(|refunded| !self.turn.is_taken_back(refunded)));
    }

    /// Leaves the turn to the line, where nobody can await the storage.
    pub fn keep(mut self) {
        self.is_kept = Some(true);
    }
}

impl Drop for ReturningTurn<'_> {
    fn drop(&mut self) {
        self.line.settle(self.key, self.is_kept.unwrap_or(false));
        // Invariant of the line: one turn of a key is on its way back at a time. Nobody refunds those in
        // front of this one after a drop, so they stay free for the next hits.
        while self.is_kept.is_none() && self.line.surplus(self.key, &mut |_| {}).is_some() {
            self.line.settle(self.key, true);
        }
    }
}
