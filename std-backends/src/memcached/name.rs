//! What items are called on a server: at most 250 bytes without spaces, whatever a key is.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use traffik_core::ErasedKey;

/// The longest name that a server takes.
const LONGEST: usize = 250;

/// A key in bytes that are safe: letters, digits and `.:_-@/` as they are, others as `%` and two digits.
pub(super) fn escaped(key: &dyn ErasedKey) -> String {
    let mut escaped = String::with_capacity(40);
    key.feed_to(&mut |bytes| {
        // Most keys are plain all over.
        if let Some(plain) = std::str::from_utf8(bytes).ok().filter(|_| bytes.iter().copied().all(is_plain)) {
            return escaped.push_str(plain);
        }
        for &byte in bytes {
            if is_plain(byte) {
                escaped.push(byte.into());
            } else {
                // Text takes whatever is written.
                let _ = write!(escaped, "%{byte:02x}");
            }
        }
    });
    escaped
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".:_-@/".contains(&byte)
}

/// The item of an escaped key: `namespace:{key}`, or `namespace:GENERATION{key}` once the namespace has been cleared.
///
/// A key that would make it too long is told by its SHA-256, in brackets, of which nobody can make two alike.
pub(super) fn item(namespace: &str, generation: u64, escaped: &str) -> String {
    let mut name = String::with_capacity(namespace.len() + escaped.len() + 20);
    name.push_str(namespace);
    name.push(':');
    if generation > 0 {
        let _ = write!(name, "{generation:x}");
    }
    named(name, escaped)
}

/// The item of something else in a namespace, such as a lock: `namespace#KIND{name}`. No state is taken for it, for no
/// namespace has such a sign.
pub(super) fn other(namespace: &str, kind: &str, escaped: &str) -> String {
    named(format!("{namespace}#{kind}"), escaped)
}

/// The whole name, of which this is the beginning.
fn named(mut name: String, escaped: &str) -> String {
    if name.len() + escaped.len() + 2 <= LONGEST {
        name.push('{');
        name.push_str(escaped);
        name.push('}');
        return name;
    }
    name.push('[');
    for byte in Sha256::digest(escaped.as_bytes()) {
        let _ = write!(name, "{byte:02x}");
    }
    name.push(']');
    name
}

/// What is wrong with a namespace, if something is.
pub(super) fn check(namespace: &str) -> Result<(), String> {
    if !namespace.is_empty() && namespace.len() <= 64 && namespace.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("{namespace:?} is no namespace; take 1 to 64 letters, digits, or . : _ - @ /"))
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

    #[test]
    fn a_namespace_is_plain() {
        assert!(check("api:v1").is_ok());
        for bad in ["", "a b", "a*", "{a}", "a#b", &"x".repeat(65)] {
            assert!(check(bad).unwrap_err().contains("1 to 64"), "{bad}");
        }
    }
}
