//! Fetching ahead on x86-64.
#![expect(unsafe_code, reason = "the intrinsic takes a pointer")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Fetches the cache line at this address, if there is one, without waiting for it.
#[inline(always)]
pub(in super::super) fn prefetch<T>(address: *const T) {
    // SAFETY: a prefetch changes no memory or register that a program can see, and faults at no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}
