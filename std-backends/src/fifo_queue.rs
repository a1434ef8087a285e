//! The queues of waiters and of delayed hits, in the memory of this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use traffik_core::storage::{DelayLine, DelayTurn, Ticket, WaitQueue};
use traffik_core::{ErasedKey, Receipt, Seed, debug_fields};

use crate::util::mutex::lock;
use crate::util::random::random;

mod line;
mod tickets;

use line::Turns;
use tickets::tickets_of;

/// A first-come, first-served queue for each key, for [`until_ready`](traffik_core::Limiter::until_ready).
///
/// Choose it for a storage of your own whose waiters should be served fairly. The storages of traffik have
/// one.
///
/// * It also keeps the turns of hits that were admitted with a delay, by `until_ready`, an HTTP throttle or
///   a WebSocket. If a hit gives up its turn, the hits behind it move up.
/// * It holds one ticket or turn for each waiting future. Beside these it holds only turns that were given up
///   and are not over or returned to the storage yet.
/// * It identifies keys by a hash with a random key. Two keys that collide wait for each other.
///
/// ```
/// use traffik::FifoQueue;
/// use traffik::storage::WaitQueue;
///
/// struct MyStorage {
///     queue: FifoQueue,
///     // and the states
/// }
///
/// impl MyStorage {
///     // A method of `Storage` and of `AsyncStorage`.
///     fn wait_queue(&self) -> Option<&dyn WaitQueue> {
///         Some(&self.queue)
///     }
/// }
///
/// let storage = MyStorage { queue: FifoQueue::new() };
/// assert!(storage.wait_queue().is_some_and(|queue| queue.is_empty(&"alice")));
/// ```
pub struct FifoQueue {
    seed: Seed,
    /// The most waiters for one key.
    max: usize,
    /// The number of tickets, readable without the lock. Written under the lock only.
    waiting: AtomicUsize,
    /// Boxed, like `turns`, so that moving a storage with its queue copies little.
    tickets: Box<Mutex<Tickets>>,
    turns: Box<Mutex<Turns>>,
}

/// The tickets of all keys.
#[derive(Default)]
struct Tickets {
    drawn: u64,
    /// The waiters by key, and by the order of their tickets.
    held: BTreeMap<Ticket, QueuedWaiter>,
}

/// A waiting hit, and its cost.
struct QueuedWaiter {
    waker: Option<Waker>,
    cost: u32,
}

impl FifoQueue {
    /// Creates an empty queue.
    #[must_use]
    pub fn new() -> Self {
        let (seed, waiting) = (Seed::new(random()), AtomicUsize::new(0));
        let (tickets, turns) = Default::default();
        Self { seed, max: usize::MAX, waiting, tickets, turns }
    }

    /// Returns the number of waiters, over all keys.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Limits the queue to `max` waiters for each key. Defaults to no bound. Beyond it,
    /// [`until_ready`](traffik_core::Limiter::until_ready) fails at once with
    /// [`WaitError::TooLong`](traffik_core::WaitError::TooLong), which holds the wait it would have taken.
    ///
    /// The bound holds for hits that the storage denied. The strategy itself bounds the hits that it admits
    /// with a delay, as by [`LeakyBucketQueue::queue`](traffik_core::LeakyBucketQueue::queue).
    #[must_use]
    pub fn with_max(self, max: usize) -> Self {
        Self { max, ..self }
    }

    fn draw(&self, mut tickets: MutexGuard<'_, Tickets>, key: u64, cost: u32) -> Ticket {
        let ticket = Ticket { key, number: tickets.drawn };
        tickets.drawn += 1;
        tickets.held.insert(ticket, QueuedWaiter { waker: None, cost });
        self.waiting.store(tickets.held.len(), Ordering::Relaxed);
        ticket
    }

    fn digest(&self, key: &dyn ErasedKey) -> u64 {
        self.seed.digest(key).as_u64()
    }
}

impl WaitQueue for FifoQueue {
    fn is_empty(&self, key: &dyn ErasedKey) -> bool {
        self.waiting() == 0 || lock(&self.tickets).first(self.digest(key)).is_none()
    }

    fn join(&self, key: &dyn ErasedKey) -> Ticket {
        self.draw(lock(&self.tickets), self.digest(key), 1)
    }

    fn try_join(&self, key: &dyn ErasedKey, cost: u32) -> Result<Ticket, Ticket> {
        let (key, tickets) = (self.digest(key), lock(&self.tickets));
        // A full line returns a ticket behind all others, for the wait it would have had.
        if tickets.held.range(tickets_of(key)).take(self.max).count() >= self.max {
            return Err(*tickets_of(key).end());
        }
        Ok(self.draw(tickets, key, cost))
    }

    fn ahead(&self, ticket: Ticket, visit: &mut dyn FnMut(u32)) {
        let first = *tickets_of(ticket.key).start();
        lock(&self.tickets).held.range(first..ticket).for_each(|(_, waiter)| visit(waiter.cost));
    }

    fn poll_turn(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<()> {
        let mut tickets = lock(&self.tickets);
        let is_first = tickets.first(ticket.key) == Some(ticket);
        let waker = match tickets.held.get_mut(&ticket) {
            Some(waiter) if !is_first => &mut waiter.waker,
            _ => return Poll::Ready(()),
        };
        let before = match waker {
            Some(waker) if waker.will_wake(context.waker()) => None,
            waker => waker.replace(context.waker().clone()),
        };
        // Outside the lock: dropping a waker can drop a task, which gives its ticket back.
        drop(tickets);
        drop(before);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let mut tickets = lock(&self.tickets);
        let left = tickets.held.remove(&ticket);
        self.waiting.store(tickets.held.len(), Ordering::Relaxed);
        // The first waiter's waker is taken when it is woken, so a ticket given back further behind wakes
        // nobody.
        let next = tickets.held.range_mut(tickets_of(ticket.key)).next().and_then(|(_, it)| it.waker.take());
        // Outside the lock: dropping or waking a task can give another ticket back.
        drop(tickets);
        drop(left);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    fn line(&self) -> Option<&dyn DelayLine> {
        Some(self)
    }
}

impl DelayLine for FifoQueue {
    fn enter(
        &self,
        key: &dyn ErasedKey,
        turn: &DelayTurn,
        receipts: &dyn Fn(&mut dyn FnMut(Receipt)),
    ) -> Ticket {
        let mut charged = Vec::with_capacity(1);
        receipts(&mut |receipt| charged.push(receipt));
        let (ticket, moved) = lock(&self.turns).enter(self.digest(key), *turn, charged);
        moved.wake();
        ticket
    }

    fn poll_sooner(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Duration> {
        // Dropped after the lock, since it may drop a task.
        let (sooner, _waker) = lock(&self.turns).poll_sooner(ticket, context);
        sooner
    }

    fn depart(&self, ticket: Ticket, used: &mut dyn FnMut(&mut dyn FnMut() -> Receipt)) {
        let left = lock(&self.turns).depart(ticket);
        if let Some((receipts, _waker)) = left {
            one_by_one(&receipts, used);
        }
    }

    fn give_up(&self, ticket: Ticket, is_over: bool) {
        let (_waker, moved) = lock(&self.turns).give_up(ticket, is_over);
        moved.wake();
    }

    fn surplus(&self, key: u64, refund: &mut dyn FnMut(&mut dyn FnMut() -> Receipt)) -> Option<DelayTurn> {
        let surplus = lock(&self.turns).surplus(key);
        surplus.map(|(turn, receipts)| {
            one_by_one(&receipts, refund);
            turn
        })
    }

    fn settle(&self, key: u64, is_kept: bool) {
        let moved = lock(&self.turns).settle(key, is_kept);
        moved.wake();
    }
}

/// Calls `show` with a function that returns one receipt after another.
fn one_by_one(receipts: &[Receipt], show: &mut dyn FnMut(&mut dyn FnMut() -> Receipt)) {
    let mut receipts = receipts.iter().copied();
    show(&mut || receipts.next().unwrap_or_default());
}

impl Tickets {
    fn first(&self, key: u64) -> Option<Ticket> {
        self.held.range(tickets_of(key)).next().map(|(ticket, _)| *ticket)
    }
}

impl Default for FifoQueue {
    fn default() -> Self {
        Self::new()
    }
}

debug_fields!([] FifoQueue: waiting);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_turn(queue: &FifoQueue, ticket: Ticket, counted: &Arc<CountingWaker>) -> bool {
        let waker = Waker::from(Arc::clone(counted));
        queue.poll_turn(ticket, &mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn the_first_of_each_key_has_its_turn_and_only_the_next_is_woken() {
        let (queue, woken) = (FifoQueue::new(), [(); 5].map(|()| Arc::<CountingWaker>::default()));
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
        let (queue, woken) = (FifoQueue::new(), [(); 2].map(|()| Arc::<CountingWaker>::default()));
        let (first, second) = (queue.join(&"a"), queue.join(&"a"));
        assert!(woken.iter().all(|woken| !is_turn(&queue, second, woken)));
        queue.leave(first);
        assert_eq!(woken.map(|woken| woken.0.load(Ordering::Relaxed)), [0, 1]);
    }
}
