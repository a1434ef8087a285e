//! The queues of those who wait until they are admitted, in the memory of this process.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use traffik_core::storage::{Ticket, WaitQueue};
use traffik_core::{ErasedKey, Key, debug_fields};

use crate::util::mutex::lock;

/// The queue of those who wait in [`until_ready`](traffik_core::Limiter::until_ready): first come, first
/// served, for each key.
///
/// Choose it for a storage of your own whose waiters are to be served fairly; the storages of this crate have
/// one. It keeps one ticket for each future that waits. Keys are told apart by a hash that is keyed at
/// random: two keys that collide would wait for each other.
///
/// ```
/// use traffik_backends::FifoQueue;
/// use traffik_core::storage::WaitQueue;
///
/// struct Mine {
///     queue: FifoQueue,
///     // and the states
/// }
///
/// impl Mine {
///     // Of `Storage` and of `AsyncStorage`.
///     fn wait_queue(&self) -> Option<&dyn WaitQueue> {
///         Some(&self.queue)
///     }
/// }
/// # assert!(Mine { queue: FifoQueue::new() }.wait_queue().is_some_and(|queue| queue.is_empty(&"alice")));
/// ```
#[derive(Default)]
pub struct FifoQueue {
    hasher: RandomState,
    /// The number of tickets that are held, so that nobody takes the lock to learn that there are none.
    waiting: AtomicUsize,
    tickets: Mutex<Tickets>,
}

#[derive(Default)]
struct Tickets {
    drawn: u64,
    /// By key, and in the order of their numbers.
    held: BTreeMap<Ticket, Option<Waker>>,
}

impl FifoQueue {
    /// Creates a queue in which nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many wait now, over all keys.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn digest(&self, key: &dyn ErasedKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        key.feed(&mut |bytes: &[u8]| hasher.write(bytes));
        hasher.finish()
    }
}

impl WaitQueue for FifoQueue {
    fn is_empty(&self, key: &dyn ErasedKey) -> bool {
        self.waiting() == 0 || lock(&self.tickets).first(self.digest(key)).is_none()
    }

    fn join(&self, key: &dyn ErasedKey) -> Ticket {
        let key = self.digest(key);
        let mut tickets = lock(&self.tickets);
        let ticket = Ticket { key, number: tickets.drawn };
        tickets.drawn += 1;
        tickets.held.insert(ticket, None);
        self.waiting.store(tickets.held.len(), Ordering::Relaxed);
        ticket
    }

    fn poll_turn(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<()> {
        let mut tickets = lock(&self.tickets);
        let is_first = tickets.first(ticket.key) == Some(ticket);
        let waker = match tickets.held.get_mut(&ticket) {
            Some(waker) if !is_first => waker,
            _ => return Poll::Ready(()),
        };
        let before = match waker {
            Some(waker) if waker.will_wake(context.waker()) => None,
            waker => waker.replace(context.waker().clone()),
        };
        // To drop a waker can drop a task, which gives its ticket back.
        drop(tickets);
        drop(before);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let mut tickets = lock(&self.tickets);
        let left = tickets.held.remove(&ticket);
        self.waiting.store(tickets.held.len(), Ordering::Relaxed);
        // The first keeps no waker once it was woken, so a ticket given back further behind wakes nobody.
        let next = tickets.held.range_mut(tickets_of(ticket.key)).next().and_then(|(_, waker)| waker.take());
        // To drop or wake a task can give another ticket back.
        drop(tickets);
        drop(left);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl Tickets {
    fn first(&self, key: u64) -> Option<Ticket> {
        self.held.range(tickets_of(key)).next().map(|(ticket, _)| *ticket)
    }
}

/// All tickets of a key.
fn tickets_of(key: u64) -> RangeInclusive<Ticket> {
    Ticket { key, number: 0 }..=Ticket { key, number: u64::MAX }
}

debug_fields!([] FifoQueue: waiting);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_turn(queue: &FifoQueue, ticket: Ticket, counted: &Arc<Counted>) -> bool {
        let waker = Waker::from(Arc::clone(counted));
        queue.poll_turn(ticket, &mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn the_first_of_each_key_has_its_turn_and_only_the_next_is_woken() {
        let (queue, woken) = (FifoQueue::new(), [(); 5].map(|()| Arc::<Counted>::default()));
        let tickets = ["a", "b", "a", "a", "a"].map(|key| queue.join(&key));
        let turns = || [0, 1, 2, 3, 4].map(|who| is_turn(&queue, tickets[who], &woken[who]));
        let wakes = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        assert_eq!(turns(), [true, true, false, false, false]);
        // A ticket given back further behind wakes nobody; the first's wakes the next one.
        queue.leave(tickets[2]);
        assert_eq!((wakes(), queue.waiting()), ([0, 0, 0, 0, 0], 4));
        queue.leave(tickets[0]);
        assert_eq!(wakes(), [0, 0, 0, 1, 0]);
        // Until that comes nobody passes it by, and it is not woken again.
        queue.leave(tickets[0]);
        assert!(!is_turn(&queue, tickets[4], &woken[4]) && is_turn(&queue, tickets[3], &woken[3]));
        assert_eq!(wakes(), [0, 0, 0, 1, 0]);
        // A next one that has not asked for its turn yet finds it.
        let last = queue.join(&"b");
        queue.leave(tickets[1]);
        assert!(is_turn(&queue, last, &woken[1]));
        for ticket in [tickets[3], tickets[4], last] {
            queue.leave(ticket);
        }
        assert_eq!((wakes(), queue.waiting()), ([0, 0, 0, 1, 1], 0));
        assert!(queue.is_empty(&"a") && queue.is_empty(&"b"));
    }

    #[test]
    fn the_last_waker_is_woken() {
        let (queue, woken) = (FifoQueue::new(), [(); 2].map(|()| Arc::<Counted>::default()));
        let (first, second) = (queue.join(&"a"), queue.join(&"a"));
        assert!(woken.iter().all(|woken| !is_turn(&queue, second, woken)));
        queue.leave(first);
        assert_eq!(woken.map(|woken| woken.0.load(Ordering::Relaxed)), [0, 1]);
    }
}
