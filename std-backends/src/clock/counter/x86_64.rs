//! The time stamp counter of x86-64.
#![expect(unsafe_code, reason = "the intrinsics are unsafe")]

use std::arch::x86_64::{__cpuid, _rdtsc};
use std::sync::LazyLock;

/// Returns whether the processor counts at the same rate in every power state ("invariant TSC", Intel's
/// manual, volume 3, 19.17.1). Asks once: in a virtual machine the question takes microseconds.
pub(in super::super) fn is_steady() -> bool {
    static STEADY: LazyLock<bool> = LazyLock::new(|| {
        const EXTENDED: u32 = 0x8000_0000;
        const POWER: u32 = EXTENDED + 7;
        #[allow(unused_unsafe, reason = "safe from Rust 1.94 on")]
        // SAFETY: every x86-64 processor has the instruction. A leaf that it does not know returns other
        // data, which `last` below rules out.
        let (last, power) = unsafe { (__cpuid(EXTENDED).eax, __cpuid(POWER).edx) };
        last >= POWER && power >> 8 & 1 == 1
    });
    *STEADY
}

/// Returns the count.
#[inline(always)]
pub(in super::super) fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { _rdtsc() }
}
