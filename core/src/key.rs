//! Who is asking: any value with a fixed byte form, and its keyed hash.

use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// Something a limit is kept for: a user's name, an address, a number, or a tuple of these.
///
/// * Equal keys MUST feed equal bytes, however they are cut into pieces; different ones different bytes.
/// * The bytes are what a shared store sees, so they MUST NOT depend on the machine or the version.
///
/// Text feeds itself, integers feed their little-endian bytes, addresses their octets, and each part of a
/// tuple is followed by its length, so that `("a", "bc")` and `("ab", "c")` differ.
pub trait Key {
    /// Hands the bytes of this key to `sink`, in any number of pieces.
    fn feed(&self, sink: &mut impl FnMut(&[u8]));
}

/// A [`Key`] of any type behind a reference; every key is one.
pub trait ErasedKey {
    /// Hands the bytes of this key to `sink`, in any number of pieces.
    fn feed_to(&self, sink: &mut dyn FnMut(&[u8]));
}

impl<K: Key + ?Sized> ErasedKey for K {
    fn feed_to(&self, mut sink: &mut dyn FnMut(&[u8])) {
        self.feed(&mut sink);
    }
}

impl Key for dyn ErasedKey + '_ {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        self.feed_to(sink);
    }
}

impl Key for [u8] {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(self);
    }
}

impl<const N: usize> Key for [u8; N] {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(self);
    }
}

impl Key for str {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(self.as_bytes());
    }
}

impl<K: Key + ?Sized> Key for &K {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        (**self).feed(sink);
    }
}

macro_rules! integer_keys {
    ($($integer:ty)*) => {$(
        impl Key for $integer {
            fn feed(&self, sink: &mut impl FnMut(&[u8])) {
                sink(&self.to_le_bytes());
            }
        }
    )*};
}

integer_keys!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl Key for Ipv4Addr {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(&self.octets());
    }
}

impl Key for Ipv6Addr {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(&self.octets());
    }
}

/// The four octets of an IPv4 address or the sixteen of an IPv6 address.
impl Key for IpAddr {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        match self {
            Self::V4(address) => address.feed(sink),
            Self::V6(address) => address.feed(sink),
        }
    }
}

impl Key for () {
    fn feed(&self, _: &mut impl FnMut(&[u8])) {}
}

macro_rules! tuple_keys {
    ($(($($part:ident)+))*) => {$(
        impl<$($part: Key),+> Key for ($($part,)+) {
            #[expect(non_snake_case, reason = "a part is named after its type")]
            fn feed(&self, sink: &mut impl FnMut(&[u8])) {
                let ($($part,)+) = self;
                $(
                    let mut length = 0u32;
                    $part.feed(&mut |bytes: &[u8]| {
                        length = length.wrapping_add(bytes.len() as u32);
                        sink(bytes);
                    });
                    sink(&length.to_le_bytes());
                )+
            }
        }
    )*};
}

tuple_keys! { (A B) (A B C) (A B C D) }

/// A keyed 64-bit hash that stands for a key inside one storage.
///
/// Two keys share a digest with a chance of 2⁻⁶⁴ per pair, about one in thirty million for any two among a
/// million keys; they would then share one limit, and nothing worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Digest {
    /// The hash as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// What a hash is keyed with, so that no client can choose two keys that share a digest.
///
/// Take it from a random source wherever clients choose keys.
#[derive(Clone)]
pub struct Seed {
    start: u64,
    folds: SharedSeed,
}

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

impl Seed {
    /// The hash keyed with `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // Both parts are secret: with the library's published folds a client could cancel `start` out.
        Self { start: seed.rotate_left(32), folds: SharedSeed::from_u64(seed) }
    }

    /// The digest of `key`, the same for the same bytes however they are cut into pieces.
    #[must_use]
    pub fn digest<K: Key + ?Sized>(&self, key: &K) -> Digest {
        let mut blocks = Blocks {
            hasher: FoldHasher::with_seed(self.start, &self.folds),
            block: [0; BLOCK],
            filled: 0,
            length: 0,
        };
        key.feed(&mut |bytes: &[u8]| blocks.write(bytes));
        Digest(blocks.finish())
    }
}

const BLOCK: usize = 16;

/// Gathers pieces into blocks of one size, so that the hash does not see where a key was cut.
struct Blocks<H> {
    hasher: H,
    block: [u8; BLOCK],
    filled: usize,
    length: u64,
}

impl<H: Hasher> Blocks<H> {
    fn write(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        while !bytes.is_empty() {
            if self.filled == BLOCK {
                self.hasher.write_u128(u128::from_le_bytes(self.block));
                self.block = [0; BLOCK];
                self.filled = 0;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            if let Some(room) = self.block.get_mut(self.filled..self.filled + piece.len()) {
                room.copy_from_slice(piece);
            }
            self.filled += piece.len();
            bytes = rest;
        }
    }

    fn finish(mut self) -> u64 {
        self.hasher.write_u128(u128::from_le_bytes(self.block));
        self.hasher.write_u64(self.length);
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cut<'a>(&'a [u8], usize);

    impl Key for Cut<'_> {
        fn feed(&self, sink: &mut impl FnMut(&[u8])) {
            self.0.chunks(self.1).for_each(sink);
        }
    }

    fn bytes(key: &(impl Key + ?Sized)) -> Vec<u8> {
        let mut all = Vec::new();
        key.feed(&mut |bytes: &[u8]| all.extend_from_slice(bytes));
        all
    }

    #[test]
    fn equal_bytes_have_equal_digests_however_they_are_cut() {
        let seed = Seed::new(1);
        let long: Vec<u8> = (0..100).collect();
        for length in 0..=long.len() {
            let whole = seed.digest(&long[..length]);
            for size in 1..=40 {
                assert_eq!(seed.digest(&Cut(&long[..length], size)), whole, "{length} bytes by {size}");
            }
            let erased: &dyn ErasedKey = &&long[..length];
            assert_eq!(seed.digest(erased), whole);
        }
    }

    #[test]
    fn different_keys_and_seeds_differ() {
        let keys = [&b""[..], b"\0", b"\0\0", b"a", b"a\0", &[0; 16], &[0; 17], &[0; 32], &[1; 32]];
        let mut digests: Vec<_> = keys.iter().map(|key| Seed::new(1).digest(*key)).collect();
        digests.extend(keys.iter().map(|key| Seed::new(2).digest(*key)));
        let all = digests.len();
        digests.sort_by_key(|digest| digest.as_u64());
        digests.dedup();
        assert_eq!(digests.len(), all);
    }

    #[test]
    fn the_parts_of_a_tuple_do_not_run_into_each_other() {
        assert_ne!(bytes(&("a", "bc")), bytes(&("ab", "c")));
        assert_ne!(bytes(&("", "a")), bytes(&("a", "")));
        assert_eq!(bytes(&("peer", 7u16)), b"peer\x04\0\0\0\x07\0\x02\0\0\0");
    }

    #[test]
    fn the_byte_forms_are_fixed() {
        assert_eq!(bytes("é"), "é".as_bytes());
        assert_eq!(bytes(&0x0102u16), [2, 1]);
        assert_eq!(bytes(&IpAddr::from([127, 0, 0, 1])), [127, 0, 0, 1]);
        assert_eq!(bytes(&Ipv6Addr::LOCALHOST), Ipv6Addr::LOCALHOST.octets());
        assert_eq!(bytes(&()), []);
    }
}
