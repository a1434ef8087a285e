//! Where there is no stable way to fetch ahead.

/// Does nothing here.
#[inline(always)]
pub(in super::super) fn prefetch<T>(_: *const T) {}
