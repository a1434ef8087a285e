//! Large pages, where the kernel gives them on advice.
#![expect(unsafe_code, reason = "no safe interface advises on memory that is not mapped by itself")]

use std::mem::MaybeUninit;

/// Advises that a region be made of large pages where it can be. A kernel that cannot goes on with small ones.
pub(in super::super) fn large_pages<T>(region: &mut [MaybeUninit<T>]) {
    /// What every kernel takes as the boundary of a page, be its pages 4, 16 or 64 KiB.
    const PAGE: usize = 1 << 16;
    let (start, length) = (region.as_mut_ptr(), size_of_val(region));
    let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
    let Some(whole) = length.checked_sub(skipped).map(|rest| rest & !(PAGE - 1)).filter(|whole| *whole > 0)
    else {
        return;
    };
    let start = start.wrapping_byte_add(skipped).cast();
    // SAFETY: the range lies in the region, which is borrowed mutably; the advice changes no byte of it. What it
    // answers does not matter: without large pages all is as before, only slower.
    unsafe { libc::madvise(start, whole, libc::MADV_HUGEPAGE) };
}
