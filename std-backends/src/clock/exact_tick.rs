//! The time where no cheaper clock is to be had than an exact one.

use super::source::{Instant, micros};

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick(Instant);

impl Tick {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    pub(super) fn micros_since(self, earlier: Self) -> u64 {
        micros(self.0.duration_since(earlier.0))
    }
}
