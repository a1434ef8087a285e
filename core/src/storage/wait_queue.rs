//! The queues of waiters for admission, one for each key.

use core::task::{Context, Poll};

use super::{DelayLine, Ticket};
use crate::ErasedKey;

/// A queue of waiters for each key, which makes [`Limiter::until_ready`](crate::Limiter::until_ready) fair.
///
/// Implement it where `FifoQueue` of the crate `traffik` cannot be used. A storage holds it, and returns it
/// from [`Storage::wait_queue`](super::Storage::wait_queue), the same one on every call.
///
/// * Tickets of a key MUST be served in the order in which they were drawn, each until its holder leaves.
/// * The holder of a ticket that becomes the first of its key MUST be woken, and nobody else.
/// * A queue MUST keep nothing of a key for which nobody waits.
///
/// ```
/// use core::task::{Context, Waker};
/// use traffik::FifoQueue;
/// use traffik::storage::WaitQueue;
///
/// let (queue, mut context) = (FifoQueue::new(), Context::from_waker(Waker::noop()));
/// let (first, second) = (queue.join(&"alice"), queue.join(&"alice"));
/// assert!(queue.poll_turn(first, &mut context).is_ready());
/// assert!(queue.poll_turn(second, &mut context).is_pending());
/// queue.leave(first);
/// assert!(queue.poll_turn(second, &mut context).is_ready());
/// ```
pub trait WaitQueue: Send + Sync {
    /// Reports whether nobody waits for a key.
    fn is_empty(&self, key: &dyn ErasedKey) -> bool;

    /// Draws a ticket, the last one of its key.
    fn join(&self, key: &dyn ErasedKey) -> Ticket;

    /// Draws a ticket for a hit of this cost, unless the queue of its key is full.
    ///
    /// Defaults to [`join`](Self::join), which is never full.
    ///
    /// # Errors
    ///
    /// Fails with the ticket that it would have been, if the queue is full.
    fn try_join(&self, key: &dyn ErasedKey, cost: u32) -> Result<Ticket, Ticket> {
        let _ = cost;
        Ok(self.join(key))
    }

    /// Calls `visit` with the costs of those in front of a ticket, as far as the queue knows them.
    ///
    /// Defaults to none.
    fn ahead(&self, ticket: Ticket, visit: &mut dyn FnMut(u32)) {
        let _ = (ticket, visit);
    }

    /// Waits until a ticket is the first of its key, and keeps the waker meanwhile.
    ///
    /// Returns `Ready` at once for a ticket that was given back.
    fn poll_turn(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<()>;

    /// Gives a ticket back, and wakes the holder of the next one if it was the first of its key.
    ///
    /// Does nothing for a ticket that was given back.
    fn leave(&self, ticket: Ticket);

    /// Returns the lines of the hits that were admitted with a delay.
    ///
    /// Defaults to `None`: nobody moves up when another one gives up.
    fn line(&self) -> Option<&dyn DelayLine> {
        None
    }
}
