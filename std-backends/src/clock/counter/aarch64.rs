//! The generic timer of ARM, which counts at the same rate on all cores and in every state of power.
#![expect(unsafe_code, reason = "no safe interface reads the counter")]

use std::arch::asm;

/// Returns true: the architecture guarantees it.
pub(in super::super) const fn is_steady() -> bool {
    true
}

/// Returns the count.
#[inline(always)]
pub(in super::super) fn read() -> u64 {
    let count: u64;
    // SAFETY: programs may read the virtual count; it touches no memory, no stack and no flag.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags)) };
    count
}
