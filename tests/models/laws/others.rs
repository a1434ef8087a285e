//! Tables of other limiters' tests, and limiters of others beside ours: where all decide alike, and where
//! ours differs, why.

mod bucket4j;
mod golang;
mod governor;
mod nginx;
mod python_limits;
mod redis_cell;

use traffik::Timestamp;

/// A time so many milliseconds after a start.
fn millis(millis: u64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + millis * 1_000)
}
