//! The time of the kernel's last tick.

use coarsetime::Instant;

/// A moment, as exact as the kernel's tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick(Instant);

impl Tick {
    #[inline]
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    #[inline]
    pub(super) fn micros_since(self, earlier: Self) -> u64 {
        self.0.duration_since(earlier.0).as_micros()
    }
}
