//! The counter of targets that have no cheap one.

/// Returns false: there is no counter.
pub(in super::super) const fn is_steady() -> bool {
    false
}

/// Returns 0.
#[inline(always)]
pub(in super::super) const fn read() -> u64 {
    0
}
