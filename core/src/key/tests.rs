//! Tests of the byte forms, names and digests of keys.

use super::*;
use crate::{Digest, Seed};

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

fn name(key: &dyn ErasedKey) -> String {
    let mut text = String::new();
    key.name(&mut text).unwrap();
    text
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

/// Both halves matter: one chooses the set, the other the shard or the tag.
#[test]
fn digests_of_similar_keys_are_spread_evenly() {
    const KEYS: u32 = 1 << 16;
    const BUCKETS: usize = 1 << 10;
    let kinds: [fn(u32) -> Vec<u8>; 5] = [
        |n| n.to_le_bytes().to_vec(),
        |n| (u64::from(n) << 32).to_le_bytes().to_vec(),
        |n| format!("tenant-{n:08}").into_bytes(),
        |n| [&Ipv6Addr::LOCALHOST.octets()[..14], &(n as u16).to_be_bytes(), &[(n >> 16) as u8]].concat(),
        |n| vec![(n % 256) as u8; 1 + n as usize / 256],
    ];
    for (kind, make) in kinds.iter().enumerate() {
        for seed in [0, 1, u64::MAX] {
            for shift in [0, 22, 32, 54] {
                let mut counts = [0u32; BUCKETS];
                for n in 0..KEYS {
                    let digest = Seed::new(seed).digest(&make(n)[..]).as_u64();
                    counts[(digest >> shift) as usize % BUCKETS] += 1;
                }
                let even = KEYS as f64 / BUCKETS as f64;
                let squares: f64 = counts.iter().map(|&count| (f64::from(count) - even).powi(2) / even).sum();
                // Of 1023 degrees of freedom: 1023 is expected, and six standard deviations are 271.
                assert!((752.0..1294.0).contains(&squares), "{kind} {seed} {shift}: {squares}");
            }
        }
    }
}

#[test]
fn a_bit_of_the_key_or_of_the_seed_changes_half_the_digest() {
    let changed = |a: Digest, b: Digest| u64::from((a.as_u64() ^ b.as_u64()).count_ones());
    let (mut by_key, mut by_seed, mut least) = (0, 0, u64::MAX);
    for n in 0..64u64 {
        let (seed, key) = (Seed::new(n.wrapping_mul(0x0123_4567_89ab_cdef)), n);
        for bit in 0..64 {
            let one = changed(seed.digest(&key), seed.digest(&(key ^ 1 << bit)));
            let other = Seed::new(n.wrapping_mul(0x0123_4567_89ab_cdef) ^ 1 << bit);
            (by_key, by_seed) = (by_key + one, by_seed + changed(seed.digest(&key), other.digest(&key)));
            least = least.min(one);
        }
    }
    let even = 64 * 64 * 32;
    assert!(by_key.abs_diff(even) < even / 100 && by_seed.abs_diff(even) < even / 100, "{by_key} {by_seed}");
    assert!(least > 8, "{least}");
}

#[test]
fn the_parts_of_a_tuple_do_not_run_into_each_other() {
    assert_ne!(bytes(&("a", "bc")), bytes(&("ab", "c")));
    assert_ne!(bytes(&("", "a")), bytes(&("a", "")));
    assert_eq!(bytes(&("peer", 7u16)), b"peer\x04\0\0\0\x07\0\x02\0\0\0");
}

#[test]
fn names_are_for_people_and_for_one_line() {
    assert_eq!(name(&"café"), "café");
    assert_eq!(name(&"two\nlines\x1b[31m"), "two\\nlines\\u{1b}[31m");
    assert_eq!(name(&[0xffu8, b'a'].as_slice()), "\\xffa");
    assert_eq!(name(&(IpAddr::from([127, 0, 0, 1]), "login", 7u16)), "127.0.0.1 login 7");
    assert_eq!(name(&Cut(b"in pieces", 2)), "in pieces");
}

/// A shared store holds keys by these bytes: another version, or another machine, must find them.
#[test]
fn the_byte_forms_are_fixed() {
    let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
    let goldens: [(&dyn ErasedKey, &[u8], &str); 17] = [
        (&7usize, &[7, 0, 0, 0, 0, 0, 0, 0], "7"),
        (&-2isize, &[254, 255, 255, 255, 255, 255, 255, 255], "-2"),
        (&true, &[1], "true"),
        (&false, &[0], "false"),
        (&'é', "é".as_bytes(), "é"),
        (&'\n', b"\n", "\\n"),
        (&SocketAddrV4::new(v4, 258), &[192, 0, 2, 1, 2, 1], "192.0.2.1:258"),
        (&SocketAddr::from((v4, 258)), &[192, 0, 2, 1, 2, 1], "192.0.2.1:258"),
        (
            &SocketAddrV6::new(v6, 258, 3, 4),
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x02\x01\x03\0\0\0\x04\0\0\0",
            "[2001:db8::7%4]:258",
        ),
        (
            &SocketAddr::from((v6, 258)),
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x02\x01\0\0\0\0\0\0\0\0",
            "[2001:db8::7]:258",
        ),
        (&None::<&str>, &[0], "none"),
        (&Some("a"), b"\x01a", "a"),
        (&Some(None::<u8>), &[1, 0], "none"),
        (&Some(""), &[1], ""),
        (&("a", 'b', true, None::<u8>, 5u8), b"a\x01\0\0\0b\x01\0\0\0\x01\x01\0\0\0\0\x01\0\0\0\x05\x01\0\0\0", "a b true none 5"),
        (&(1u8, 2u8, 3u8, 4u8, 5u8, 6u8, 7u8), b"\x01\x01\0\0\0\x02\x01\0\0\0\x03\x01\0\0\0\x04\x01\0\0\0\x05\x01\0\0\0\x06\x01\0\0\0\x07\x01\0\0\0", "1 2 3 4 5 6 7"),
        (&((), (), (), (), (), (), (), "h"), &[[0; 28].as_slice(), b"h\x01\0\0\0"].concat(), "       h"),
    ];
    for (key, golden, named) in goldens {
        assert_eq!((bytes(key), name(key)), (golden.to_vec(), named.to_owned()));
    }
    assert_eq!(bytes("é"), "é".as_bytes());
    assert_eq!(bytes(&0x0102u16), [2, 1]);
    assert_eq!(bytes(&IpAddr::from([127, 0, 0, 1])), [127, 0, 0, 1]);
    assert_eq!(bytes(&Ipv6Addr::LOCALHOST), Ipv6Addr::LOCALHOST.octets());
    assert!(bytes(&()).is_empty());
}

#[cfg(feature = "alloc")]
#[test]
fn a_key_behind_a_pointer_is_the_key() {
    use std::borrow::Cow;
    use std::rc::Rc;
    use std::sync::Arc;

    let keys: [&dyn ErasedKey; 6] = [
        &String::from("ann"),
        &Box::<str>::from("ann"),
        &Rc::<str>::from("ann"),
        &Arc::new(Cow::Borrowed("ann")),
        &Cow::<str>::Owned("ann".to_owned()),
        &Cow::Borrowed(b"ann".as_slice()),
    ];
    for key in keys {
        assert_eq!((bytes(key), name(key)), (b"ann".to_vec(), "ann".to_owned()));
    }
}

#[cfg(feature = "heapless")]
#[test]
fn a_key_without_a_heap_is_its_text_or_its_bytes() {
    use ::heapless::{String, Vec};

    let text: String<8> = "two\nén".try_into().unwrap();
    let narrow: String<8, u8> = "two\nén".try_into().unwrap();
    let raw: Vec<u8, 8> = b"\xffa".iter().copied().collect();
    let keys: [(&dyn ErasedKey, &dyn ErasedKey); 4] = [
        (&text, &"two\nén"),
        (&text.as_view(), &"two\nén"),
        (&narrow, &"two\nén"),
        (&raw, &b"\xffa".as_slice()),
    ];
    for (key, plain) in keys {
        assert_eq!((bytes(key), name(key)), (bytes(plain), name(plain)));
    }
}

#[cfg(feature = "uuid")]
#[test]
fn an_identifier_is_its_bytes_as_written() {
    let id = ::uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(bytes(&id), 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes());
    assert_eq!(name(&id), "01234567-89ab-cdef-0123-456789abcdef");
}
