//! The counter of the processor's cycles, or of a fixed fraction of them.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod none;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::{is_steady, read};
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
pub(super) use none::{is_steady, read};
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{is_steady, read};
