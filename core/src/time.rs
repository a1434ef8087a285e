//! Points in time, and where they come from.

mod clock;
#[cfg(feature = "embassy-time")]
mod embassy;
mod manual;
#[cfg(feature = "serde")]
pub(crate) mod micros;
#[cfg(all(not(target_has_atomic = "64"), feature = "critical-section"))]
mod register;
mod timestamp;

pub use clock::{Clock, EpochClock, Timer};
#[cfg(feature = "embassy-time")]
pub use embassy::EmbassyClock;
pub use manual::ManualClock;
pub use timestamp::Timestamp;
pub(crate) use timestamp::{Halves, micros_ceil};
