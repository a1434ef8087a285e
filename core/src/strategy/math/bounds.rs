//! What a strategy promises: the most it admits, and the least.

use crate::{Decision, Strategy, Timestamp};

/// A strategy's own statement of how much passes, against which the laws hold it.
pub trait Bounds: Strategy<Cost = u32, Verdict = Decision> {
    /// Whether an admission is a place in a queue. Such a place can be taken back while it is the last one and
    /// its turn has not gone by; after that it may have been used, and a refund may come to nothing.
    const QUEUES: bool = false;

    /// The most cost admitted by hits at times from `first` to `last`, both included.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128;

    /// The least cost admitted over the same times to a client that, starting fresh at `first`, asks for
    /// `cost` again as soon as it may, provided that `cost` can pass at all.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128;
}
