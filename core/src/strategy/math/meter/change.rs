//! States that another limit has left: what drained before the change did so at the old rate.

use super::{Level, Meter};
use crate::Timestamp;
use crate::divide::{divide_up, product, scale_up};

impl Meter {
    /// Returns the time of decision, and the units in use then.
    #[inline]
    pub(crate) fn level(&self, state: &Level, now: Timestamp) -> (Timestamp, u64) {
        let (at, used, _) = self.present(state, now);
        (at, used)
    }

    /// Returns the same, and whether this ends the pace of another limit.
    ///
    /// If it does, the level MUST be written, or the drain from now on would count at the other's pace.
    #[inline]
    pub(super) fn present(&self, state: &Level, now: Timestamp) -> (Timestamp, u64, bool) {
        if state.pace == self.pace() {
            let (at, used) = self.drained(*state, now);
            (at, used, false)
        } else if state.used == 0 {
            // An empty level is at any pace.
            (now.max(state.at), 0, false)
        } else {
            let (own, is_changed) = self.taken_over(state, now);
            (own.at, own.used, is_changed)
        }
    }

    /// Converts a state in use to this meter's pace, at the later of both times, and reports whether this
    /// ends the pace of another limit.
    #[inline(always)]
    pub(crate) fn taken_over(&self, state: &Level, now: Timestamp) -> (Level, bool) {
        let used = self.converted(state, now);
        let level = Level { at: now.max(state.at), used, pace: self.pace() };
        (level, used > 0 && state.pace.drain().is_some())
    }

    /// Returns the level of a state at another pace in units of this meter, at the later of both times.
    #[cold]
    #[inline(never)]
    fn converted(&self, state: &Level, now: Timestamp) -> u64 {
        let (passed, drain, unit) = (now.micros_since(state.at), state.pace.drain(), state.pace.unit());
        // First used − passed · drain at the old rate, then · new unit / old unit.
        let mut used = left_after(passed, state.used, drain.unwrap_or(0));
        if unit != self.unit {
            // Rounded up, so a change of units grants nothing and costs less than one unit.
            used = scale_up(used, self.unit, unit);
        }
        // A state that does not keep its drain drains at the rate of this meter.
        if drain.is_none() {
            used = left_after(passed, used, self.drain());
        }
        used
    }

    /// Returns the time at which a state at another pace is fresh. The state keeps that pace until the next
    /// check.
    #[cold]
    #[inline(never)]
    pub(super) fn fresh_at_its_own_pace(&self, state: &Level) -> Timestamp {
        let (used, drain) = match state.pace.drain() {
            Some(drain) => (state.used, drain),
            None => (self.converted(state, state.at), self.drain()),
        };
        let lasts = if drain == 0 && used > 0 { u64::MAX } else { divide_up(used, drain) };
        state.at.plus_micros(lasts)
    }
}

/// Returns `max(used − passed · drain, 0)`.
#[inline]
pub(super) fn left_after(passed: u64, used: u64, drain: u64) -> u64 {
    used.saturating_sub(product(passed, drain))
}
