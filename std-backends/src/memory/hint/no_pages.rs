//! Where the kernel takes no advice on the size of pages.

use std::mem::MaybeUninit;

/// Does nothing here.
pub(in super::super) fn pages<T>(_: &mut [MaybeUninit<T>]) {}
