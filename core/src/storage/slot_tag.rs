//! What a slot notes of its key and state: as wide as a server wants it, or as narrow as firmware does.

use core::fmt::Debug;

use crate::{Digest, Timestamp};

/// Whose slot it is, when its state is fresh, and how depleted its limit is. The default is an empty slot's.
pub trait SlotTag: Copy + Debug + Default + Send + Sync + sealed::Sealed + 'static {
    /// The head of an empty slot.
    const EMPTY: Self;

    /// What orders the slots of a full set.
    type Order: Copy + Ord;

    /// Slots in a set. More of them spread a fixed number of keys more evenly, and take longer to look through.
    const WAYS: usize;

    /// Whether a key may spill into the next set. So more of the slots can be used, and new keys take longer.
    const SPILLS: bool;

    /// Whether a denial looks if the state has to be kept for longer than was noted, as under a limit of a
    /// longer period. To look takes a division.
    const PROLONGS: bool;

    /// The head of a key with this digest.
    fn of(digest: Digest) -> Self;

    /// The same head of a state that is fresh at this tick and has this [pressure](crate::Verdict::pressure).
    fn with(self, fresh: u32, pressure: u8) -> Self;

    /// The tick in which the state is fresh.
    fn fresh_tick(self) -> u32;

    /// The same head of a state that is fresh at this tick.
    fn fresh_in(self, tick: u32) -> Self;

    /// Whether both are of one key, as far as can be told.
    fn is_of(self, other: Self) -> bool;

    /// Whether the slot is empty or its state has become fresh.
    fn is_fresh(self, now: u32) -> bool;

    /// The lowest of several gives way first: never an exhausted one before another, then the soonest fresh.
    fn order(self) -> Self::Order;
}

/// Times of freshness are kept in ticks of 2 to the power of this, in microseconds: of about two seconds.
const TICK: u32 = 21;

/// Stands for a time of freshness too late to be told, which never comes.
const NEVER: u32 = EXHAUSTED - 1;

/// Above the tick in which a state is fresh, a bit for whether the limit is exhausted.
const EXHAUSTED: u32 = 1 << 31;

/// The whole ticks that have passed; always short of never.
#[inline]
pub(super) fn passed(now: Timestamp) -> u32 {
    (now.as_micros() >> TICK).min(u64::from(NEVER - 1)) as u32
}

/// A time in ticks, rounded up.
#[inline]
pub(super) fn ticks(at: Timestamp) -> u32 {
    let last_of_tick = (1 << TICK) - 1;
    (at.as_micros().saturating_add(last_of_tick) >> TICK).min(u64::from(NEVER)) as u32
}

/// A tick of freshness, and whether the limit is exhausted.
#[inline]
const fn marked(fresh: u32, pressure: u8) -> u32 {
    if pressure == u8::MAX { fresh | EXHAUSTED } else { fresh }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::WideTag {}
    impl Sealed for super::NarrowTag {}
}

/// In 12 bytes, 61 bits of the digest: two keys are taken for one with a chance of 2⁻⁶¹.
///
/// Of keys that are fresh within the same two seconds the least used gives way first. Times can be told up to 2112.
#[derive(Clone, Copy, Debug, Default)]
pub struct WideTag {
    /// The digest but for its lowest three bits, which tell the pressure; as bytes, so that a head needs no more than
    /// the alignment of the other. 0 in an empty slot.
    word: [u8; 8],
    fresh: u32,
}

/// The part of a wide head's word that is not the digest.
const PRESSURE: u64 = 0b111;

impl WideTag {
    #[inline]
    const fn word(self) -> u64 {
        u64::from_ne_bytes(self.word)
    }

    #[inline]
    const fn new(word: u64, fresh: u32) -> Self {
        Self { word: word.to_ne_bytes(), fresh }
    }

    /// The digest of the key, but for what is not kept of it.
    #[must_use]
    pub const fn digest(self) -> Digest {
        Digest::from_u64(self.word() & !PRESSURE)
    }

    /// All that it notes, as two numbers.
    #[must_use]
    pub const fn parts(self) -> (u64, u32) {
        (self.word(), self.fresh)
    }

    /// The head with these [parts](Self::parts); `None` if they are those of an empty slot.
    #[must_use]
    pub const fn from_parts(word: u64, fresh: u32) -> Option<Self> {
        if word > PRESSURE { Some(Self::new(word, fresh)) } else { None }
    }
}

impl SlotTag for WideTag {
    type Order = u64;

    const EMPTY: Self = Self::new(0, 0);

    const WAYS: usize = 16;
    const SPILLS: bool = true;
    const PROLONGS: bool = true;

    #[inline]
    fn of(digest: Digest) -> Self {
        Self::new((digest.as_u64() & !PRESSURE).max(PRESSURE + 1), 0)
    }

    #[inline]
    fn with(self, fresh: u32, pressure: u8) -> Self {
        Self::new(self.word() | u64::from(pressure).min(PRESSURE), marked(fresh, pressure))
    }

    #[inline]
    fn fresh_tick(self) -> u32 {
        self.fresh & !EXHAUSTED
    }

    fn fresh_in(self, tick: u32) -> Self {
        Self { fresh: self.fresh & EXHAUSTED | tick, ..self }
    }

    #[inline]
    fn is_of(self, other: Self) -> bool {
        (self.word() ^ other.word()) <= PRESSURE
    }

    #[inline]
    fn is_fresh(self, now: u32) -> bool {
        self.fresh & !EXHAUSTED <= now
    }

    #[inline]
    fn order(self) -> u64 {
        u64::from(self.fresh) << PRESSURE.count_ones() | self.word() & PRESSURE
    }
}

/// In 8 bytes, half of the digest: two keys of one set are taken for one with a chance of 2⁻³².
///
/// The chance that any two of 32 keys are is about one in nine million, and that a new key is taken for one of a
/// full set of 64 is one in 67 million. They would then share one limit, and nothing worse; and without the
/// seed nobody can tell which keys do. Times are kept in steps of two seconds, and can be told up to 2112.
#[derive(Clone, Copy, Debug, Default)]
pub struct NarrowTag {
    /// 0 in an empty slot.
    tag: u32,
    fresh: u32,
}

impl NarrowTag {
    /// All that it notes, as two numbers.
    pub(super) const fn parts(self) -> (u32, u32) {
        (self.tag, self.fresh)
    }

    /// The head with these [parts](Self::parts); `None` if they are those of an empty slot.
    pub(super) const fn from_parts(tag: u32, fresh: u32) -> Option<Self> {
        if tag == 0 { None } else { Some(Self { tag, fresh }) }
    }
}

impl SlotTag for NarrowTag {
    type Order = u32;

    const EMPTY: Self = Self { tag: 0, fresh: 0 };

    // A table of no more slots is one set, and so holds as many keys. Of a larger one the sets are large enough
    // to be hardly ever full before it is.
    const WAYS: usize = 64;
    const SPILLS: bool = false;
    const PROLONGS: bool = false;

    #[inline]
    fn of(digest: Digest) -> Self {
        // The lower half: the upper one chooses the set.
        Self { tag: (digest.as_u64() as u32).max(1), fresh: 0 }
    }

    #[inline]
    fn with(self, fresh: u32, pressure: u8) -> Self {
        Self { fresh: marked(fresh, pressure), ..self }
    }

    #[inline]
    fn fresh_tick(self) -> u32 {
        self.fresh & !EXHAUSTED
    }

    fn fresh_in(self, tick: u32) -> Self {
        Self { fresh: self.fresh & EXHAUSTED | tick, ..self }
    }

    #[inline]
    fn is_of(self, other: Self) -> bool {
        self.tag == other.tag
    }

    #[inline]
    fn is_fresh(self, now: u32) -> bool {
        self.fresh & !EXHAUSTED <= now
    }

    #[inline]
    fn order(self) -> u32 {
        self.fresh
    }
}
