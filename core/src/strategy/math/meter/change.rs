//! A meter and the state that another limit has left: what drained before the change did so at its rate.

use super::{Level, Meter};
use crate::Timestamp;
use crate::divide::{divide_seldom, scale_up};

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
    #[cold]
    #[inline(never)]
    pub(crate) fn taken_over(&self, state: &Level, now: Timestamp) -> (Level, bool) {
        let (passed, drain) = (now.micros_since(state.at), state.pace.drain());
        let mut used = state.used;
        if let Some(drain) = drain {
            used = left_after(passed, used, drain);
        }
        let unit = state.pace.unit();
        if unit != self.unit {
            // Rounded up, so a change of units grants nothing and costs less than one of them.
            used = scale_up(used, self.unit, unit);
        }
        if drain.is_none() {
            used = left_after(passed, used, self.drain());
        }
        (Level { at: now.max(state.at), used, pace: self.pace() }, drain.is_some() && used > 0)
    }

    /// When a state at another pace is fresh: it keeps that until the next check.
    #[cold]
    #[inline(never)]
    pub(super) fn fresh_at_its_own_pace(&self, state: &Level) -> Timestamp {
        let (used, drain) = match state.pace.drain() {
            Some(drain) => (state.used, drain),
            None => (self.taken_over(state, state.at).0.used, self.drain()),
        };
        state.at.plus_micros(drains_in(used, drain))
    }
}

#[inline(never)]
fn left_after(passed: u64, used: u64, drain: u64) -> u64 {
    if passed < drains_in(used, drain) { used - passed * drain } else { 0 }
}

/// The time in which so much drains, rounded up; as long as there is if it never does.
#[inline(never)]
fn drains_in(used: u64, drain: u64) -> u64 {
    let (whole, rest) = divide_seldom(used, drain);
    if drain == 0 && used > 0 { u64::MAX } else { whole + u64::from(rest > 0) }
}
