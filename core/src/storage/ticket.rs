//! The position of a waiter among those of its key.

/// The position of a waiter in a [`WaitQueue`](super::WaitQueue) or a [`DelayLine`](super::DelayLine).
///
/// ```
/// use traffik::FifoQueue;
/// use traffik::storage::WaitQueue;
///
/// let queue = FifoQueue::new();
/// let (first, second) = (queue.join(&"alice"), queue.join(&"alice"));
/// assert!(first.key == second.key && first.number < second.number);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The name of the key within this queue.
    pub key: u64,
    /// The order of the tickets of a key; smaller numbers are served first.
    pub number: u64,
}
