//! The hint on pages where the kernel takes none.

use std::mem::MaybeUninit;

/// Does nothing.
pub(in super::super) fn pages<T>(_: &mut [MaybeUninit<T>]) {}
