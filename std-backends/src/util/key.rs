//! The bytes of a key, which stay once a call has returned.

use traffik_core::ErasedKey;

/// Several keys that are asked about together.
pub(crate) type KeyRefs<'a> = &'a [&'a dyn ErasedKey];

/// The bytes of a key: what stays of it once a call has returned.
pub(crate) fn bytes(key: &dyn ErasedKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.feed_to(&mut |piece| bytes.extend_from_slice(piece));
    bytes
}
