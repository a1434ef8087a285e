//! A meter as a queue: places, when their turns come, and what becomes of them when the rate changes.

use super::{Level, Meter};
use crate::decision::Kind;
use crate::strategy::Hit;
use crate::{Decision, Receipt, Timestamp};

impl Meter {
    /// Decides on a hit that has to wait until what is in use before it has drained.
    #[inline(always)]
    pub(crate) fn decide_in_turn(&self, state: &mut Level, hit: &Hit, now: Timestamp) -> Decision {
        self.decide_after(state, hit, now, (self.largest_cost, 0), |wait, _| (Kind::Delay, wait))
    }

    /// Takes back the last place of a queue while its turn has not gone by, and nothing else.
    ///
    /// A place is the last one if as much is in use as there was right after it, less what drained since:
    /// also if those behind it have been taken back.
    pub(crate) fn refund_last(self, state: &mut Level, hit: &Hit, receipt: Receipt, now: Timestamp) {
        let last = self.level(&Level::of(receipt), state.at);
        if state.unit != receipt.unit || (state.at, self.used(state)) != last {
            return;
        }
        let cost = u64::from(hit.cost).saturating_mul(self.unit);
        let before = self.used(state).saturating_sub(cost);
        if now.micros_since(state.at) <= before.div_ceil(self.drain().max(1)) {
            self.refund(state, hit, receipt, now);
        }
    }

    /// When what is in use has drained, rounded down to a microsecond; the state's own time if it never does.
    #[inline]
    pub(crate) fn drained_by(&self, state: &Level) -> Timestamp {
        match self.drain() {
            0 => state.at,
            _ => state.at.plus_micros(self.drain.divide(self.used(state)).0),
        }
    }

    /// The level with at least as much in use as drains until `end`.
    #[inline]
    pub(crate) fn raised(&self, state: Level, end: Timestamp) -> Level {
        let until_end = end.micros_since(state.at).saturating_mul(self.drain());
        if until_end > self.used(&state) {
            Level { used: until_end, unit: self.unit, ..state }
        } else {
            state
        }
    }

    /// The level that `state` becomes by what made `after` of `before`: what was added, taken or drained
    /// since. It is not empty while `after` is not.
    #[cold]
    pub(crate) fn alike(&self, state: Level, before: Level, after: Level) -> Level {
        let at = |it: Level| Level { at: it.at.min(after.at), ..it };
        let (_, own) = self.level(&at(state), after.at);
        let (_, held) = self.level(&at(before), after.at);
        let used = own.saturating_add(after.used).saturating_sub(held);
        self.state(after.at, used.max(after.used.min(1)))
    }
}
