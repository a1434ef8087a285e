//! What all names on a shared store begin with, and which bytes stand in them as they are.

use std::time::Duration;

use traffik_core::ErasedKey;
use traffik_core::storage::{BackendError, ErrorKind};

/// Whether a byte stands for itself: letters, digits and `.:_-@/`. No store, pattern or line of a protocol
/// takes one of these for anything else.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".:_-@/".contains(&byte)
}

/// Writes a key in plain bytes, others as `%` and two digits: so it can be read, and none can pass for
/// another.
pub(crate) fn write_key(name: &mut Vec<u8>, key: &dyn ErasedKey) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    key.feed_to(&mut |bytes| {
        for &byte in bytes {
            if is_plain(byte) {
                name.push(byte);
            } else {
                let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
                name.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    });
}

/// The settings of a storage on a store: `traffik` for a namespace if there is none, unless they make no
/// sense.
pub(crate) fn settled(mut namespace: String, timeout: Duration) -> Result<String, BackendError> {
    if namespace.is_empty() {
        "traffik".clone_into(&mut namespace);
    }
    check(&namespace).map_err(|wrong| BackendError::new(ErrorKind::Invalid, wrong))?;
    if timeout.is_zero() {
        return Err(BackendError::new(ErrorKind::Invalid, "a timeout of 0 fails every call; take 500 ms"));
    }
    Ok(namespace)
}

/// What is wrong with a namespace, if something is.
pub(crate) fn check(namespace: &str) -> Result<(), String> {
    if !namespace.is_empty() && namespace.len() <= 64 && namespace.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("{namespace:?} is no namespace; take 1 to 64 letters, digits, or . : _ - @ /"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_plain() {
        assert!(check("api:v1").is_ok());
        for bad in ["", "a b", "a*", "{a}", "a#b", &"x".repeat(65)] {
            assert!(check(bad).unwrap_err().contains("1 to 64"), "{bad}");
        }
    }
}
