//! The table that `Fixed` and `Memory` share: states of a fixed number of keys, with bounded work and no
//! allocation.
//!
//! The table is set-associative, like a hardware cache. A key's hash names a set of neighbouring slots and a
//! slot in it to begin at. Only that set is ever searched, and in `Memory` the next one too. There is no
//! growth, no rehash and no sweep. A full set reuses a slot whose state has become fresh; if there is none,
//! [`WhenFull`] says which key gives way.

use core::marker::PhantomData;

use super::slot_tag::{SlotTag, WideTag, passed};
use super::{Answer, ErrorKind, StorageError};
use crate::{Class, Cost, Digest, Hit, Op, State, Strategy, Timestamp, Verdict};

mod candidates;
pub(super) mod image;
mod scan;
mod slot;
mod tag_update;
#[cfg(test)]
mod tests;

use candidates::CandidateSlots;
pub use candidates::home;
pub use slot::Slot;
use tag_update::{TagUpdate, prolonged, rebased};

/// The policy for a new key whose set is full of keys that are all in use.
///
/// Choose [`Evict`](Self::Evict), the default, to serve every key; choose [`Refuse`](Self::Refuse) if no
/// limit may ever be exceeded.
///
/// ```
/// use traffik::storage::WhenFull;
/// use traffik::{Fixed, Gcra, Limiter, ManualClock, rate};
///
/// let storage = Fixed::<Gcra, _, 1>::new(ManualClock::default(), 1).when_full(WhenFull::Evict);
/// let limiter = Limiter::new(Gcra::new(rate!("1/min")), storage);
/// assert!(limiter.check("first")?.is_allowed());
/// assert!(limiter.check("second")?.is_allowed()); // takes the slot of the first
/// assert_eq!(limiter.storage().counters().evictions, 1);
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WhenFull {
    /// The key that would be fresh soonest gives way; an exhausted one only if all of its set are exhausted.
    ///
    /// The key starts afresh when it comes back. The field `evictions` of `counters()` counts such keys.
    #[default]
    Evict,
    /// The new key is refused with [`ErrorKind::Full`] until a key of its set becomes fresh.
    ///
    /// No key is given up, so no limit is ever exceeded. The field `refusals` of `counters()` counts such
    /// keys.
    Refuse,
}

/// The counts of how often a table lacked room.
///
/// ```
/// use traffik::{Fixed, Gcra, ManualClock};
///
/// let counters = Fixed::<Gcra, _, 8>::new(ManualClock::default(), 1).counters();
/// assert_eq!((counters.evictions, counters.refusals), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

/// A table of states by digest in a fixed number of slots: an array in firmware, a boxed slice on a server.
///
/// ```
/// use traffik::storage::{Slot, Table, WhenFull};
/// use traffik::{Gcra, Hit, Op, Seed, Strategy, Timestamp, rate};
///
/// let slots: [Slot<<Gcra as Strategy>::State>; 64] = std::array::from_fn(|_| Slot::default());
/// let mut table = Table::new(slots, WhenFull::Evict);
/// let (digest, check) = (Seed::new(1).digest("alice"), Op::Check(Hit::new(1)));
/// assert!(table.apply(&Gcra::new(rate!("1/s")), digest, &check, Timestamp::EPOCH)?.is_allowed());
/// assert_eq!(table.len(Timestamp::EPOCH), 1);
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table<T, A, H = WideTag> {
    slots: A,
    when_full: WhenFull,
    counters: Counters,
    /// The latest tick in which a state was written: no state is of a later one.
    latest: u32,
    slot: PhantomData<Slot<T, H>>,
}

impl<T: State, H: SlotTag, A: AsRef<[Slot<T, H>]> + AsMut<[Slot<T, H>]>> Table<T, A, H> {
    /// Creates a table over these slots, which should be empty (`Slot::default()`).
    #[must_use]
    pub const fn new(slots: A, when_full: WhenFull) -> Self {
        let counters = Counters { evictions: 0, refusals: 0 };
        Self { slots, when_full, counters, latest: 0, slot: PhantomData }
    }

    /// Returns the time to apply an operation at, for a reading of the clock that others may have overtaken.
    ///
    /// A thread or task that was suspended after its reading comes late. If a state was written in a later
    /// tick, `present` reads the clock again. Only if that reading lags too, the clock was set back, and
    /// states are moved to it.
    #[inline]
    pub fn overtaken(&self, now: Timestamp, present: impl FnOnce() -> Timestamp) -> Timestamp {
        if passed(now) < self.latest { now.max(present()) } else { now }
    }

    /// Checks a hit on a key that is at its [home] or soon after it.
    ///
    /// Returns `None`, and does nothing, if the key is not there, or if a state was written at a later time.
    /// The function is inlined, so that its caller computes no figure that it does not read.
    #[inline(always)]
    pub fn check_near<S: Strategy<State = T>>(
        &mut self,
        strategy: &S,
        digest: Digest,
        home: usize,
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Option<S::Verdict> {
        /// The number of slots that are searched.
        const NEAR: usize = 4;
        let key = H::of(digest);
        // Branches, although no processor can predict the slot of a key: computing it without them would wait
        // until all of the slots have come from memory.
        let near = self.slots.as_mut().get_mut(home..)?.iter_mut().take(NEAR);
        let slot = near.into_iter().find(|slot| slot.tag.is_of(key))?;
        let tick = passed(now);
        // The clock may have been set back: `apply` handles that, outside of the inlined code.
        if tick < self.latest {
            return None;
        }
        if slot.tag.is_fresh(tick) {
            slot.state = T::default();
        }
        let verdict = strategy.decide(&mut slot.state, hit, now);
        if verdict.is_dirty() {
            let update = TagUpdate { now, pressure: verdict.pressure() };
            slot.tag = update.tag(key, strategy, &slot.state, hit.class, &mut self.latest);
        } else if H::PROLONGS && !verdict.is_allowed() {
            slot.tag = prolonged(slot.tag, strategy, &slot.state, hit.class);
        }
        Some(verdict)
    }

    /// Applies an operation to the state of a key.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Full`] if the operation needs room for a new key and its sets have none.
    #[inline]
    pub fn apply<S: Strategy<State = T>>(
        &mut self,
        strategy: &S,
        digest: Digest,
        op: &Op<S>,
        now: Timestamp,
    ) -> Answer<S> {
        let (key, tick) = (H::of(digest), passed(now));
        let slots = self.slots.as_mut();
        let candidates = CandidateSlots::around::<H>(home(digest, slots.len()), slots.len());
        let found = candidates.find(slots, key);
        let mut unseen = None;
        let state = match found.and_then(|at| slots.get_mut(at)) {
            Some(slot) => {
                // Invariant: a slot whose tag is fresh holds nothing that counts, so its state starts again.
                if slot.tag.is_fresh(tick) {
                    slot.state = T::default();
                }
                // `latest` is later than this reading: the clock was set back, and the state moves to it.
                if tick < self.latest {
                    slot.tag = rebased(slot.tag, strategy, &mut slot.state, now);
                }
                &mut slot.state
            }
            None => unseen.insert(T::default()),
        };
        // Wrapped at once, so that the verdict is not copied on its way out.
        let answer = Ok(op.run(strategy, state, now));
        let Ok(verdict) = &answer else { return answer };
        if !op.writes(verdict) {
            if let (true, Op::Check(hit), Some(slot)) =
                (H::PROLONGS, op, found.and_then(|at| slots.get_mut(at)))
                && !verdict.is_allowed()
                && tick >= self.latest
            {
                slot.tag = prolonged(slot.tag, strategy, &slot.state, hit.class);
            }
            return answer;
        }
        // A state that equals a fresh one gives its slot back; one that was just hit never does.
        let is_kept = matches!(op, Op::Check(_)) || *state != T::default();
        let tag = if is_kept {
            let update = TagUpdate { now, pressure: verdict.pressure() };
            update.tag(key, strategy, state, op.class(), &mut self.latest)
        } else {
            H::default()
        };
        match (found.and_then(|at| slots.get_mut(at)), unseen) {
            (Some(slot), _) => slot.tag = tag,
            (None, Some(state)) if is_kept => {
                // A set without a fresh slot: the policy decides whether the first to go gives way.
                let room = match (candidates.first_to_go(slots, tick), self.when_full) {
                    (Some((at, true)), WhenFull::Evict) => {
                        self.counters.evictions = self.counters.evictions.saturating_add(1);
                        slots.get_mut(at)
                    }
                    (Some((at, false)), _) => slots.get_mut(at),
                    _ => None,
                };
                let Some(slot) = room else {
                    self.counters.refusals = self.counters.refusals.saturating_add(1);
                    return Err(FULL);
                };
                *slot = Slot { tag, state };
            }
            _ => {}
        }
        answer
    }

    /// Puts back a state that a key had before; a fresh one gives its slot back.
    pub(super) fn put_back<S: Strategy<State = T>>(
        &mut self,
        strategy: &S,
        digest: Digest,
        state: T,
        class: Class,
        now: Timestamp,
    ) {
        let (slots, key) = (self.slots.as_mut(), H::of(digest));
        let home = home(digest, slots.len());
        let found = CandidateSlots::around::<H>(home, slots.len()).find(slots, key);
        let Some(slot) = found.and_then(|at| slots.get_mut(at)) else { return };
        if state == T::default() {
            *slot = Slot::default();
            return;
        }
        let nothing = Hit::new(S::Cost::uniform(0)).with_class(class);
        let update = TagUpdate { now, pressure: strategy.peek(&state, &nothing, now).pressure() };
        *slot = Slot { tag: update.tag(key, strategy, &state, class, &mut self.latest), state };
    }

    /// Returns a copy of the state of a key; a fresh one if the key is not in the table.
    #[must_use]
    pub fn load(&self, digest: Digest, now: Timestamp) -> T {
        let (slots, key) = (self.slots.as_ref(), H::of(digest));
        let home = home(digest, slots.len());
        let found = CandidateSlots::around::<H>(home, slots.len()).find(slots, key);
        found
            .and_then(|at| slots.get(at))
            .filter(|slot| !slot.tag.is_fresh(passed(now)))
            .map(|slot| slot.state.clone())
            .unwrap_or_default()
    }

    /// Returns the number of keys in use at this time.
    #[must_use]
    pub fn len(&self, now: Timestamp) -> usize {
        self.slots.as_ref().iter().filter(|slot| !slot.tag.is_fresh(passed(now))).count()
    }

    /// Reports whether no key is in use at this time.
    #[must_use]
    pub fn is_empty(&self, now: Timestamp) -> bool {
        self.len(now) == 0
    }

    /// Returns the number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.as_ref().len()
    }

    /// Returns how often the table lacked room.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Sets the policy for when there is no room.
    pub const fn set_when_full(&mut self, when_full: WhenFull) {
        self.when_full = when_full;
    }

    /// Returns the place of the slots.
    ///
    /// It may have no slots yet, as long as only operations are applied that write nothing.
    pub const fn slots_mut(&mut self) -> &mut A {
        &mut self.slots
    }

    /// Forgets every key. The counters stay.
    pub fn clear(&mut self) {
        self.slots.as_mut().fill_with(Slot::default);
    }
}

/// Entries can be moved from table to table where the tag keeps the digest.
impl<T: State, A: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Table<T, A> {
    /// Iterates over the keys in use at this time: the tag and the state of each.
    pub fn entries(&self, now: Timestamp) -> impl Iterator<Item = (WideTag, &T)> {
        let tick = passed(now);
        let in_use = move |slot: &&Slot<T>| !slot.tag.is_fresh(tick);
        self.slots.as_ref().iter().filter(in_use).map(|slot| (slot.tag, &slot.state))
    }

    /// Adds an entry of another table whose keys were hashed with the same seed, in place of one of the same
    /// key.
    ///
    /// `taken` is the time at which the entry was taken, by the clock of that table. Without a free slot the
    /// policy for a new key applies. Returns whether the entry was added.
    pub fn adopt(&mut self, (tag, state): (WideTag, T), taken: Timestamp, now: Timestamp) -> bool {
        // fresh - now by this clock = fresh - taken by the other one.
        let ahead = passed(taken).saturating_sub(passed(now));
        let tag = tag.fresh_in(tag.fresh_tick().saturating_sub(ahead));
        let slots = self.slots.as_mut();
        let candidates = CandidateSlots::around::<WideTag>(home(tag.digest(), slots.len()), slots.len());
        let found = candidates.find(slots, WideTag::of(tag.digest()));
        let room = found.map(|at| (at, false)).or_else(|| candidates.first_to_go(slots, passed(now)));
        match (room, self.when_full) {
            (Some((_, true)), WhenFull::Refuse) | (None, _) => {
                self.counters.refusals = self.counters.refusals.saturating_add(1);
                false
            }
            (Some((at, in_use)), _) => {
                self.counters.evictions = self.counters.evictions.saturating_add(in_use.into());
                // Its state still has times of the other clock, which may be ahead of this one.
                self.latest = self.latest.max(passed(taken));
                let Some(slot) = slots.get_mut(at) else { return false };
                *slot = Slot { tag, state };
                true
            }
        }
    }
}

const FULL: StorageError =
    StorageError::new(ErrorKind::Full, "no room for another key; give the storage a larger capacity");
