//! The tag of a slot: which key it holds, until when, and how depleted; wide for servers, narrow for
//! firmware.

use core::fmt::Debug;

use crate::{Digest, Timestamp};

/// The tag of a slot in a table: its key, when its state is fresh, and how depleted its limit is.
///
/// `Memory` uses [`WideTag`], and [`Fixed`](crate::Fixed) uses [`NarrowTag`]. The default tag is that of an
/// empty slot.
///
/// ```
/// use traffik::Seed;
/// use traffik::storage::{SlotTag, WideTag};
///
/// let seed = Seed::new(1);
/// let (alice, bob) = (WideTag::of(seed.digest("alice")), WideTag::of(seed.digest("bob")));
/// assert!(alice.is_of(alice) && !alice.is_of(bob));
/// assert_eq!(alice.with(7, 0).fresh_tick(), 7);
/// ```
pub trait SlotTag: Copy + Debug + Default + Send + Sync + sealed::Sealed + 'static {
    /// The tag of an empty slot.
    const EMPTY: Self;

    /// The order in which the slots of a full set give way.
    type Order: Copy + Ord;

    /// Slots in a set.
    ///
    /// More slots spread a fixed number of keys more evenly, and take longer to look through.
    const WAYS: usize;

    /// Whether a key may spill into the next set. More of the slots can then be used, and new keys take
    /// longer.
    const SPILLS: bool;

    /// Whether a denial checks if its state has to be kept for longer than the tag says, as under a limit of
    /// a longer period. The check takes a division.
    const PROLONGS: bool;

    /// Returns the tag of a key with this digest.
    fn of(digest: Digest) -> Self;

    /// Returns this tag of a state that is fresh at this tick and has this
    /// [pressure](crate::Verdict::pressure).
    fn with(self, fresh: u32, pressure: u8) -> Self;

    /// Returns the tick in which the state is fresh.
    fn fresh_tick(self) -> u32;

    /// Returns this tag of a state that is fresh at this tick.
    fn fresh_in(self, tick: u32) -> Self;

    /// Reports whether both are of one key, as far as their bits distinguish keys.
    fn is_of(self, other: Self) -> bool;

    /// Reports whether the slot is empty or its state has become fresh.
    fn is_fresh(self, now: u32) -> bool;

    /// Returns the rank: the lowest gives way first, an exhausted limit last, else the soonest fresh first.
    fn order(self) -> Self::Order;
}

/// The length of a tick of freshness, as a power of two in microseconds: 2²¹ µs are about two seconds.
const TICK: u32 = 21;

/// The tick of a state that is fresh too late to be expressed; it never comes.
const NEVER: u32 = EXHAUSTED - 1;

/// The bit above the tick: set if the limit is exhausted.
const EXHAUSTED: u32 = 1 << 31;

/// Returns the whole ticks that have passed, `now / 2^TICK`; always less than `NEVER`.
#[inline]
pub(super) fn passed(now: Timestamp) -> u32 {
    (now.as_micros() >> TICK).min(u64::from(NEVER - 1)) as u32
}

/// Returns a time in ticks, rounded up: `ceil(at / 2^TICK)`, and `NEVER` at most.
#[inline]
pub(super) fn ticks(at: Timestamp) -> u32 {
    let last_of_tick = (1 << TICK) - 1;
    (at.as_micros().saturating_add(last_of_tick) >> TICK).min(u64::from(NEVER)) as u32
}

/// Returns a tick of freshness, with a mark if the limit is exhausted.
#[inline]
const fn marked(fresh: u32, pressure: u8) -> u32 {
    // As the highest bit it puts every exhausted slot behind all others in `order`.
    if pressure == u8::MAX { fresh | EXHAUSTED } else { fresh }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::WideTag {}
    impl Sealed for super::NarrowTag {}
}

/// The tag of a server's slot: 12 bytes, with 61 bits of the digest.
///
/// Two keys are mistaken for one with a chance of 2⁻⁶¹. Of keys that are fresh within the same two seconds
/// the least used gives way first. Times can be expressed up to 2112.
///
/// ```
/// use traffik::Seed;
/// use traffik::storage::{SlotTag, WideTag};
///
/// let tag = WideTag::of(Seed::new(1).digest("alice")).with(7, 0);
/// let (word, fresh) = tag.parts();
/// assert!(WideTag::from_parts(word, fresh).is_some_and(|read| read.is_of(tag)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WideTag {
    /// The digest, whose lowest three bits are replaced by the pressure; 0 in an empty slot. As bytes it
    /// needs no more alignment than `fresh`.
    word: [u8; 8],
    fresh: u32,
}

/// The bits of a wide tag's word that hold the pressure.
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

    /// Returns the digest of the key, without the bits that hold the pressure.
    #[must_use]
    pub const fn digest(self) -> Digest {
        Digest::from_u64(self.word() & !PRESSURE)
    }

    /// Returns the tag as two numbers.
    #[must_use]
    pub const fn parts(self) -> (u64, u32) {
        (self.word(), self.fresh)
    }

    /// Returns the tag with these [parts](Self::parts); `None` if they are those of an empty slot.
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
        // A digest whose upper bits are all 0 becomes PRESSURE + 1, since 0 marks an empty slot.
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
        // order = fresh · 2³ + pressure: first by time, then by use.
        u64::from(self.fresh) << PRESSURE.count_ones() | self.word() & PRESSURE
    }
}

/// The tag of a slot in firmware: 8 bytes, with 32 bits of the digest.
///
/// Two keys of one set are mistaken for one with a chance of 2⁻³². The chance for any two of 32 keys is about
/// one in nine million; that a new key is mistaken for one of a full set of 64 is one in 67 million. Such
/// keys share one limit, and nothing worse; without the seed nobody can know which keys do. Times are kept in
/// steps of two seconds, up to 2112.
///
/// ```
/// use traffik::Seed;
/// use traffik::storage::{NarrowTag, SlotTag};
///
/// let tag = NarrowTag::of(Seed::new(1).digest("pump-7")).with(7, 0);
/// assert!(!tag.is_fresh(6) && tag.is_fresh(7));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NarrowTag {
    /// 0 in an empty slot.
    tag: u32,
    fresh: u32,
}

impl NarrowTag {
    /// Returns the tag as two numbers.
    pub(super) const fn parts(self) -> (u32, u32) {
        (self.tag, self.fresh)
    }

    /// Returns the tag with these [parts](Self::parts); `None` if they are those of an empty slot.
    pub(super) const fn from_parts(tag: u32, fresh: u32) -> Option<Self> {
        if tag == 0 { None } else { Some(Self { tag, fresh }) }
    }
}

impl SlotTag for NarrowTag {
    type Order = u32;

    const EMPTY: Self = Self { tag: 0, fresh: 0 };

    // A table of at most so many slots is one set, so it holds as many keys. The sets of a larger table are
    // large enough that one is hardly ever full before the table is.
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
