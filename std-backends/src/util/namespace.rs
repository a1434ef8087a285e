//! The namespace of a storage on a shared store, and the spelling of keys in it.

use std::time::Duration;

use traffik_core::ErasedKey;
use traffik_core::storage::{BackendError, ErrorKind};

/// Returns whether a byte stands for itself in a name. These bytes have no special meaning in any store,
/// pattern or protocol.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".:_-@/".contains(&byte)
}

/// Writes a key: plain bytes as they are, others as `%` and two hexadecimal digits. The result is readable,
/// and differs for different keys.
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

/// Checks the namespace and the timeout of a storage, and returns the namespace. An empty one becomes
/// `traffik`.
pub(crate) fn checked(mut namespace: String, timeout: Duration) -> Result<String, BackendError> {
    if namespace.is_empty() {
        "traffik".clone_into(&mut namespace);
    }
    check(&namespace).map_err(|wrong| BackendError::new(ErrorKind::Invalid, wrong))?;
    if timeout.is_zero() {
        return Err(BackendError::new(
            ErrorKind::Invalid,
            "a timeout of 0 s fails every call; set 500 ms, for example",
        ));
    }
    Ok(namespace)
}

/// Checks a namespace, and returns the error message if it is invalid.
pub(crate) fn check(namespace: &str) -> Result<(), String> {
    if !namespace.is_empty() && namespace.len() <= 64 && namespace.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("{namespace:?} is not a valid namespace; use 1 to 64 letters, digits, or . : _ - @ /"))
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
