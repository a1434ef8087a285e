//! What a key is called on the server.

use traffik_core::ErasedKey;

use crate::util::namespace::write_key;

/// `namespace:{key}`, with the key in braces, so that in a cluster all that is ever stored under it is in one
/// slot; and in plain bytes, so that it cannot pass for a pattern.
pub(super) fn name(namespace: &str, key: &dyn ErasedKey) -> Vec<u8> {
    let mut name = Vec::with_capacity(namespace.len() + 40);
    name.extend_from_slice(namespace.as_bytes());
    name.extend_from_slice(b":{");
    write_key(&mut name, key);
    name.push(b'}');
    name
}

/// Whether no two names are one.
pub(super) fn are_distinct(names: &[Vec<u8>]) -> bool {
    names.iter().enumerate().all(|(at, name)| !names.iter().skip(at + 1).any(|other| other == name))
}

/// Where a cluster keeps a name. Of one with braces, what is between them counts, unless that is nothing.
pub(super) fn slot(name: &[u8]) -> u16 {
    let open = name.iter().position(|byte| *byte == b'{').map_or(0, |open| open + 1);
    let inside = name.get(open..name.len().saturating_sub(1)).filter(|inside| !inside.is_empty());
    crc16::State::<crc16::XMODEM>::calculate(inside.unwrap_or(name)) % 16_384
}

/// Whether a cluster keeps all of these names in one place.
pub(super) fn share_a_slot(names: &[Vec<u8>]) -> bool {
    let mut slots = names.iter().map(|name| slot(name));
    slots.next().is_none_or(|first| slots.all(|other| other == first))
}

/// A pattern that all names of a namespace match, and no others.
pub(super) fn pattern(namespace: &str) -> String {
    format!("{namespace}:{{*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_and_told_apart() {
        let named = |key: &[u8]| String::from_utf8(name("app", &key)).unwrap();
        assert_eq!(named(b"user:7"), "app:{user:7}");
        assert_eq!(named(b"a b\r\n{}*%\xff"), "app:{a%20b%0d%0a%7b%7d%2a%25%ff}");
        assert_ne!(named(b"%20"), named(b" "));
        assert_eq!(named(b""), "app:{}");
    }

    /// By the example of the cluster specification: the slot of `123456789` is 0x31c3, 12739; and two that
    /// meet.
    #[test]
    fn slots_are_those_of_a_cluster() {
        let named = |key: &[u8]| name("app", &key);
        assert!(share_a_slot(&[named(b"a"), named(b"a")]) && share_a_slot(&[named(b"a")]));
        assert!(!share_a_slot(&[named(b"a"), named(b"b")]));
        let calculated = crc16::State::<crc16::XMODEM>::calculate(b"123456789");
        assert_eq!(calculated, 0x31c3);
        let meets = (0..100_000u32)
            .map(|number| number.to_string())
            .find(|text| crc16::State::<crc16::XMODEM>::calculate(text.as_bytes()) % 16_384 == 0x31c3);
        let meets = meets.map(String::into_bytes).unwrap_or_default();
        assert!(share_a_slot(&[named(b"123456789"), named(&meets)]));
        assert!(are_distinct(&[named(b"a"), named(b"b")]) && !are_distinct(&[named(b"a"), named(b"a")]));
    }
}
