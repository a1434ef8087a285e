//! The one table: states of a fixed number of keys, with bounded work and no allocation.
//!
//! Set-associative, like a hardware cache: a key's hash names a set of neighbouring slots and a place in it
//! to begin at, and nothing outside that set and the next one is ever looked at. There is no growth, no
//! rehash and no sweep. Full sets reuse a slot whose state has become fresh; if there is none, [`WhenFull`]
//! says what gives way.

use core::marker::PhantomData;
use core::ops::Range;

use super::slot_tag::{SlotTag, WideTag, passed};
use super::{Answer, ErrorKind, StorageError};
use crate::{Class, Cost, Digest, Hit, Op, State, Strategy, Timestamp, Verdict};

pub(super) mod image;
mod scan;
mod tag_update;
#[cfg(test)]
mod tests;

use scan::{first_to_go, place_of};
use tag_update::{TagUpdate, prolonged, rebased};

/// What happens when a new key finds its set full of keys that are all in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WhenFull {
    /// The key that would be fresh soonest gives way, never an exhausted one while another is in the set.
    /// The key given up starts afresh when it comes back; this is counted in [`Counters::evictions`].
    #[default]
    Evict,
    /// The new key is refused with [`ErrorKind::Full`] until one of its set becomes fresh. No key is ever
    /// given up, so no limit is ever exceeded; this is counted in the `refusals` of `counters()`.
    Refuse,
}

/// What a table had to do for want of room.
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

/// Room for the state of one key.
#[derive(Clone, Debug, Default)]
pub struct Slot<T, H = WideTag> {
    tag: H,
    state: T,
}

impl<T: State, H: SlotTag> Slot<T, H> {
    pub(super) const EMPTY: Self = Self { tag: H::EMPTY, state: T::FRESH };
}

/// States by digest in a fixed number of slots: an array in firmware, a boxed slice on a server.
#[derive(Clone, Debug)]
pub struct Table<T, A, H = WideTag> {
    slots: A,
    when_full: WhenFull,
    counters: Counters,
    /// The latest tick in which a state was written: none is of a later one.
    latest: u32,
    slot: PhantomData<Slot<T, H>>,
}

impl<T: State, H: SlotTag, A: AsRef<[Slot<T, H>]> + AsMut<[Slot<T, H>]>> Table<T, A, H> {
    /// A table over these slots, which should be empty (`Slot::default()`).
    #[must_use]
    pub const fn new(slots: A, when_full: WhenFull) -> Self {
        let counters = Counters { evictions: 0, refusals: 0 };
        Self { slots, when_full, counters, latest: 0, slot: PhantomData }
    }

    /// The time to apply an operation at, by a reading of the clock that may have been overtaken: by who came
    /// later and was faster, as while a thread or a task was suspended. If something was written in a later
    /// tick, `present` reads the clock again; only if that still lags, the clock was set back, and states are
    /// brought down to it.
    #[inline]
    pub fn overtaken(&self, now: Timestamp, present: impl FnOnce() -> Timestamp) -> Timestamp {
        if passed(now) < self.latest { now.max(present()) } else { now }
    }

    /// Checks a hit on a key that is at its [home] or soon after it; `None`, and nothing done, if it is not
    /// there, or if something was written at a later time. Small enough to be made part of what calls it,
    /// which then computes no figure that it does not read.
    #[inline(always)]
    pub fn check_near<S: Strategy<State = T>>(
        &mut self,
        strategy: &S,
        digest: Digest,
        home: usize,
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Option<S::Verdict> {
        /// How many slots are looked at.
        const NEAR: usize = 4;
        let key = H::of(digest);
        // Branches, although no processor can foresee in which of them a key is: to compute it would keep it
        // from going on before the first has come from memory.
        let near = self.slots.as_mut().get_mut(home..)?.iter_mut().take(NEAR);
        let slot = near.into_iter().find(|slot| slot.tag.is_of(key))?;
        let tick = passed(now);
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
    /// [`ErrorKind::Full`] if the operation needs room for a new key and its sets have none to give.
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
                if slot.tag.is_fresh(tick) {
                    slot.state = T::default();
                }
                if tick < self.latest {
                    slot.tag = rebased(slot.tag, strategy, &mut slot.state, now);
                }
                &mut slot.state
            }
            None => unseen.insert(T::default()),
        };
        // Wrapped at once, so that a verdict is not copied on its way out.
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
        // A state that says nothing gives its slot back; one that was just hit says something.
        let kept = matches!(op, Op::Check(_)) || *state != T::default();
        let tag = if kept {
            let update = TagUpdate { now, pressure: verdict.pressure() };
            update.tag(key, strategy, state, op.class(), &mut self.latest)
        } else {
            H::default()
        };
        match (found.and_then(|at| slots.get_mut(at)), unseen) {
            (Some(slot), _) => slot.tag = tag,
            (None, Some(state)) if kept => {
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

    /// Puts a state back that a key had before; what is fresh gives its slot back.
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

    /// A copy of the state of a key: that of a key never seen, if it is not in the table.
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

    /// Keys that are in use at this time.
    #[must_use]
    pub fn len(&self, now: Timestamp) -> usize {
        self.slots.as_ref().iter().filter(|slot| !slot.tag.is_fresh(passed(now))).count()
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

    /// What gives way from now on when there is no room.
    pub const fn set_when_full(&mut self, when_full: WhenFull) {
        self.when_full = when_full;
    }

    /// The place of the slots. It may have none yet, as long as only operations are applied that write
    /// nothing.
    pub const fn slots_mut(&mut self) -> &mut A {
        &mut self.slots
    }

    /// Forgets every key. The counters stay.
    pub fn clear(&mut self) {
        self.slots.as_mut().fill_with(Slot::default);
    }
}

/// Entries can be carried from table to table where the digest is kept.
impl<T: State, A: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Table<T, A> {
    /// What is kept of each key in use at this time: what is noted of it, and its state.
    pub fn entries(&self, now: Timestamp) -> impl Iterator<Item = (WideTag, &T)> {
        let tick = passed(now);
        let in_use = move |slot: &&Slot<T>| !slot.tag.is_fresh(tick);
        self.slots.as_ref().iter().filter(in_use).map(|slot| (slot.tag, &slot.state))
    }

    /// Takes over an entry of another table whose keys were hashed with the same seed, in place of one of the
    /// same key; it was taken from there at a time of that table's clock. Without room for it, that is as for
    /// a new key; answers whether it was taken.
    pub fn adopt(&mut self, (tag, state): (WideTag, T), taken: Timestamp, now: Timestamp) -> bool {
        // By this clock it is fresh as long from now as it was from then by the other.
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
                // Its state is still that of the other clock.
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

/// The slot of a [`Table`] of so many that a digest belongs to before all others, and where its state most
/// likely is: the upper half of it as a fraction of the slots, which takes no division and no power of two.
#[inline]
#[must_use]
pub const fn home(digest: Digest, slots: usize) -> usize {
    (((digest.as_u64() >> 32) * slots as u64) >> 32) as usize
}

/// Where the state of a key may be: in its own set, searched from a slot of its own on, where it most often
/// is, and round; or in the next set, if it may [spill](SlotTag::SPILLS).
struct CandidateSlots([Range<usize>; 3]);

impl CandidateSlots {
    #[inline]
    fn around<H: SlotTag>(home: usize, slots: usize) -> Self {
        // The last set takes what is left over as well.
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

    /// The slot of a key.
    #[inline]
    fn find<T, H: SlotTag>(&self, slots: &[Slot<T, H>], key: H) -> Option<usize> {
        self.parts::<H>().iter().find_map(|range| {
            let part = slots.get(range.clone())?;
            let is_of = |slot: &Slot<T, H>| slot.tag.is_of(key);
            let place = if H::SPILLS { part.iter().position(is_of) } else { place_of(part, is_of) };
            place.map(|at| range.start + at)
        })
    }

    /// The slot that a new key may have, and whether it is in use; `None` if there are no slots.
    #[inline(never)]
    fn first_to_go<T, H: SlotTag>(&self, slots: &[Slot<T, H>], now: u32) -> Option<(usize, bool)> {
        if !H::SPILLS {
            return self.first_of_set(slots, now);
        }
        let mut to_go = self.parts::<H>().iter().find(|range| !range.is_empty())?.start;
        let mut lowest = slots.get(to_go)?.tag.order();
        for range in self.parts::<H>() {
            for (at, slot) in (range.start..).zip(slots.get(range.clone())?) {
                // Most often the first ones looked at are free.
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

    /// The same in a large set, whose parts are not written out one by one: that would take more flash.
    fn first_of_set<T, H: SlotTag>(&self, slots: &[Slot<T, H>], now: u32) -> Option<(usize, bool)> {
        let order = |slot: &Slot<T, H>| (!slot.tag.is_fresh(now)).then(|| slot.tag.order());
        let mut first = None;
        for range in self.parts::<H>() {
            let Some((order, at)) = first_to_go(slots.get(range.clone())?, order) else { continue };
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
