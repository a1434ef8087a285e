//! The keyed hash of a key.

use crate::Key;

/// The keyed 64-bit hash that stands for a key inside one storage.
///
/// Two keys share a digest with a chance of 2⁻⁶⁴ a pair, about one in 37 million for any two among a
/// million keys. They would then share one limit, and nothing worse.
///
/// ```
/// use traffik::Seed;
///
/// let seed = Seed::new(7);
/// assert_eq!(seed.digest("alice"), seed.digest("alice".as_bytes()));
/// assert_ne!(seed.digest("alice").as_u64(), Seed::new(8).digest("alice").as_u64());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Digest {
    pub(crate) const fn from_u64(digest: u64) -> Self {
        Self(digest)
    }

    /// Returns the digest of the same key for another purpose, one for each number.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub const fn tweaked(self, purpose: u64) -> Self {
        Self(self.0 ^ purpose)
    }

    /// Returns the hash as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The secret of a keyed hash, so that no client can choose two keys that share a digest.
///
/// Take it from a random source wherever clients choose keys.
///
/// ```
/// use traffik::Seed;
///
/// let seed = Seed::new(0x5eed);
/// assert_eq!(seed.digest(&("login", 7u64)), seed.digest(&("login", 7u64)));
/// assert_eq!(format!("{seed:?}"), "Seed(secret)");
/// ```
///
/// The hash takes eight bytes at a time. It multiplies them with a secret number, and folds the halves of the
/// 128-bit product onto each other, as wyhash and foldhash do. It is the same on every machine, and small
/// enough for firmware.
#[derive(Clone)]
pub struct Seed {
    start: u64,
    multiplier: u64,
}

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

impl Seed {
    /// Creates the hash that is keyed with `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // Both parts are secret: with a known multiplier a client could cancel `start` out.
        Self::from_start(fold(fold(seed ^ GOLDEN, GOLDEN), GOLDEN))
    }

    /// Creates the hash whose [`start`](Self::start) is this number.
    pub(crate) const fn from_start(start: u64) -> Self {
        let multiplier = fold(fold(start ^ GOLDEN, GOLDEN), GOLDEN);
        // A factor with few bits set mixes little, so these are set for certain.
        Self { start, multiplier: multiplier | 1 << 63 | 1 << 31 | 1 }
    }

    /// Returns the number that all of the hash follows from; it is as secret as the seed.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Returns the digest of `key`. It depends on the bytes of the key, and not on how they are cut into
    /// pieces.
    #[inline]
    #[must_use]
    pub fn digest<K: Key + ?Sized>(&self, key: &K) -> Digest {
        let mut words = Words { multiplier: self.multiplier, hash: self.start, word: 0, length: 0 };
        key.feed(&mut |bytes: &[u8]| words.write(bytes));
        Digest(words.finish())
    }
}

/// 2⁶⁴ over the golden ratio: no pattern in its bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns `low ^ high` of the product `a · b = high · 2⁶⁴ + low`, which depends on every bit of both
/// factors.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Gathers pieces into words of eight bytes, so that the hash does not depend on where a key was cut.
struct Words {
    multiplier: u64,
    hash: u64,
    /// The bytes since the last whole word, the first one lowest.
    word: u64,
    /// The number of bytes so far.
    length: u32,
}

impl Words {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks();
        whole.iter().for_each(|bytes| self.push(u64::from_le_bytes(*bytes), 8));
        let (half, few) = rest.as_chunks();
        half.iter().for_each(|bytes| self.push(u32::from_le_bytes(*bytes).into(), 4));
        if !few.is_empty() {
            self.push(few.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)), few.len() as u32);
        }
    }

    /// Appends the `count` lowest bytes of `bytes`, from 1 to 8; the others are zero.
    #[inline]
    fn push(&mut self, bytes: u64, count: u32) {
        // Invariant: `word` holds the last `length mod 8` bytes, and `hash` all before them.
        let filled = self.length % 8;
        self.word |= bytes << (8 * filled);
        self.length = self.length.wrapping_add(count);
        if filled + count >= 8 {
            // hash = fold(hash ^ word, multiplier) for each whole word.
            self.hash = fold(self.hash ^ self.word, self.multiplier);
            // The bytes that did not fit; none if the word was empty before.
            self.word = bytes.checked_shr(8 * (8 - filled)).unwrap_or(0);
        }
    }

    #[inline]
    fn finish(self) -> u64 {
        let hash = if self.length.is_multiple_of(8) {
            self.hash
        } else {
            fold(self.hash ^ self.word, self.multiplier)
        };
        // The length goes in last, so that zeros at the end of a key count.
        fold(hash ^ u64::from(self.length), self.multiplier)
    }
}
