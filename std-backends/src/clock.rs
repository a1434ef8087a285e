//! The clocks of the operating system.

mod coarse;
mod counter;
mod monotonic;
mod source;
mod system;
#[cfg(test)]
mod tests;
mod tick;

pub use coarse::CoarseClock;
pub use monotonic::MonotonicClock;
pub use system::SystemClock;
