//! The slot of a table.

use crate::State;
use crate::storage::slot_tag::{SlotTag, WideTag};

/// A slot of a [`Table`](super::Table): room for the state of one key.
///
/// ```
/// use traffik::storage::{Slot, Table, WhenFull};
/// use traffik::{Gcra, Strategy, Timestamp};
///
/// let slots: Box<[Slot<<Gcra as Strategy>::State>]> = (0..64).map(|_| Slot::default()).collect();
/// assert!(Table::new(slots, WhenFull::Evict).is_empty(Timestamp::EPOCH));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Slot<T, H = WideTag> {
    pub(super) tag: H,
    pub(super) state: T,
}

impl<T: State, H: SlotTag> Slot<T, H> {
    pub(in crate::storage) const EMPTY: Self = Self { tag: H::EMPTY, state: T::FRESH };
}
