//! A position among those who wait for a key.

/// A position in a [`WaitQueue`](super::WaitQueue) or a [`WaitQueue`](super::WaitQueue).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Names the key within this queue.
    pub key: u64,
    /// Orders the tickets of a key; smaller numbers are served first.
    pub number: u64,
}
