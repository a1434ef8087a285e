//! Notes beside a state: when it is fresh, by the clock and the limit there are now.

use crate::storage::slot_tag::{SlotTag, passed, ticks};
use crate::strategy::math::rebase::SLACK;
use crate::{Class, Strategy, Timestamp};

/// The figures to note beside a state that was written.
pub(super) struct TagUpdate {
    pub(super) now: Timestamp,
    pub(super) pressure: u8,
}

impl TagUpdate {
    /// The head of a slot with this state. `latest` is the latest tick in which one was written.
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
        if tick < *latest {
            fresh = fresh.min(longest(strategy, self.now));
        } else {
            *latest = tick;
        }
        key.with(ticks(fresh), self.pressure)
    }
}

/// The latest time at which a state is fresh that lies ahead of the clock and is not moved to it: by no more
/// than the horizon, or than a second, which is how late a reading of the clock may come. From its own time
/// on it lasts for a horizon. A stamp from further in the future was left by a clock that was set back.
#[cold]
#[inline(never)]
fn longest<S: Strategy>(strategy: &S, now: Timestamp) -> Timestamp {
    // No less than either, without comparing them.
    const { assert!(SLACK <= 1 << 20, "a second is less than 2^20 microseconds") };
    let max_ttl = strategy.max_ttl();
    now.plus_micros(max_ttl).plus_micros(max_ttl | 1 << 20)
}

/// Brings the state of a slot down to a clock that was set back, and with it when the slot is free. Returns
/// the slot's head.
#[cold]
#[inline(never)]
pub(super) fn rebased<S: Strategy, H: SlotTag>(
    tag: H,
    strategy: &S,
    state: &mut S::State,
    now: Timestamp,
) -> H {
    let _ = strategy.rebase(state, now);
    // A state that cannot be moved is kept for no longer than any that is.
    tag.fresh_in(tag.fresh_tick().min(ticks(longest(strategy, now))))
}

/// The head of a slot whose state was denied: it is kept for as long as it is in use under the limit that
/// denies. Another limit, with a shorter period, may have been in force when it was written.
#[inline]
pub(super) fn prolonged<S: Strategy, H: SlotTag>(tag: H, strategy: &S, state: &S::State, class: Class) -> H {
    let fresh = ticks(strategy.expires_at(state, class));
    if fresh > tag.fresh_tick() { tag.fresh_in(fresh) } else { tag }
}
