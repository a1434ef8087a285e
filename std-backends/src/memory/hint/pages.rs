//! The hint on pages of Linux.
#![expect(unsafe_code, reason = "no safe interface advises on memory that is not mapped by itself")]

use std::mem::MaybeUninit;

/// The least size, in bytes, of a region with large pages of 2 MiB. The first key in such a page costs at
/// most an eighth of the full table.
///
/// Smaller regions need none: a processor caches the addresses of 1 500 to 3 000 small pages, which is 6 to
/// 12 MiB. For them this module advises against large pages, since some kernels use those unasked. Otherwise
/// each of many small tables would take 2 MiB for its first key.
const LARGE: usize = 16 << 20;

/// The size of a large page on most machines. A smaller region gets no advice.
const LARGE_PAGE: usize = 2 << 20;

/// Advises the kernel on the pages of a region. A kernel that cannot follow uses small pages.
pub(in super::super) fn pages<T>(region: &mut [MaybeUninit<T>]) {
    /// A boundary of pages for every kernel, whose pages have 4, 16 or 64 KiB.
    const PAGE: usize = 1 << 16;
    let (start, length) = (region.as_mut_ptr(), size_of_val(region));
    let advice = if length >= LARGE { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
    let Some(whole) = length.checked_sub(skipped).map(|rest| rest & !(PAGE - 1)) else { return };
    if whole < LARGE_PAGE {
        return;
    }
    let start = start.wrapping_byte_add(skipped).cast();
    // SAFETY: the range lies in the region, which is borrowed mutably; the advice changes no byte of it. The
    // result does not matter: without large pages the table is only slower.
    unsafe { libc::madvise(start, whole, advice) };
}
