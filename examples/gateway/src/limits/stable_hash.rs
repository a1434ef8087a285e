//! A hash that is the same in every process and every version.

/// Returns the 64-bit FNV-1a hash of bytes. The hashes of libraries may change with their versions.
pub(crate) fn stable_hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    // hash = (hash ^ byte) * prime
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}
