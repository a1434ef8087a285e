//! Names of items on a server: at most 250 bytes without spaces, for any key.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use traffik_core::ErasedKey;

use crate::util::namespace::write_key;

/// The longest name that a server accepts, in bytes.
const LONGEST: usize = 250;

/// Returns a key in safe bytes.
pub(super) fn escaped(key: &dyn ErasedKey) -> String {
    let mut escaped = Vec::with_capacity(40);
    write_key(&mut escaped, key);
    // Escaping leaves ASCII alone.
    String::from_utf8(escaped).unwrap_or_default()
}

/// Returns the item of an escaped key: `namespace:{key}`, or `namespace:GENERATION{key}` once the namespace
/// has been cleared.
///
/// A key that would make the name too long is replaced by its SHA-256 in brackets, so no two keys collide.
pub(super) fn item(namespace: &str, generation: u64, escaped: &str) -> String {
    let mut name = String::with_capacity(namespace.len() + escaped.len() + 20);
    name.extend([namespace, ":"]);
    if generation > 0 {
        let _ = write!(name, "{generation:x}");
    }
    named(name, escaped)
}

/// Returns the item of another thing in a namespace, such as a lock: `namespace#KIND{name}`. It never
/// collides with a state's item, since `#` is not allowed in a namespace.
pub(super) fn other(namespace: &str, kind: &str, escaped: &str) -> String {
    named(format!("{namespace}#{kind}"), escaped)
}

/// Completes a name that begins like this.
fn named(mut name: String, escaped: &str) -> String {
    if name.len() + escaped.len() + 2 <= LONGEST {
        name.extend(["{", escaped, "}"]);
        return name;
    }
    name.push('[');
    for byte in Sha256::digest(escaped.as_bytes()) {
        let _ = write!(name, "{byte:02x}");
    }
    name.push(']');
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_and_told_apart() {
        let named = |key: &[u8]| item("app", 0, &escaped(&key));
        assert_eq!(named(b"user:7"), "app:{user:7}");
        assert_eq!(named(b"a b\r\n{}*%\xff\0"), "app:{a%20b%0d%0a%7b%7d%2a%25%ff%00}");
        assert_ne!(named(b"%20"), named(b" "));
        assert_eq!(named(b""), "app:{}");
        assert_eq!(item("app", 0x1f, "k"), "app:1f{k}");
        assert_eq!(other("app", "lock", "k"), "app#lock{k}");
        // A namespace may look like another one with its generation.
        assert_ne!(item("app:1f", 0, "k"), item("app", 0x1f, "k"));
    }

    #[test]
    fn no_name_is_too_long_and_long_keys_are_told_apart() {
        let namespace = "n".repeat(64);
        let mut names: Vec<_> = (0..400)
            .map(|length| item(&namespace, u64::MAX, &escaped(&"x".repeat(length).as_str())))
            .chain(
                (0..400).map(|length| item(&namespace, u64::MAX, &escaped(&vec![b' '; length].as_slice()))),
            )
            .chain([item(&namespace, u64::MAX, &escaped(&"x".repeat(10_000).as_str()))])
            .collect();
        assert!(
            names
                .iter()
                .all(|name| name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_graphic()))
        );
        assert!(names.iter().any(|name| name.len() == LONGEST));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 800, "both begin with the empty key");
    }
}
