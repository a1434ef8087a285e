//! The lines of hits that were admitted with a delay, one for each key.

use core::task::{Context, Poll};
use core::time::Duration;

use super::Ticket;
use crate::{Cost, ErasedKey, Origin, Outcome, Receipt, Receipts, Timestamp, Verdict};

/// A turn: the time at which a storage lets a hit leave, and for what cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayTurn {
    /// The time at which it was given.
    pub given: Timestamp,
    /// The time at which it comes.
    pub at: Timestamp,
    /// The time at which nothing is in use any more, if nobody comes after it.
    pub end: Timestamp,
    /// The cost that may leave then.
    pub cost: u32,
}

/// A line of turns for each key: when one is given up, those behind it in this process move up.
///
/// A turn is held by one hit at a time, so that what leaves is spaced as the storage has told it. A hit moves
/// to the first free turn that is as large as its own cost. What is free in the end is the last turn, which
/// goes back to the storage.
///
/// * A turn MUST be held by one hit at most, and by none once it has been given back.
/// * A hit that moves MUST be woken.
/// * Nothing MUST be kept of a key for which nobody waits and nothing is on its way back.
pub trait DelayLine: Send + Sync {
    /// Enters the line with a turn that a storage gave. `receipts` lists what was charged for it.
    fn enter(
        &self,
        key: &dyn ErasedKey,
        turn: &DelayTurn,
        receipts: &dyn Fn(&mut dyn FnMut(Receipt)),
    ) -> Ticket;

    /// Waits until the holder of a ticket moves up. Answers by how much sooner its turn is than it was at the
    /// last answer.
    fn poll_sooner(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Duration>;

    /// Departs with the turn that is held now. Calls `used` with what gives one receipt of it after another.
    fn depart(&self, ticket: Ticket, used: &mut dyn FnMut(&mut dyn FnMut() -> Receipt));

    /// Gives up the turn that is held now; one that `is_over` helps nobody else.
    fn give_up(&self, ticket: Ticket, is_over: bool);

    /// Takes the last turn of a key out of the line if it is free, so that it can be refunded: one at a time.
    /// Calls `refund` with what gives one receipt of it after another.
    fn surplus(&self, key: u64, refund: &mut dyn FnMut(&mut dyn FnMut() -> Receipt)) -> Option<DelayTurn>;

    /// Ends what [`surplus`](Self::surplus) began. A turn that `is_kept` was not the last one of the store,
    /// so it is free for the next hit of this process.
    fn settle(&self, key: u64, is_kept: bool);
}

impl DelayTurn {
    /// The turn of an admission. `None` if it has no delay, or is none that others could leave at: it comes
    /// from elsewhere than the store, or limits of a pair were asked for different costs.
    pub fn of<V: Verdict, C: Cost>(admitted: &V, cost: C) -> Option<Self> {
        let Outcome::Allow { after } = admitted.outcome() else { return None };
        if after.is_zero() || C::uniform(cost.largest()) != cost || admitted.origin() != Origin::Store {
            return None;
        }
        let mut given = Timestamp::EPOCH;
        admitted.receipt().for_each(&mut |receipt| given = given.max(receipt.at));
        Some(Self { given, at: given + after, end: end(admitted), cost: cost.largest() })
    }

    /// Whether a refund took this turn back, as its answer shows: less is in use than with it.
    ///
    /// Of several limits, parts may have been refunded, so that the turn is no longer complete in any case.
    fn is_taken_back<V: Verdict>(&self, refunded: &V) -> bool {
        self.end == Timestamp::MAX || end(refunded) < self.end
    }
}

/// The time at which nothing is in use any more; never, for several limits.
fn end<V: Verdict>(verdict: &V) -> Timestamp {
    let mut end = Timestamp::MAX;
    if V::Receipt::COUNT == 1 {
        verdict.for_each(&mut |decision| end = decision.receipt().at + decision.reset_after());
    }
    end
}

/// A turn on its way back to the storage, out of its line until that is settled.
///
/// Dropped without an answer it counts as taken back, for nobody knows what the storage made of it.
#[expect(missing_debug_implementations, reason = "machinery, which nobody names")]
#[must_use = "a turn that is not refunded is lost"]
pub struct ReturningTurn<'a> {
    line: &'a dyn DelayLine,
    key: u64,
    turn: DelayTurn,
    /// Whether the storage kept it; `None` without an answer.
    is_kept: Option<bool>,
}

impl<'a> ReturningTurn<'a> {
    /// Takes the last turn of a key out of its line, if it is free, with its receipt.
    pub fn begin<R: Receipts>(line: &'a dyn DelayLine, key: u64) -> Option<(Self, R)> {
        let mut receipt = R::default();
        let turn = line.surplus(key, &mut |next| receipt = R::gather(next))?;
        Some((Self { line, key, turn, is_kept: None }, receipt))
    }

    /// The cost that is to be refunded.
    #[must_use]
    pub fn cost<C: Cost>(&self) -> C {
        C::uniform(self.turn.cost)
    }

    /// Settles it by the answer to the refund. One that failed may have been made.
    pub fn answered<V: Verdict, E>(mut self, refunded: &Result<V, E>) {
        self.is_kept = Some(refunded.as_ref().is_ok_and(|refunded| !self.turn.is_taken_back(refunded)));
    }

    /// Leaves it to those in line, since nobody can wait for the storage.
    pub fn keep(mut self) {
        self.is_kept = Some(true);
    }
}

impl Drop for ReturningTurn<'_> {
    fn drop(&mut self) {
        self.line.settle(self.key, self.is_kept.unwrap_or(false));
        // Nobody goes on with the turns in front of it.
        while self.is_kept.is_none() && self.line.surplus(self.key, &mut |_| {}).is_some() {
            self.line.settle(self.key, true);
        }
    }
}
