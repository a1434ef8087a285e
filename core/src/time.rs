//! Points in time, clocks and timers.

mod clock;
#[cfg(any(feature = "critical-section", feature = "embassy-time"))]
mod conversion;
#[cfg(feature = "embassy-time")]
mod embassy;
mod manual;
#[cfg(feature = "serde")]
pub(crate) mod micros;
#[cfg(feature = "critical-section")]
mod section_cell;
#[cfg(feature = "critical-section")]
mod settable;
#[cfg(feature = "critical-section")]
mod tick;
mod timestamp;

pub use clock::{Clock, EpochClock, Timer};
#[cfg(feature = "embassy-time")]
pub use embassy::EmbassyClock;
pub use manual::ManualClock;
#[cfg(feature = "critical-section")]
pub use settable::SettableClock;
#[cfg(feature = "critical-section")]
pub use tick::TickClock;
pub use timestamp::Timestamp;
pub(crate) use timestamp::{Halves, micros_ceil};
