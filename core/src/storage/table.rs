//! The one table: states of a fixed number of keys, with bounded work and no allocation.
//!
//! Set-associative, like a hardware cache: a key's hash names one set of neighbouring slots, and nothing
//! outside that set is ever looked at. There is no growth, no rehash and no sweep. A full set reuses a slot
//! whose state has become fresh; if there is none, [`WhenFull`] says what gives way.

use core::marker::PhantomData;

use super::{ErrorKind, StorageError};
use crate::{Digest, Op, State, Strategy, Timestamp, Verdict};

/// Slots in a set.
const WAYS: usize = 16;

/// What happens when a new key finds its set full of keys that are all in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The key that would be fresh soonest gives way, never an exhausted one while another is in the set.
    /// The key given up starts afresh when it comes back; this is counted in [`Counters::evictions`].
    #[default]
    Evict,
    /// The new key is refused with [`ErrorKind::Full`] until one of its set becomes fresh. No key is ever
    /// given up, so no limit is ever exceeded; this is counted in [`Counters::refusals`].
    Refuse,
}

/// What a table had to do for want of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Keys given up before they were fresh.
    pub evictions: u64,
    /// New keys refused.
    pub refusals: u64,
}

impl core::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.evictions = self.evictions.saturating_add(other.evictions);
        self.refusals = self.refusals.saturating_add(other.refusals);
    }
}

/// Room for the state of one key.
#[derive(Clone, Debug, Default)]
pub struct Slot<T> {
    /// The key's digest; 0 in an empty slot.
    tag: u64,
    /// When the state is fresh, in [`TICK`]s, rounded up.
    fresh: u32,
    /// See [`Verdict::pressure`].
    pressure: u8,
    state: T,
}

/// Times of freshness are kept in steps of 2²⁰ µs, about a second: 32 bits of them last until 2112.
const TICK: u32 = 20;

impl<T> Slot<T> {
    /// Whether the state has become fresh. A time beyond what a tick can tell never comes.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.fresh != u32::MAX && u64::from(self.fresh) <= now.as_micros() >> TICK
    }

    const fn is_empty(&self) -> bool {
        self.tag == 0
    }
}

/// States by digest in a fixed number of slots: an array in firmware, a boxed slice on a server.
#[derive(Clone, Debug)]
pub struct Table<T, A> {
    slots: A,
    when_full: WhenFull,
    counters: Counters,
    state: PhantomData<T>,
}

/// Where a key is, or could be.
enum Place {
    Found(usize),
    Vacant(usize),
    /// Every slot of the set is in use; this one would give way first.
    Taken(usize),
}

impl<T: State, A: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Table<T, A> {
    /// A table over these slots, which should be empty (`Slot::default()`).
    #[must_use]
    pub const fn new(slots: A, when_full: WhenFull) -> Self {
        Self { slots, when_full, counters: Counters { evictions: 0, refusals: 0 }, state: PhantomData }
    }

    /// Applies an operation to the state of a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] if the operation needs room for a new key and its set has none to give.
    #[inline]
    pub fn apply<S: Strategy<State = T>>(
        &mut self,
        limit: &S,
        digest: Digest,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        let tag = tag(digest);
        let place = self.find(tag, now);
        if let Some(Place::Found(at)) = place
            && let Some(slot) = self.slots.as_mut().get_mut(at)
        {
            if slot.is_fresh(now) {
                slot.state = T::default();
            }
            let (verdict, written) = op.apply(limit, &mut slot.state, now);
            if written {
                mark(slot, limit, op, &verdict, now);
            }
            return Ok(verdict);
        }
        let mut slot = Slot { tag, fresh: 0, pressure: 0, state: T::default() };
        let (verdict, written) = op.apply(limit, &mut slot.state, now);
        if written && slot.state != T::default() {
            mark(&mut slot, limit, op, &verdict, now);
            *self.make_room(place)? = slot;
        }
        Ok(verdict)
    }

    /// A copy of the state of a key: that of a key never seen, if it is not in the table.
    #[must_use]
    pub fn load(&self, digest: Digest, now: Timestamp) -> T {
        match self.find(tag(digest), now) {
            Some(Place::Found(at)) => {
                self.slots.as_ref().get(at).filter(|slot| !slot.is_fresh(now)).map(|slot| slot.state.clone())
            }
            _ => None,
        }
        .unwrap_or_default()
    }

    /// Keys that are in use at this time.
    #[must_use]
    pub fn len(&self, now: Timestamp) -> usize {
        self.slots.as_ref().iter().filter(|slot| !slot.is_empty() && !slot.is_fresh(now)).count()
    }

    /// Whether no key is in use at this time.
    #[must_use]
    pub fn is_empty(&self, now: Timestamp) -> bool {
        self.len(now) == 0
    }

    /// How many keys there are slots for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.as_ref().len()
    }

    /// What the table had to do for want of room.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Forgets every key. The counters stay.
    pub fn clear(&mut self) {
        self.slots.as_mut().fill_with(Slot::default);
    }

    /// Looks through the one set that may hold a key; `None` if the table has no slots at all.
    fn find(&self, tag: u64, now: Timestamp) -> Option<Place> {
        let slots = self.slots.as_ref();
        let start = set_start(tag, slots.len());
        let mut vacant = None;
        let mut first_to_go: Option<(usize, (bool, u32, u8))> = None;
        for (at, slot) in slots.iter().enumerate().skip(start).take(set_length(start, slots.len())) {
            if slot.tag == tag {
                return Some(Place::Found(at));
            }
            if vacant.is_some() {
                continue;
            }
            if slot.is_empty() || slot.is_fresh(now) {
                vacant = Some(at);
                continue;
            }
            let order = (slot.pressure == u8::MAX, slot.fresh, slot.pressure);
            if first_to_go.is_none_or(|(_, first)| order < first) {
                first_to_go = Some((at, order));
            }
        }
        vacant.map(Place::Vacant).or(first_to_go.map(|(at, _)| Place::Taken(at)))
    }

    /// The slot for a key that is not in the table.
    fn make_room(&mut self, place: Option<Place>) -> Result<&mut Slot<T>, StorageError> {
        let at = match (place, self.when_full) {
            (Some(Place::Vacant(at) | Place::Found(at)), _) => Some(at),
            (Some(Place::Taken(at)), WhenFull::Evict) => {
                self.counters.evictions = self.counters.evictions.saturating_add(1);
                Some(at)
            }
            (Some(Place::Taken(_)), WhenFull::Refuse) | (None, _) => None,
        };
        match at.and_then(|at| self.slots.as_mut().get_mut(at)) {
            Some(slot) => Ok(slot),
            None => {
                self.counters.refusals = self.counters.refusals.saturating_add(1);
                Err(StorageError::new(
                    ErrorKind::Full,
                    "no room for another key; give the storage a larger capacity",
                ))
            }
        }
    }
}

/// Notes what decides whether a slot may be reused; a state that says nothing gives its slot back.
fn mark<S: Strategy>(slot: &mut Slot<S::State>, limit: &S, op: &Op<S>, verdict: &S::Verdict, now: Timestamp) {
    if slot.state == S::State::default() {
        *slot = Slot::default();
        return;
    }
    // A stamp from the future, left by a clock that stepped back, hurts for one horizon at most.
    let fresh = limit.fresh_at(&slot.state, op.class()).min(now.plus_micros(limit.horizon()));
    slot.fresh = u32::try_from(fresh.as_micros().div_ceil(1 << TICK)).unwrap_or(u32::MAX);
    slot.pressure = verdict.pressure();
}

const fn tag(digest: Digest) -> u64 {
    match digest.as_u64() {
        0 => 1,
        digest => digest,
    }
}

/// The first slot of the set that a tag belongs to.
const fn set_start(tag: u64, slots: usize) -> usize {
    let sets = slots / WAYS;
    // The upper half of the tag as a fraction of the sets: no division, and no need for a power of two.
    (((tag >> 32) * sets as u64) >> 32) as usize * WAYS
}

/// The length of the set that starts here; the last one takes what is left over as well.
const fn set_length(start: usize, slots: usize) -> usize {
    if slots - start < 2 * WAYS { slots - start } else { WAYS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FixedWindow, Hit, Rate, Seed};

    const LIMIT: FixedWindow = FixedWindow::new(Rate::per_minute(2));
    type Small<const N: usize> =
        Table<<FixedWindow as Strategy>::State, [Slot<<FixedWindow as Strategy>::State>; N]>;

    fn small<const N: usize>(when_full: WhenFull) -> Small<N> {
        Table::new(core::array::from_fn(|_| Slot::default()), when_full)
    }

    fn hit<const N: usize>(table: &mut Small<N>, key: u64, second: u64) -> Result<bool, ErrorKind> {
        let now = Timestamp::from_micros(second * 1_000_000);
        let decision = table.apply(&LIMIT, Seed::new(7).digest(&key), &Op::Check(Hit::new(1)), now);
        decision.map(|decision| decision.is_allowed()).map_err(|error| error.kind())
    }

    #[test]
    fn sets_cover_every_slot_once() {
        for slots in [1, 15, 16, 17, 31, 32, 33, 47, 48, 100, 1000] {
            let mut covered = vec![0; slots];
            let mut starts: Vec<_> =
                (0..=u16::MAX).map(|top| set_start(u64::from(top) << 48, slots)).collect();
            starts.dedup();
            for start in starts {
                covered[start..start + set_length(start, slots)].iter_mut().for_each(|times| *times += 1);
            }
            assert!(covered.iter().all(|times| *times == 1), "{slots}: {covered:?}");
        }
    }

    #[test]
    fn refusing_gives_no_key_up() {
        let mut table = small::<16>(WhenFull::Refuse);
        for key in 0..16 {
            assert_eq!(hit(&mut table, key, 0), Ok(true));
        }
        assert_eq!(hit(&mut table, 16, 0), Err(ErrorKind::Full));
        assert_eq!(
            (table.len(Timestamp::EPOCH), table.counters()),
            (16, Counters { evictions: 0, refusals: 1 })
        );
        for key in 0..16 {
            assert_eq!([hit(&mut table, key, 1), hit(&mut table, key, 1)], [Ok(true), Ok(false)]);
        }
        assert_eq!(hit(&mut table, 16, 62), Ok(true), "the slots of fresh keys are free again");
    }

    #[test]
    fn evicting_spares_the_exhausted() {
        let mut table = small::<16>(WhenFull::Evict);
        for key in 0..16 {
            assert_eq!(hit(&mut table, key, 0), Ok(true));
        }
        for key in 0..15 {
            assert_eq!([hit(&mut table, key, 0), hit(&mut table, key, 0)], [Ok(true), Ok(false)]);
        }
        for stranger in 100..200 {
            assert_eq!(hit(&mut table, stranger, 1), Ok(true));
        }
        assert_eq!(table.counters(), Counters { evictions: 100, refusals: 0 });
        assert!((0..15).all(|key| hit(&mut table, key, 2) == Ok(false)));
    }

    #[test]
    fn without_slots_nothing_is_admitted() {
        let mut table = small::<0>(WhenFull::Evict);
        assert_eq!(hit(&mut table, 1, 0), Err(ErrorKind::Full));
        assert_eq!((table.capacity(), table.is_empty(Timestamp::EPOCH)), (0, true));
    }

    #[test]
    fn what_is_taken_back_whole_frees_its_slot() {
        let mut table = small::<16>(WhenFull::Evict);
        let digest = Seed::new(7).digest("key");
        let now = Timestamp::from_micros(1 << 40);
        let mut run = |op| table.apply(&LIMIT, digest, &op, now).unwrap();
        let receipt = run(Op::Check(Hit::new(2))).receipt();
        assert_eq!(run(Op::Refund(Hit::new(2), receipt)).remaining(), 2);
        let _ = run(Op::Charge(Hit::new(1)));
        assert_eq!(run(Op::Reset).remaining(), 2);
        assert!(table.is_empty(now));
    }

    #[test]
    fn a_time_too_late_to_tell_is_no_time_to_forget() {
        let mut table = small::<1>(WhenFull::Refuse);
        let late = ((u64::MAX >> TICK) / 1_000_000) << TICK;
        assert_eq!(hit(&mut table, 1, late), Ok(true));
        assert_eq!(hit(&mut table, 2, late), Err(ErrorKind::Full));
    }
}
