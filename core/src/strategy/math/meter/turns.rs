//! A meter as a queue: its places, their turns, and changes of the rate.

use super::{Level, Meter};
use crate::decision::Kind;
use crate::divide::divide_up;
use crate::strategy::Hit;
use crate::{Decision, Receipt, Timestamp};

impl Meter {
    /// Decides on a hit that waits until the use before it has drained.
    #[inline(always)]
    pub(crate) fn decide_in_turn(&self, state: &mut Level, hit: &Hit, now: Timestamp) -> Decision {
        self.decide_after(state, hit, now, (self.largest_cost, 0), |wait, _| (Kind::Delay, wait))
    }

    /// Takes back the last place of a queue while its turn has not gone by; otherwise changes nothing.
    ///
    /// A place is the last one if as much is in use as right after it, less what drained since. This also
    /// holds once the places behind it have been taken back.
    pub(crate) fn refund_last(self, state: &mut Level, hit: &Hit, receipt: Receipt, now: Timestamp) {
        // Both levels at the state's own time, so that only places behind this one make a difference.
        let last = self.level(&Level::of(receipt), state.at);
        if state.pace != Level::of(receipt).pace || self.level(state, state.at) != last {
            return;
        }
        // The turn comes when the use before the place, `level − cost`, has drained.
        let cost = u64::from(hit.cost).saturating_mul(self.unit);
        let before = last.1.saturating_sub(cost);
        if now.micros_since(state.at) <= divide_up(before, self.drain()) {
            self.refund(state, hit, receipt, now);
        }
    }

    /// Returns the time by which the use has drained, rounded down; the level's own time if it never does.
    #[inline]
    pub(crate) fn drained_by(&self, level: &Level) -> Timestamp {
        match self.drain() {
            0 => level.at,
            _ => level.at.plus_micros(self.drain.divide(level.used).0),
        }
    }

    /// Returns a level with at least as much in use as drains until `end`: `max(used, (end − at) · drain)`.
    #[inline]
    pub(crate) fn raised(&self, level: Level, end: Timestamp) -> Level {
        let until_end = end.micros_since(level.at).saturating_mul(self.drain());
        if until_end > level.used { Level { used: until_end, ..level } } else { level }
    }

    /// Applies to `own` the change that turned `before` into `after`: `own + after − before`, at one time.
    ///
    /// The result is not empty while `after` is not. All three are in units of this meter.
    #[cold]
    pub(crate) fn with_change(&self, own: Level, before: Level, after: Level) -> Level {
        let then = |it: Level| self.drained(Level { at: it.at.min(after.at), ..it }, after.at).1;
        let used = then(own).saturating_add(after.used).saturating_sub(then(before));
        match used.max(after.used.min(1)) {
            0 => Level::default(),
            used => Level { used, ..after },
        }
    }
}
