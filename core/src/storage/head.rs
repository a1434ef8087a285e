//! What a slot notes of its key and state: as wide as a server wants it, or as narrow as firmware does.

use core::fmt::Debug;

use crate::{Digest, Timestamp};

/// Whose slot it is, when its state is fresh, and how depleted its limit is. The default is an empty slot's.
pub trait Head: Copy + Debug + Default + Send + Sync + sealed::Sealed + 'static {
    /// What orders the slots of a full set.
    type Order: Copy + Ord;

    /// Slots in a set. More of them spread a fixed number of keys more evenly, and take longer to look through.
    const WAYS: usize;

    /// Whether a key is looked for from a slot of its own on, where it most often is, and may spill into the next
    /// set. So more of the slots can be used, and new keys take longer.
    const SPILLS: bool;

    /// Times of freshness are kept in ticks of 2 to the power of this, in microseconds.
    const TICK: u32;

    /// Stands for a time of freshness too late to be told, which never comes.
    const NEVER: u32;

    /// The head of a key with this digest.
    fn of(digest: Digest) -> Self;

    /// The same head of a state that is fresh at this tick and has this [pressure](crate::Verdict::pressure).
    fn with(self, fresh: u32, pressure: u8) -> Self;

    /// Whether both are of one key, as far as can be told.
    fn is_of(self, other: Self) -> bool;

    /// Whether the slot is empty or its state has become fresh.
    fn is_fresh(self, now: u32) -> bool;

    /// The lowest of several gives way first: never an exhausted one before another, then the soonest fresh.
    fn order(self) -> Self::Order;

    /// The whole ticks that have passed; always short of never.
    #[inline]
    fn passed(now: Timestamp) -> u32 {
        u32::try_from(now.as_micros() >> Self::TICK).unwrap_or(Self::NEVER).min(Self::NEVER - 1)
    }

    /// A time in ticks, rounded up.
    #[inline]
    fn ticks(at: Timestamp) -> u32 {
        let ticks = at.as_micros().div_ceil(1 << Self::TICK);
        u32::try_from(ticks).unwrap_or(Self::NEVER).min(Self::NEVER)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Wide {}
    impl Sealed for super::Narrow {}
}

/// In 12 bytes, 61 bits of the digest: two keys are taken for one with a chance of 2⁻⁶¹.
///
/// Of keys that are fresh within the same second the least used gives way first. Times can be told up to 2112.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wide {
    /// The digest but for its lowest three bits, which tell the pressure; as two halves, so that a head needs no
    /// more than their alignment. 0 in an empty slot.
    word: [u32; 2],
    fresh: u32,
}

/// The part of a wide head's word that is not the digest.
const PRESSURE: u64 = 0b111;

impl Wide {
    #[inline]
    const fn word(self) -> u64 {
        let [high, low] = self.word;
        (high as u64) << 32 | low as u64
    }

    #[inline]
    const fn new(word: u64, fresh: u32) -> Self {
        Self { word: [(word >> 32) as u32, word as u32], fresh }
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

impl Head for Wide {
    type Order = (bool, u32, u8);

    const WAYS: usize = 16;
    const SPILLS: bool = true;
    const TICK: u32 = 20;
    const NEVER: u32 = u32::MAX;

    #[inline]
    fn of(digest: Digest) -> Self {
        Self::new((digest.as_u64() & !PRESSURE).max(PRESSURE + 1), 0)
    }

    #[inline]
    fn with(self, fresh: u32, pressure: u8) -> Self {
        let pressure = if pressure == u8::MAX { PRESSURE } else { u64::from(pressure).min(PRESSURE - 1) };
        Self::new(self.word() | pressure, fresh)
    }

    #[inline]
    fn is_of(self, other: Self) -> bool {
        (self.word() ^ other.word()) <= PRESSURE
    }

    #[inline]
    fn is_fresh(self, now: u32) -> bool {
        self.fresh <= now
    }

    #[inline]
    fn order(self) -> Self::Order {
        let pressure = self.word() & PRESSURE;
        (pressure == PRESSURE, self.fresh, pressure as u8)
    }
}

/// In 8 bytes, half of the digest: two keys of one set are taken for one with a chance of 2⁻³².
///
/// So the chance that any two of 32 keys are is about one in seventeen million, and that a new key is taken for
/// one of a full set is one in 536 million. They would then share one limit, and nothing worse; and without the
/// seed nobody can tell which keys do. Times are kept in steps of two seconds, and can be told up to 2112.
#[derive(Clone, Copy, Debug, Default)]
pub struct Narrow {
    /// 0 in an empty slot.
    tag: u32,
    /// When the state is fresh; above that a bit for whether the limit is exhausted.
    fresh: u32,
}

const EXHAUSTED: u32 = 1 << 31;

impl Head for Narrow {
    type Order = u32;

    const WAYS: usize = 8;
    const SPILLS: bool = false;
    const TICK: u32 = 21;
    const NEVER: u32 = EXHAUSTED - 1;

    #[inline]
    fn of(digest: Digest) -> Self {
        // The lower half: the upper one chooses the set.
        Self { tag: (digest.as_u64() as u32).max(1), fresh: 0 }
    }

    #[inline]
    fn with(self, fresh: u32, pressure: u8) -> Self {
        Self { fresh: if pressure == u8::MAX { fresh | EXHAUSTED } else { fresh }, ..self }
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
