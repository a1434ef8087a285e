//! The queue of waiters for a storage of firmware: room for a fixed number of them, without a heap.

use core::cell::RefCell;
use core::task::{Context, Poll, Waker};

use critical_section::Mutex;

use super::access::Naming;
use super::{Ticket, WaitQueue};
use crate::ErasedKey;

/// A queue with room for `N` waiters, over all keys, in the order in which they came for each key.
///
/// Nothing is woken or dropped within a critical section: either can drop a task, which leaves the queue.
/// [`Shared`](crate::Shared) uses it:
///
/// ```
/// # #[cfg(feature = "critical-section")] {
/// use traffik::{Fixed, Gcra, ManualClock, Shared, Storage};
///
/// let storage = Fixed::<Gcra, _, 8, Shared<4>>::shared(ManualClock::default(), 1);
/// assert!(Storage::<Gcra>::wait_queue(&storage).is_some());
/// # }
/// ```
#[derive(Debug)]
pub struct Queue<K, const N: usize>(Mutex<RefCell<Waiters<K, N>>>);

#[derive(Debug)]
struct Waiters<K, const N: usize> {
    names: K,
    /// The number of the next ticket.
    next: u64,
    /// The waiters in no order; their tickets have one.
    places: [Option<Waiter>; N],
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    cost: u32,
    /// The waker of a task that is not the first of its key.
    waker: Option<Waker>,
}

impl<K: Naming, const N: usize> Queue<K, N> {
    pub(super) const fn new(names: K) -> Self {
        Self(Mutex::new(RefCell::new(Waiters { names, next: 0, places: [const { None }; N] })))
    }

    pub(super) fn rename(&self, names: K) {
        self.with((), |waiters| waiters.names = names);
    }

    /// Runs a function on the waiters.
    ///
    /// Returns `busy` if the caller itself is using them, as only a waker that calls back while it is cloned
    /// could.
    fn with<R>(&self, busy: R, run: impl FnOnce(&mut Waiters<K, N>) -> R) -> R {
        critical_section::with(|section| match self.0.borrow(section).try_borrow_mut() {
            Ok(mut waiters) => run(&mut waiters),
            Err(_) => busy,
        })
    }

    /// Returns the name of a key; `None` if nobody waits for any key, so that it need not be hashed.
    fn name_if_used(&self, key: &dyn ErasedKey) -> Option<u64> {
        let is_used = |waiters: &mut Waiters<K, N>| {
            waiters.places.iter().any(Option::is_some).then(|| waiters.names.clone())
        };
        self.with(None, is_used).map(|names| names.name(key))
    }

    fn name(&self, key: &dyn ErasedKey) -> u64 {
        self.with(None, |waiters| Some(waiters.names.clone())).map_or(0, |names| names.name(key))
    }
}

impl<K, const N: usize> Waiters<K, N> {
    /// Iterates over the waiters for a key, in no order.
    fn of(&mut self, key: u64) -> impl Iterator<Item = &mut Waiter> {
        self.places.iter_mut().flatten().filter(move |waiter| waiter.ticket.key == key)
    }

    fn first(&mut self, key: u64) -> Option<&mut Waiter> {
        self.of(key).min_by_key(|waiter| waiter.ticket.number)
    }
}

impl<K: Naming, const N: usize> WaitQueue for Queue<K, N> {
    fn is_empty(&self, key: &dyn ErasedKey) -> bool {
        let name = self.name_if_used(key);
        name.is_none_or(|name| self.with(true, |waiters| waiters.of(name).next().is_none()))
    }

    /// Draws a ticket that is served at once if there is no room.
    fn join(&self, key: &dyn ErasedKey) -> Ticket {
        self.try_join(key, 1).unwrap_or_else(|ticket| ticket)
    }

    fn try_join(&self, key: &dyn ErasedKey, cost: u32) -> Result<Ticket, Ticket> {
        // The key is hashed before the section, whose length then does not depend on the key.
        let key = self.name(key);
        self.with(Err(Ticket { key, number: u64::MAX }), |waiters| {
            let ticket = Ticket { key, number: waiters.next };
            let free = waiters.places.iter_mut().find(|place| place.is_none()).ok_or(ticket)?;
            *free = Some(Waiter { ticket, cost, waker: None });
            // 64 bits: the number never wraps, so the order of tickets is that of arrival.
            waiters.next += 1;
            Ok(ticket)
        })
    }

    fn ahead(&self, ticket: Ticket, visit: &mut dyn FnMut(u32)) {
        let mut after = None;
        // One at a time, so that `visit` does not run within the critical section.
        while let Some((number, cost)) = self.with(None, |waiters| {
            let later = |number: u64| after.is_none_or(|after| number > after) && number < ticket.number;
            let ahead = waiters.of(ticket.key).filter(|waiter| later(waiter.ticket.number));
            ahead.min_by_key(|it| it.ticket.number).map(|it| (it.ticket.number, it.cost))
        }) {
            visit(cost);
            after = Some(number);
        }
    }

    fn poll_turn(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<()> {
        // The old waker is dropped outside of the section, since dropping it may drop a task.
        let (turn, _waker) = self.with((Poll::Ready(()), None), |waiters| {
            let is_first = waiters.first(ticket.key).is_some_and(|first| first.ticket == ticket);
            match waiters.of(ticket.key).find(|waiter| waiter.ticket == ticket) {
                Some(waiter) if !is_first => match &mut waiter.waker {
                    Some(waker) if waker.will_wake(context.waker()) => (Poll::Pending, None),
                    waker => (Poll::Pending, waker.replace(context.waker().clone())),
                },
                _ => (Poll::Ready(()), None),
            }
        });
        turn
    }

    fn leave(&self, ticket: Ticket) {
        let (_left, next) = self.with((None, None), |waiters| {
            let is_left = |place: &&mut Option<Waiter>| place.as_ref().is_some_and(|it| it.ticket == ticket);
            let left = waiters.places.iter_mut().find(is_left).and_then(Option::take);
            // Invariant: the first keeps no waker once it was woken, so a ticket behind it wakes nobody.
            (left, waiters.first(ticket.key).and_then(|next| next.waker.take()))
        });
        if let Some(waker) = next {
            waker.wake();
        }
    }
}
