//! The bytes of keys, which outlive a call.

use traffik_core::ErasedKey;

/// Several keys of one call.
pub(crate) type KeyRefs<'a> = &'a [&'a dyn ErasedKey];

/// Returns the bytes of a key, which outlive the call.
pub(crate) fn bytes(key: &dyn ErasedKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.feed_to(&mut |piece| bytes.extend_from_slice(piece));
    bytes
}
