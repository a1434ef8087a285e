//! Where no counter can be read cheaply.

/// There is none.
pub(in super::super) const fn is_steady() -> bool {
    false
}

/// Nothing is counted.
#[inline(always)]
pub(in super::super) const fn read() -> u64 {
    0
}
