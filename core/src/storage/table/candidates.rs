//! The slots of a table that may hold a key.

use core::ops::Range;

use super::scan::{first_to_go, place_of};
use super::slot::Slot;
use crate::Digest;
use crate::storage::slot_tag::SlotTag;

/// Returns the slot at which the search for a digest begins in a table of so many slots.
///
/// It is `(upper half of the digest) · slots / 2³²`, which takes no division and no power of two. A state is
/// most likely there.
#[inline]
#[must_use]
pub const fn home(digest: Digest, slots: usize) -> usize {
    (((digest.as_u64() >> 32) * slots as u64) >> 32) as usize
}

/// The slots that may hold the state of a key, as three ranges in the order of the search.
///
/// They are its set from `home` on, the set up to `home`, and the next set if keys may
/// [spill](SlotTag::SPILLS).
pub(super) struct CandidateSlots(pub(super) [Range<usize>; 3]);

impl CandidateSlots {
    #[inline]
    pub(super) fn around<H: SlotTag>(home: usize, slots: usize) -> Self {
        // set = min(home / WAYS, last): the last set takes the slots that are left over as well.
        let last = (slots / H::WAYS).saturating_sub(1);
        let set = (home / H::WAYS).min(last);
        let start = set * H::WAYS;
        let end = if set < last { start + H::WAYS } else { slots };
        let next = if set < last { end } else { 0 };
        let spill = if last == 0 || !H::SPILLS { 0..0 } else { next..next + H::WAYS };
        Self([home..end, start..home, spill])
    }

    #[inline]
    fn parts<H: SlotTag>(&self) -> &[Range<usize>] {
        if H::SPILLS { &self.0 } else { self.0.split_at(2).0 }
    }

    /// Returns the slot of a key.
    #[inline]
    pub(super) fn find<T, H: SlotTag>(&self, slots: &[Slot<T, H>], key: H) -> Option<usize> {
        self.parts::<H>().iter().find_map(|range| {
            let part = slots.get(range.clone())?;
            let is_of = |slot: &Slot<T, H>| slot.tag.is_of(key);
            let place = if H::SPILLS { part.iter().position(is_of) } else { place_of(part, is_of) };
            place.map(|at| range.start + at)
        })
    }

    /// Returns the slot for a new key, and whether it is in use; `None` if there are no slots.
    #[inline(never)]
    pub(super) fn first_to_go<T, H: SlotTag>(&self, slots: &[Slot<T, H>], now: u32) -> Option<(usize, bool)> {
        if !H::SPILLS {
            return self.first_of_set(slots, now);
        }
        let mut to_go = self.parts::<H>().iter().find(|range| !range.is_empty())?.start;
        let mut lowest = slots.get(to_go)?.tag.order();
        for range in self.parts::<H>() {
            for (at, slot) in (range.start..).zip(slots.get(range.clone())?) {
                // Most often one of the first is free.
                if slot.tag.is_fresh(now) {
                    return Some((at, false));
                }
                let order = slot.tag.order();
                if order < lowest {
                    (lowest, to_go) = (order, at);
                }
            }
        }
        Some((to_go, true))
    }

    /// Does the same in a large set, with code that is not repeated for each part: that would take more
    /// flash.
    fn first_of_set<T, H: SlotTag>(&self, slots: &[Slot<T, H>], now: u32) -> Option<(usize, bool)> {
        let order = |slot: &Slot<T, H>| (!slot.tag.is_fresh(now)).then(|| slot.tag.order());
        let mut first = None;
        for range in self.parts::<H>() {
            let Some((order, at)) = first_to_go(slots.get(range.clone())?, order) else { continue };
            // A free slot: nothing gives way before it.
            if order.is_none() {
                return Some((range.start + at, false));
            }
            if first.is_none_or(|(lowest, _)| order < lowest) {
                first = Some((order, range.start + at));
            }
        }
        first.map(|(_, at)| (at, true))
    }
}
