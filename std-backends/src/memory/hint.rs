//! Hints for the processor and the kernel. Only speed depends on them.

#[cfg(all(target_os = "linux", not(miri)))]
mod pages;
#[cfg(any(not(target_os = "linux"), miri))]
#[path = "hint/no_pages.rs"]
mod pages;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod prefetch;
#[cfg(any(not(target_arch = "x86_64"), miri))]
#[path = "hint/no_prefetch.rs"]
mod prefetch;

pub(super) use pages::pages;
pub(super) use prefetch::prefetch;
