//! What the processor and the kernel are told ahead of time. Nothing but speed depends on it.

#[cfg(target_os = "linux")]
mod pages;
#[cfg(not(target_os = "linux"))]
#[path = "hint/no_pages.rs"]
mod pages;
#[cfg(target_arch = "x86_64")]
mod prefetch;
#[cfg(not(target_arch = "x86_64"))]
#[path = "hint/no_prefetch.rs"]
mod prefetch;

pub(super) use pages::large_pages;
pub(super) use prefetch::prefetch;
