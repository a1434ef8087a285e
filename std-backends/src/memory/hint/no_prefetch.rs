//! The hint to fetch ahead where no stable one exists.

/// Does nothing.
#[inline(always)]
pub(in super::super) fn prefetch<T>(_: *const T) {}
