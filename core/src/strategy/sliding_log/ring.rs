//! The entries of a log, oldest first, in a ring of slots.
//!
//! An entry holds the sum of all costs up to and with it, instead of its own cost. So the cost between any
//! two entries is one subtraction, and any question about the log is answered by binary search.

use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use core::fmt;

use crate::Timestamp;
use crate::strategy::{DecodeError, Reader, State, Writer};
use crate::time::Halves;

/// The storage of a log's entries: [`Inline`] or, with the feature `alloc`, on the heap.
///
/// ```
/// use traffik::strategy::{Inline, Log};
/// use traffik::rate;
///
/// assert!(Log::<Inline<8>>::new(rate!("9/s")).is_err()); // 8 entries cannot hold a limit of 9
/// ```
pub trait Room: Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Consecutive slots.
    type Slots: AsRef<[Entry]> + AsMut<[Entry]> + Clone + Send + Sync + 'static;

    /// The largest number of entries.
    const LARGEST: u32;

    /// The slots of an empty log.
    const EMPTY: Self::Slots;

    /// Adds slots at the end. Called only while there are fewer than [`LARGEST`](Self::LARGEST).
    fn grow(slots: &mut Self::Slots);
}

/// Storage in the state itself, for up to `N` entries of 12 bytes.
///
/// ```
/// use traffik::strategy::{Inline, Log};
/// use traffik::rate;
///
/// assert!(Log::<Inline<8>>::new(rate!("8/s")).is_ok());
/// ```
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

/// The cost used at one time.
///
/// ```
/// use traffik::{Class, Hit, SlidingLog, Strategy, Timestamp, rate};
///
/// let (log, mut state) = (SlidingLog::<8>::new(rate!("8/s"))?, Default::default());
/// log.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// log.charge(&mut state, &Hit::new(2), Timestamp::EPOCH);
/// assert_eq!(log.stat(&state, Class::new(), Timestamp::EPOCH).entry_count, 1); // the same time, one entry
/// # Ok::<(), traffik::StrategyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// The time in two halves, so that an entry takes 12 bytes instead of 16.
    at: Halves,
    /// The sum of all costs up to and with this one. The sum may wrap: no more than 32 bits are in use at
    /// once, so differences stay exact.
    sum: u32,
}

impl Entry {
    pub(super) const fn at(self) -> Timestamp {
        self.at.whole()
    }
}

/// The state of a log: the cost used at each time, oldest first.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{Hit, SlidingLog, Strategy, Timestamp, rate};
///
/// let (log, mut state) = (SlidingLog::<8>::new(rate!("8/s"))?, State::FRESH);
/// log.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// # Ok::<(), traffik::StrategyError>(())
/// ```
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
    /// Returns the number of entries.
    pub(super) const fn len(&self) -> u32 {
        self.length
    }

    /// Returns the entry at this place, counted from the oldest.
    pub(super) fn entry(&self, place: u32) -> Option<Entry> {
        let slot = self.slot(place).filter(|_| place < self.length)?;
        self.slots.as_ref().get(slot).copied()
    }

    /// Returns the time of the newest entry, or that of a key never seen if there is none.
    pub(super) fn last(&self) -> Timestamp {
        self.length.checked_sub(1).and_then(|last| self.entry(last)).unwrap_or_default().at()
    }

    /// Returns the cost used from this place on.
    pub(super) fn used_from(&self, place: u32) -> u32 {
        self.sum_before(self.length).wrapping_sub(self.sum_before(place))
    }

    /// Returns the first place from `from` on where `holds` is true.
    ///
    /// `holds` must be false up to some place, and true from there to the end.
    #[inline]
    pub(super) fn first(&self, from: u32, holds: impl Fn(u32, Entry) -> bool) -> u32 {
        let (mut low, mut high) = (from, self.length);
        // Most often few entries have to go, so look at the oldest before halving.
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

    /// Adds a cost at a time not before the newest entry's.
    ///
    /// The newest entry takes the cost in if it has the same time, or if there is no room for another. In the
    /// latter case all of that entry counts as used at `at`.
    pub(super) fn push(&mut self, at: Timestamp, cost: u32) {
        // sum(i) − sum(i − 1) is the cost of entry i, also where the sums wrap.
        let sum = self.sum_before(self.length).wrapping_add(cost);
        if at > self.last() || self.length == 0 {
            let slots = self.slots.as_ref().len();
            if self.length as usize == slots && slots < R::LARGEST as usize {
                // Rotated to start at slot 0, the ring can grow behind its last entry.
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

    /// Takes back up to this cost from the entry of this time.
    pub(super) fn take(&mut self, at: Timestamp, cost: u32) {
        let place = self.first(0, |_, entry| entry.at() >= at);
        let Some(entry) = self.entry(place).filter(|entry| entry.at() == at) else { return };
        let used = entry.sum.wrapping_sub(self.sum_before(place));
        let taken = cost.min(used);
        // An entry left without cost is removed, and the later ones move up.
        let gone = u32::from(taken == used);
        for later in place + gone..self.length {
            if let Some(Entry { at, sum }) = self.entry(later) {
                self.set(later - gone, Entry { at, sum: sum.wrapping_sub(taken) });
            }
        }
        self.length -= gone;
    }

    /// Returns the sum of all costs before this place.
    fn sum_before(&self, place: u32) -> u32 {
        place.checked_sub(1).map_or(self.base, |before| self.entry(before).unwrap_or_default().sum)
    }

    /// Returns the slot of a place in the ring, or `None` if there is none.
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

    /// Returns times and costs, oldest first.
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

/// Compares times and costs, wherever in the ring they are.
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

/// Encodes the ring as it is, so that a script can add or drop an entry without rewriting the others.
///
/// After the tag come the number of slots, the slot of the oldest entry, the number of entries, and the sum
/// of all costs before them. Then come the slots, each a time and a sum. A slot without an entry may hold
/// anything.
impl<R: Room> State for LogState<R> {
    const FRESH: Self = Self { slots: R::EMPTY, head: 0, length: 0, base: 0 };
    const MAX_LEN: usize = 1 + 4 * 4 + 12 * R::LARGEST as usize;

    /// Writes only the slots in use.
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
        // A script may have written these numbers, so none is trusted before it is compared.
        if slots > R::LARGEST || length > slots || head >= slots.max(1) {
            return Err(DecodeError);
        }
        let mut ring = input.clone();
        let mut state = Self { base, ..Self::default() };
        // The ring may wrap: the older entries stand at its end, and the `wrapped` newer ones at its
        // beginning.
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
    /// Adds entries in their encoded form.
    fn read(&mut self, input: &mut Reader<'_>, entries: u32) -> Result<(), DecodeError> {
        for _ in 0..entries {
            let (at, sum) = (Timestamp::from_micros(input.u64()?), input.u32()?);
            let cost = sum.wrapping_sub(self.sum_before(self.length));
            // Times must ascend, every entry must have a cost, and the costs must fit 32 bits together.
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
