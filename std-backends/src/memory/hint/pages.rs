//! Large pages, where the kernel gives them on advice.
#![expect(unsafe_code, reason = "no safe interface advises on memory that is not mapped by itself")]

use std::mem::MaybeUninit;

/// From this size on, in bytes, a region is made of large pages: of 2 MiB, so that the first key in one costs
/// at most an eighth of what the table takes when it is full.
///
/// Smaller ones need none, for a processor knows the addresses of 1 500 to 3 000 small pages, which is 6 to
/// 12 MiB. They are kept from them also where the kernel gives large pages unasked: else each of many small
/// tables would take 2 MiB for its first key.
const LARGE: usize = 16 << 20;

/// The size of a large page on most machines; below it there is nothing to advise.
const LARGE_PAGE: usize = 2 << 20;

/// Advises what a region is to be made of. A kernel that cannot goes on with small pages.
pub(in super::super) fn pages<T>(region: &mut [MaybeUninit<T>]) {
    /// What every kernel takes as the boundary of a page, be its pages 4, 16 or 64 KiB.
    const PAGE: usize = 1 << 16;
    let (start, length) = (region.as_mut_ptr(), size_of_val(region));
    let advice = if length >= LARGE { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
    let Some(whole) = length.checked_sub(skipped).map(|rest| rest & !(PAGE - 1)) else { return };
    if whole < LARGE_PAGE {
        return;
    }
    let start = start.wrapping_byte_add(skipped).cast();
    // SAFETY: the range lies in the region, which is borrowed mutably; the advice changes no byte of it. What
    // it answers does not matter: without large pages all is as before, only slower.
    unsafe { libc::madvise(start, whole, advice) };
}
