//! The time of the kernel's last tick, or the exact time where no cheaper clock exists.

#[cfg(not(target_family = "wasm"))]
use coarsetime::Instant;

#[cfg(target_family = "wasm")]
use super::source::{Instant, micros};

/// A moment, by the kernel's tick; exact in WebAssembly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick(Instant);

impl Tick {
    #[inline]
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    #[inline]
    pub(super) fn micros_since(self, earlier: Self) -> u64 {
        let elapsed = self.0.duration_since(earlier.0);
        #[cfg(not(target_family = "wasm"))]
        let elapsed = elapsed.as_micros();
        #[cfg(target_family = "wasm")]
        let elapsed = micros(elapsed);
        elapsed
    }
}
