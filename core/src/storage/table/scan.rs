//! Looking through a large set: functions of their own, so that they are not written out for each part of it.

use super::Slot;
use crate::storage::head::Head;

/// The place of a key's slot. Where the end is looked for after each fourth one only, a slot takes four
/// instructions instead of six.
#[inline(never)]
pub(super) fn place_of<T, H: Head>(slots: &[Slot<T, H>], key: H) -> Option<usize> {
    let (fours, rest) = slots.as_chunks::<4>();
    let mut at = 0;
    for four in fours {
        if let Some(place) = four.iter().position(|slot| slot.head.is_of(key)) {
            return Some(at + place);
        }
        at += four.len();
    }
    rest.iter().position(|slot| slot.head.is_of(key)).map(|place| at + place)
}

/// The place of the slot that gives way before all others, with its order. The first one that is free has no
/// order.
#[inline(never)]
pub(super) fn first_to_go<T, H: Head>(slots: &[Slot<T, H>], now: u32) -> Option<(Option<H::Order>, usize)> {
    let (mut lowest, mut to_go) = (slots.first()?.head.order(), 0);
    for (at, slot) in slots.iter().enumerate() {
        if slot.head.is_fresh(now) {
            return Some((None, at));
        }
        let order = slot.head.order();
        if order < lowest {
            (lowest, to_go) = (order, at);
        }
    }
    Some((Some(lowest), to_go))
}
