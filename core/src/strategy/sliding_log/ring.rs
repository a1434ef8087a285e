//! What was used and when, oldest first, in a ring of slots.
//!
//! An entry holds not its own cost but the sum of all costs up to and with it, so that the cost between any two
//! entries is one subtraction, and whatever is asked of the log is found by halving it.

use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use core::fmt;

use crate::Timestamp;
use crate::strategy::{DecodeError, Reader, State, Writer};
use crate::time::Halves;

/// Where a log keeps its entries: [`Inline`] or, with the feature `alloc`, on the heap.
pub trait Room: Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Slots in a row.
    type Slots: AsRef<[Entry]> + AsMut<[Entry]> + Clone + Send + Sync + 'static;

    /// The most entries there can be.
    const LARGEST: u32;

    /// The slots of a log that holds nothing.
    const EMPTY: Self::Slots;

    /// Adds slots at the end. Only asked for when there are fewer than there can be.
    fn grow(slots: &mut Self::Slots);
}

/// In the state itself, for up to `N` entries of 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inline<const N: usize>;

impl<const N: usize> Room for Inline<N> {
    type Slots = [Entry; N];
    const LARGEST: u32 = {
        assert!(N > 0 && N <= 1 << 16, "a log has room for 1 to 65536 entries");
        N as u32
    };

    const EMPTY: [Entry; N] = [Entry { at: Halves::of(Timestamp::EPOCH), sum: 0 }; N];

    fn grow(_: &mut [Entry; N]) {}
}

/// What was used at one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// The time, as two halves, so that an entry takes 12 bytes and not 16.
    at: Halves,
    /// The sum of all costs up to and with this one. It wraps, which a difference does not show: no more than
    /// 32 bits are in use at once.
    sum: u32,
}

impl Entry {
    pub(super) const fn at(self) -> Timestamp {
        self.at.whole()
    }
}

/// The state of a log: the cost used at each time, oldest first.
#[derive(Clone)]
pub struct LogState<R: Room> {
    slots: R::Slots,
    /// The slot of the oldest entry.
    head: u32,
    length: u32,
    /// The sum of all costs before the oldest entry.
    base: u32,
}

impl<R: Room> LogState<R> {
    /// How many times something was used at.
    pub(super) const fn len(&self) -> u32 {
        self.length
    }

    /// The entry at this place from the oldest.
    pub(super) fn entry(&self, place: u32) -> Option<Entry> {
        let slot = self.slot(place).filter(|_| place < self.length)?;
        self.slots.as_ref().get(slot).copied()
    }

    /// The time of the newest entry; that of a key never seen if there is none.
    pub(super) fn last(&self) -> Timestamp {
        self.length.checked_sub(1).and_then(|last| self.entry(last)).unwrap_or_default().at()
    }

    /// What was used from this place on.
    pub(super) fn used_from(&self, place: u32) -> u32 {
        self.sum_before(self.length).wrapping_sub(self.sum_before(place))
    }

    /// The first place from this one on where `holds`, if it does so from some place to the end.
    #[inline]
    pub(super) fn first(&self, from: u32, holds: impl Fn(u32, Entry) -> bool) -> u32 {
        let (mut low, mut high) = (from, self.length);
        // Most often nothing or little has to go: look at the oldest before halving.
        let mut middle = low;
        while low < high {
            match self.entry(middle) {
                Some(entry) if !holds(middle, entry) => low = middle + 1,
                _ => high = middle,
            }
            middle = low + (high.saturating_sub(low)) / 2;
        }
        low
    }

    /// Forgets the entries before this place.
    pub(super) fn forget(&mut self, place: u32) {
        self.base = self.sum_before(place);
        self.head = self.slot(place).map_or(0, |slot| slot as u32);
        self.length = self.length.saturating_sub(place);
    }

    /// Adds a cost at a time not before the newest entry's, as part of that entry if the time is the same, or
    /// if there is no room for another, which then counts as used as late as this.
    pub(super) fn push(&mut self, at: Timestamp, cost: u32) {
        let sum = self.sum_before(self.length).wrapping_add(cost);
        if at > self.last() || self.length == 0 {
            let slots = self.slots.as_ref().len();
            if self.length as usize == slots && slots < R::LARGEST as usize {
                // In a row from the first slot, there is room to grow behind the last.
                self.slots.as_mut().rotate_left(self.head as usize);
                self.head = 0;
                R::grow(&mut self.slots);
            }
            self.length = (self.length + 1).min(self.slots.as_ref().len() as u32);
        }
        if let Some(newest) = self.length.checked_sub(1) {
            self.set(newest, Entry { at: Halves::of(at), sum });
        }
    }

    /// Takes back up to this cost from what was used at this time.
    pub(super) fn take(&mut self, at: Timestamp, cost: u32) {
        let place = self.first(0, |_, entry| entry.at() >= at);
        let Some(entry) = self.entry(place).filter(|entry| entry.at() == at) else { return };
        let used = entry.sum.wrapping_sub(self.sum_before(place));
        let taken = cost.min(used);
        // An entry of nothing goes, and those behind it move up.
        let gone = u32::from(taken == used);
        for later in place + gone..self.length {
            if let Some(Entry { at, sum }) = self.entry(later) {
                self.set(later - gone, Entry { at, sum: sum.wrapping_sub(taken) });
            }
        }
        self.length -= gone;
    }

    /// The sum of all costs before this place.
    fn sum_before(&self, place: u32) -> u32 {
        place.checked_sub(1).map_or(self.base, |before| self.entry(before).unwrap_or_default().sum)
    }

    /// The slot of a place in the ring; `None` if there is no slot.
    #[inline]
    fn slot(&self, place: u32) -> Option<usize> {
        let (slot, slots) = (self.head as usize + place as usize, self.slots.as_ref().len());
        if slot < slots { Some(slot) } else { slot.checked_sub(slots).filter(|slot| *slot < slots) }
    }

    fn set(&mut self, place: u32, entry: Entry) {
        if let Some(slot) = self.slot(place)
            && let Some(slot) = self.slots.as_mut().get_mut(slot)
        {
            *slot = entry;
        }
    }

    /// Times and costs, oldest first.
    fn iter(&self) -> impl Iterator<Item = (Timestamp, u32)> + '_ {
        let entries = (0..self.length).filter_map(|place| self.entry(place));
        entries.scan(self.base, |before, Entry { at, sum }| {
            let cost = sum.wrapping_sub(core::mem::replace(before, sum));
            Some((Entry { at, sum }.at(), cost))
        })
    }
}

impl<R: Room> Default for LogState<R> {
    fn default() -> Self {
        Self::FRESH
    }
}

/// The same if the same was used at the same times, wherever in the ring that is.
impl<R: Room> PartialEq for LogState<R> {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.iter().eq(other.iter())
    }
}

impl<R: Room> Eq for LogState<R> {}

impl<R: Room> fmt::Debug for LogState<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

serde_as_bytes!([R: Room] LogState<R>);

/// As it is in memory, a ring: so that a store can add an entry, or let the oldest go, without writing the others anew.
///
/// After the tag: how many slots there are, the slot of the oldest entry, how many entries, and the sum of all costs before
/// them; then the slots, each a time and a sum. What is in a slot without an entry does not matter.
impl<R: Room> State for LogState<R> {
    const FRESH: Self = Self { slots: R::EMPTY, head: 0, length: 0, base: 0 };
    const MAX_LEN: usize = 1 + 4 * 4 + 12 * R::LARGEST as usize;

    /// Without slots that are not in use.
    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::LOG);
        for number in [self.length, 0, self.length, self.base] {
            out.u32(number);
        }
        for entry in (0..self.length).filter_map(|place| self.entry(place)) {
            out.u64(entry.at().as_micros());
            out.u32(entry.sum);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::LOG)?;
        let (slots, head, length, base) = (input.u32()?, input.u32()?, input.u32()?, input.u32()?);
        if slots > R::LARGEST || length > slots || head >= slots.max(1) {
            return Err(DecodeError);
        }
        let mut ring = input.clone();
        let mut state = Self { base, ..Self::default() };
        // The entries before the end of the ring, after those at its beginning.
        let wrapped = (head + length).saturating_sub(slots);
        let skip = |input: &mut Reader<'_>, slots| (0..slots).try_for_each(|_| input.bytes::<12>().map(drop));
        skip(&mut ring, head)?;
        state.read(&mut ring, length - wrapped)?;
        state.read(&mut input.clone(), wrapped)?;
        skip(input, slots)?;
        Ok(state)
    }
}

impl<R: Room> LogState<R> {
    /// Adds entries as they were encoded.
    fn read(&mut self, input: &mut Reader<'_>, entries: u32) -> Result<(), DecodeError> {
        for _ in 0..entries {
            let (at, sum) = (Timestamp::from_micros(input.u64()?), input.u32()?);
            let cost = sum.wrapping_sub(self.sum_before(self.length));
            // In order, of something, and no more than can be counted.
            let follows = self.length == 0 || at > self.last();
            if !follows || cost == 0 || self.used_from(0).checked_add(cost).is_none() {
                return Err(DecodeError);
            }
            self.push(at, cost);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::strategy::decode;

    const fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_ring_goes_round_and_stays_in_order() {
        let mut log = LogState::<Inline<3>>::default();
        for micros in 0..50u32 {
            log.push(at(micros.into()), micros + 1);
            if log.len() > 2 {
                log.forget(1);
            }
        }
        assert!(log.iter().eq([(at(48), 49), (at(49), 50)]));
        assert_eq!((log.used_from(0), log.used_from(1), log.used_from(2)), (99, 50, 0));
    }

    /// A store leaves a ring as it is: full or not, and wherever it begins.
    #[test]
    fn a_ring_is_read_wherever_it_begins() {
        let bytes = |head: u32, slots: &[(u64, u32)]| {
            let mut bytes = vec![tags::LOG];
            [4, head, 3, 7].iter().for_each(|number: &u32| bytes.extend(number.to_le_bytes()));
            for (at, sum) in slots {
                bytes.extend(at.to_le_bytes());
                bytes.extend(sum.to_le_bytes());
            }
            bytes
        };
        let entries = [(1, 8), (2, 10), (3, 13)];
        let nothing = (9, 99);
        for head in 0..4u32 {
            let mut slots = [nothing; 4];
            for (at, entry) in (0..).zip(entries) {
                slots[(head + at) as usize % 4] = entry;
            }
            let log: LogState<Inline<4>> = decode(&bytes(head, &slots)).unwrap();
            assert!(log.iter().eq([(at(1), 1), (at(2), 2), (at(3), 3)]), "{log:?}");
        }
        for wrong in [
            bytes(4, &[nothing; 4]),
            bytes(0, &[nothing; 3]),
            bytes(0, &[nothing; 5]),
            bytes(0, &[(1, 8); 4]),
        ] {
            assert_eq!(decode::<LogState<Inline<4>>>(&wrong), Err(DecodeError));
        }
        assert_eq!(
            decode::<LogState<Inline<3>>>(&bytes(0, &[(1, 8), (2, 10), (3, 13), nothing])),
            Err(DecodeError)
        );
    }

    #[test]
    fn what_has_no_room_counts_as_used_last() {
        let mut log = LogState::<Inline<2>>::default();
        for micros in 0..4 {
            log.push(at(micros), 1);
        }
        assert!(log.iter().eq([(at(0), 1), (at(3), 3)]));
    }

    #[test]
    fn taken_back_whole_an_entry_is_gone_and_taken_back_in_part_it_stays() {
        let mut log = LogState::<Inline<4>>::default();
        for (micros, cost) in [(1, 9), (2, 5), (3, 7), (4, 1), (5, 2)] {
            if log.len() == 4 {
                log.forget(1);
            }
            log.push(at(micros), cost);
        }
        log.take(at(3), 4);
        log.take(at(1), 9);
        log.take(at(0), 1);
        assert!(log.iter().eq([(at(2), 5), (at(3), 3), (at(4), 1), (at(5), 2)]));
        log.take(at(3), u32::MAX);
        log.take(at(2), 5);
        assert!(log.iter().eq([(at(4), 1), (at(5), 2)]));
        assert_eq!(log.used_from(0), 3);
    }
}
