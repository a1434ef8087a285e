//! Operations on the same key at the same time, carried by one load and one swap.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::{Op, Strategy};

use super::Swap;
use super::lane::Lane;
use super::operation::{Left, Task};
use crate::util::race::{Either, race};

/// Applies operations to what a store keeps: those on one key that are under way at a time together.
///
/// * Whole operations are carried, each with its own limit, strategy, cost and class. They are run one by one, in the
///   order in which they came, on one loaded state at one time; what they leave is swapped in at once. Each is answered
///   for itself.
/// * Nothing is loaded before an operation came that its verdict rests on.
/// * A failure reaches all that were carried together.
/// * If others changed the key meanwhile, all is tried again: at once, then after longer and longer waits, and after 32
///   attempts given up as [`Contended`](traffik_core::ErrorKind::Contended).
/// * An answer that is dropped takes its operation with it if that has not been sent; else it counts as charged, like
///   everything that is on its way. Whoever else waits for the key goes on.
/// * A strategy that panics does so where it is waited for. Nothing was charged then, and nobody else notices.
///
/// It keeps nothing but what is under way. Clones carry together.
pub struct Combining<W: Swap> {
    lanes: Arc<Lanes<W>>,
}

pub(super) struct Lanes<W: Swap> {
    pub(super) store: Arc<W>,
    open: Mutex<HashMap<Vec<u8>, Arc<Lane<W>>>>,
}

impl<W: Swap> Lanes<W> {
    pub(super) fn open(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Lane<W>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Swap> Combining<W> {
    /// Operations on what this store keeps.
    #[must_use]
    pub fn new(store: Arc<W>) -> Self {
        Self { lanes: Arc::new(Lanes { store, open: Mutex::default() }) }
    }

    /// Applies an operation to the state at a key. It takes its place now, and is under way once the answer is polled.
    pub fn apply<S: Strategy>(&self, limit: S, key: Vec<u8>, op: Op<S>) -> Pending<W, S> {
        let task = Arc::new(Task::new(limit, op));
        let mut open = self.lanes.open();
        let lane = open.get(&key).cloned();
        let lane = lane.unwrap_or_else(|| {
            let lane = Lane::new(self.lanes.clone(), key.clone());
            open.insert(key, lane.clone());
            lane
        });
        let number = lane.add(task.clone());
        drop(open);
        Pending { lane, number, task }
    }

    /// On how many keys something is under way.
    #[must_use]
    pub fn keys_under_way(&self) -> usize {
        self.lanes.open().len()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<W> {
        &self.lanes.store
    }
}

impl<W: Swap> Clone for Combining<W> {
    fn clone(&self) -> Self {
        Self { lanes: self.lanes.clone() }
    }
}

impl<W: Swap + fmt::Debug> fmt::Debug for Combining<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Combining")
            .field("store", &self.lanes.store)
            .field("keys_under_way", &self.keys_under_way())
            .finish()
    }
}

/// The answer to an operation, on its way.
#[must_use = "an answer that is not awaited is dropped, and with it the operation"]
pub struct Pending<W: Swap, S: Strategy> {
    lane: Arc<Lane<W>>,
    number: u64,
    task: Arc<Task<S>>,
}

/// How far an operation had got when it was given up.
#[derive(Clone, Debug)]
pub enum GivenUp<V> {
    /// It had not been sent, and is not going to be: nothing was charged.
    Unsent,
    /// It had been sent: it may have been charged.
    Sent,
    /// It was answered at that very moment.
    Answered(Result<V, Failure>),
}

impl<W: Swap, S: Strategy> Pending<W, S> {
    /// Waits for the answer until the end of the call. What has none by then fails with [`Timeout`](ErrorKind::Timeout) if
    /// it had been sent, for it may have been charged, else with [`Unavailable`](ErrorKind::Unavailable).
    pub async fn by(mut self, end: impl Future<Output = ()>) -> Result<S::Verdict, Failure> {
        if let Either::First(answer) = race(&mut self, end).await {
            return answer;
        }
        let late = |kind, outcome| Failure::new(kind, format!("no answer in time; {outcome}"));
        match self.give_up() {
            GivenUp::Answered(answer) => answer,
            GivenUp::Sent => Err(late(ErrorKind::Timeout, "the hit may have been charged")),
            GivenUp::Unsent => Err(late(ErrorKind::Unavailable, "nothing was charged")),
        }
    }

    /// Waits no longer, as after a deadline, and tells what became of the operation.
    pub fn give_up(self) -> GivenUp<S::Verdict> {
        match self.task.leave() {
            Left::Unsent => GivenUp::Unsent,
            Left::Sent => GivenUp::Sent,
            Left::Done(answer) => GivenUp::Answered(answer),
        }
    }
}

impl<W: Swap, S: Strategy> Future for Pending<W, S> {
    type Output = Result<S::Verdict, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.task.poll(context.waker()) {
            Poll::Pending => self.lane.carry_on(),
            answered => return answered,
        }
        self.task.poll(context.waker())
    }
}

impl<W: Swap, S: Strategy> Drop for Pending<W, S> {
    fn drop(&mut self) {
        let _ = self.task.leave();
        self.lane.remove(self.number);
    }
}

impl<W: Swap, S: Strategy> fmt::Debug for Pending<W, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("number", &self.number).finish_non_exhaustive()
    }
}
