//! The clocks of the operating system.

mod coarse;
mod counter;
mod monotonic;
mod source;
mod system;
#[cfg(test)]
mod tests;
#[cfg(target_family = "wasm")]
#[path = "clock/exact_tick.rs"]
mod tick;
#[cfg(not(target_family = "wasm"))]
mod tick;

pub use coarse::CoarseClock;
pub use monotonic::MonotonicClock;
pub use system::SystemClock;
