//! The bounds of a strategy: the most it admits, and the least.

use crate::{Decision, Strategy, Timestamp};

/// A strategy's promise of how much passes, which the laws test.
///
/// Implement it for a strategy of your own, to test that strategy with [`laws::every`](crate::laws::every).
///
/// ```
/// use traffik::strategy::Bounds;
/// use traffik::{Timestamp, TokenBucket, rate};
///
/// let (start, later) = (Timestamp::EPOCH, Timestamp::from_micros(1_000_000));
/// assert_eq!(TokenBucket::new(rate!("5/s")).most(start, later), 10); // the burst, and one second's refill
/// ```
pub trait Bounds: Strategy<Cost = u32, Verdict = Decision> {
    /// Whether an admission is a place in a queue.
    ///
    /// Such a place can be taken back only while it is the last one and its turn has not gone by. After that
    /// it may have been used, and a refund may change nothing.
    const QUEUES: bool = false;

    /// Returns the most cost admitted by hits at times from `first` to `last`, both included.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128;

    /// Returns the least cost admitted over the same times to a client that asks for `cost` as soon as it
    /// may.
    ///
    /// The client starts with a fresh key at `first`, and `cost` can pass at all.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128;
}
