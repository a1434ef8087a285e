//! Updates of a tag: when its state is fresh, by the present clock and limit.

use crate::storage::slot_tag::{SlotTag, passed, ticks};
use crate::strategy::math::rebase::SLACK;
use crate::{Class, Strategy, Timestamp};

/// The figures for the tag of a state that was just written.
pub(super) struct TagUpdate {
    pub(super) now: Timestamp,
    pub(super) pressure: u8,
}

impl TagUpdate {
    /// Returns the tag of a slot with this state. `latest` is the latest tick in which a state was written.
    #[inline]
    pub(super) fn tag<S: Strategy, H: SlotTag>(
        self,
        key: H,
        strategy: &S,
        state: &S::State,
        class: Class,
        latest: &mut u32,
    ) -> H {
        let tick = passed(self.now);
        let mut fresh = strategy.expires_at(state, class);
        // An earlier tick is that of a clock that was set back: its stamps may lie too far ahead to trust.
        if tick < *latest {
            fresh = fresh.min(longest(strategy, self.now));
        } else {
            *latest = tick;
        }
        key.with(ticks(fresh), self.pressure)
    }
}

/// Returns the latest time at which a state that is not moved to the clock can be fresh.
///
/// The state's own time is ahead of the clock by no more than `max_ttl`, or by a second, which is how late a
/// reading of the clock may come. From its own time on it lasts for `max_ttl`. A stamp from further in the
/// future was left by a clock that was set back.
#[cold]
#[inline(never)]
fn longest<S: Strategy>(strategy: &S, now: Timestamp) -> Timestamp {
    // now + max_ttl + (max_ttl | 2²⁰): the last term is at least max_ttl and at least a second.
    const { assert!(SLACK <= 1 << 20, "a second is less than 2^20 microseconds") };
    let max_ttl = strategy.max_ttl();
    now.plus_micros(max_ttl).plus_micros(max_ttl | 1 << 20)
}

/// Moves the state of a slot to a clock that was set back, and the time at which the slot is free with it.
///
/// Returns the slot's tag.
#[cold]
#[inline(never)]
pub(super) fn rebased<S: Strategy, H: SlotTag>(
    tag: H,
    strategy: &S,
    state: &mut S::State,
    now: Timestamp,
) -> H {
    let _ = strategy.rebase(state, now);
    // A state that cannot be moved is kept for no longer than one that can.
    tag.fresh_in(tag.fresh_tick().min(ticks(longest(strategy, now))))
}

/// Returns the tag of a slot whose state was denied, kept for as long as the denying limit uses it.
///
/// Another limit, with a shorter period, may have been in force when it was written.
#[inline]
pub(super) fn prolonged<S: Strategy, H: SlotTag>(tag: H, strategy: &S, state: &S::State, class: Class) -> H {
    let fresh = ticks(strategy.expires_at(state, class));
    if fresh > tag.fresh_tick() { tag.fresh_in(fresh) } else { tag }
}
