//! The slots of a small table as bytes.

use super::{Slot, Table};
use crate::Timestamp;
use crate::storage::slot_tag::{NarrowTag, SlotTag, passed};
use crate::strategy::{DecodeError, Reader, State, Writer};

/// The bytes of a table beside its slots: the number of slots, and the latest tick.
pub(in crate::storage) const SLOTS: usize = 4 + 4;
/// The bytes of a slot beside its state: whether it is in use, and its tag.
pub(in crate::storage) const SLOT: usize = 1 + 4 + 4;

impl<T: State, A: AsRef<[Slot<T, NarrowTag>]> + AsMut<[Slot<T, NarrowTag>]>> Table<T, A, NarrowTag> {
    /// Appends the keys in use at this time, slot by slot.
    pub(in crate::storage) fn encode(&self, now: Timestamp, out: &mut Writer<'_>) {
        let (slots, tick) = (self.slots.as_ref(), passed(now));
        out.u32(slots.len() as u32);
        out.u32(self.latest);
        for slot in slots {
            let is_used = !slot.tag.is_fresh(tick);
            out.u8(is_used.into());
            if is_used {
                let (tag, fresh) = slot.tag.parts();
                out.u32(tag);
                out.u32(fresh);
                slot.state.encode(out);
            }
        }
    }

    /// Replaces all slots by those that another table appended, and leaves what follows them.
    ///
    /// A larger table can take them too, if both are a single set: each key then lies as far from the
    /// beginning in proportion, and so behind its home.
    pub(in crate::storage) fn decode(&mut self, input: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.clear();
        let room = self.capacity();
        let slots = self.slots.as_mut();
        // The caller has read the image once before, so this cannot fail half-way.
        self.latest = read::<T>(input, room, &mut |at, slot| {
            if let Some(place) = slots.get_mut(at) {
                *place = slot;
            }
        })?;
        Ok(())
    }
}

/// Reads the slots that a table appended, for a table of `room` slots. Returns the latest tick.
pub(in crate::storage) fn read<T: State>(
    input: &mut Reader<'_>,
    room: usize,
    keep: &mut dyn FnMut(usize, Slot<T, NarrowTag>),
) -> Result<u32, DecodeError> {
    let (slots, latest) = (input.u32()? as usize, input.u32()?);
    // In a single set every slot is searched from `home` on, so a key may lie at any slot of it.
    let is_one_set = slots < room && room < 2 * NarrowTag::WAYS;
    if slots != room && !is_one_set {
        return Err(DecodeError);
    }
    for slot in 0..slots {
        let tag = match input.u8()? {
            0 => continue,
            1 => NarrowTag::from_parts(input.u32()?, input.u32()?).ok_or(DecodeError)?,
            _ => return Err(DecodeError),
        };
        // at = (slot + 1) · room / slots - 1, which keeps the order and never collides.
        let at = if slots == room { slot } else { ((slot + 1) * room).checked_div(slots).unwrap_or(1) - 1 };
        keep(at, Slot { tag, state: T::decode(input)? });
    }
    Ok(latest)
}
