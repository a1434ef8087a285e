//! The counter of the processor's cycles, or of a fixed fraction of them.

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod aarch64;
#[cfg(any(miri, not(any(target_arch = "aarch64", target_arch = "x86_64"))))]
mod none;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;

#[cfg(all(target_arch = "aarch64", not(miri)))]
pub(super) use aarch64::{is_steady, read};
#[cfg(any(miri, not(any(target_arch = "aarch64", target_arch = "x86_64"))))]
pub(super) use none::{is_steady, read};
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) use x86_64::{is_steady, read};
