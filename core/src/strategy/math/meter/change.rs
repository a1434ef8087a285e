//! A meter and the state that another limit has left: what drained before the change did so at its rate.

use super::{Level, Meter};
use crate::Timestamp;
use crate::divide::{divide_up, product, scale_up};

impl Meter {
    /// The time a state decides at, and how much is in use then, in units.
    #[inline]
    pub(crate) fn level(&self, state: &Level, now: Timestamp) -> (Timestamp, u64) {
        let (at, used, _) = self.present(state, now);
        (at, used)
    }

    /// The same, and whether the pace of another limit is ended by it: then the level MUST be kept, or what
    /// drains from now on would be counted at the other's.
    #[inline]
    pub(super) fn present(&self, state: &Level, now: Timestamp) -> (Timestamp, u64, bool) {
        if state.pace == self.pace() {
            let (at, used) = self.drained(*state, now);
            (at, used, false)
        } else if state.used == 0 {
            // What is not in use is at any pace.
            (now.max(state.at), 0, false)
        } else {
            let (own, is_changed) = self.taken_over(state, now);
            (own.at, own.used, is_changed)
        }
    }

    /// A state in use at this meter's pace, at the later of both times, and whether the pace of another limit
    /// is ended by it.
    #[inline(always)]
    pub(crate) fn taken_over(&self, state: &Level, now: Timestamp) -> (Level, bool) {
        let used = self.converted(state, now);
        let level = Level { at: now.max(state.at), used, pace: self.pace() };
        (level, used > 0 && state.pace.drain().is_some())
    }

    /// Converts the level of a state at another pace to units of this meter, at the later of both times.
    #[cold]
    #[inline(never)]
    fn converted(&self, state: &Level, now: Timestamp) -> u64 {
        let (passed, drain, unit) = (now.micros_since(state.at), state.pace.drain(), state.pace.unit());
        let mut used = left_after(passed, state.used, drain.unwrap_or(0));
        if unit != self.unit {
            // Rounded up, so a change of units grants nothing and costs less than one of them.
            used = scale_up(used, self.unit, unit);
        }
        if drain.is_none() {
            used = left_after(passed, used, self.drain());
        }
        used
    }

    /// When a state at another pace is fresh: it keeps that until the next check.
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

/// The part of `used` that is left after so many microseconds.
#[inline]
pub(super) fn left_after(passed: u64, used: u64, drain: u64) -> u64 {
    used.saturating_sub(product(passed, drain))
}
