//! Names of keys on the server.

use traffik_core::ErasedKey;

use crate::util::namespace::write_key;

/// Returns `namespace:{key}`. The braces put everything stored for a key into one slot of a cluster. The key
/// is in plain bytes, so it cannot be read as a pattern.
pub(super) fn name(namespace: &str, key: &dyn ErasedKey) -> Vec<u8> {
    let mut name = Vec::with_capacity(namespace.len() + 40);
    name.extend_from_slice(namespace.as_bytes());
    name.extend_from_slice(b":{");
    write_key(&mut name, key);
    name.push(b'}');
    name
}

/// Returns whether all names differ.
pub(super) fn are_distinct(names: &[Vec<u8>]) -> bool {
    names.iter().enumerate().all(|(at, name)| !names.iter().skip(at + 1).any(|other| other == name))
}

/// Returns the slot of a name in a cluster. Only the part in braces counts, unless it is empty.
pub(super) fn slot(name: &[u8]) -> u16 {
    let open = name.iter().position(|byte| *byte == b'{').map_or(0, |open| open + 1);
    let inside = name.get(open..name.len().saturating_sub(1)).filter(|inside| !inside.is_empty());
    crc16::State::<crc16::XMODEM>::calculate(inside.unwrap_or(name)) % 16_384
}

/// Returns whether all names are in one slot.
pub(super) fn share_a_slot(names: &[Vec<u8>]) -> bool {
    let mut slots = names.iter().map(|name| slot(name));
    slots.next().is_none_or(|first| slots.all(|other| other == first))
}

/// Returns a pattern that matches all names of a namespace and no others.
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

    /// The example of the cluster specification: the slot of `123456789` is 0x31c3, 12739. Then two keys of
    /// one slot.
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
