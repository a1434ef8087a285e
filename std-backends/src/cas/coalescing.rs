//! Operations on the same key at the same time, carried by one load and one swap.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, Reply};
use traffik_core::{Class, ErasedKey, Op, Strategy, Timestamp, debug_fields};

use super::CompareAndSwap;
use super::batch::{Batches, KeyBatch};
use super::drive::drive;
use super::operation::{Abandoned, StrategyOperation};
use crate::util::key::bytes;
use crate::util::race::{Either, race};
use crate::util::shared_future::SharedFuture;

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
///
/// It is a storage by itself, under the bytes of a key, for as long as a call [may take](CompareAndSwap::deadline).
/// A storage with names or deadlines of its own calls [`apply`](Self::apply).
pub struct Coalescing<W: CompareAndSwap> {
    batches: Arc<Batches<W>>,
}

impl<W: CompareAndSwap> Coalescing<W> {
    /// Operations on what this store keeps.
    #[must_use]
    pub fn new(store: Arc<W>) -> Self {
        Self { batches: Batches::new(store) }
    }

    /// Applies an operation to the state at a key. It takes its place now, and is under way once the answer is polled.
    ///
    /// The answer is a future of `Result<S::Verdict, BackendError>`, and waits for as long as the store takes. Two
    /// methods end it sooner:
    ///
    /// * `by(end)` waits until the future `end` completes. An operation without an answer by then fails with
    ///   [`Timeout`](ErrorKind::Timeout) if it was sent, for it may have been charged, else with
    ///   [`Unavailable`](ErrorKind::Unavailable).
    /// * `give_up()` ends it at once, and returns `Abandoned::Unsent` (nothing was charged), `Abandoned::Sent`
    ///   (it may have been charged) or `Abandoned::Answered` with the answer that came at that moment.
    pub fn apply<S: Strategy>(&self, strategy: S, key: Vec<u8>, op: Op<S>) -> PendingOp<W, S> {
        let operation = Arc::new(StrategyOperation::new(strategy, op));
        let (batch, driver, number) =
            self.batches.add(key, operation.clone(), |batch| SharedFuture::new(drive(batch)));
        PendingOp { operation, batch, number, driver }
    }

    /// On how many keys something is under way.
    #[must_use]
    pub fn keys_under_way(&self) -> usize {
        self.batches.len()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<W> {
        &self.batches.store
    }
}

impl<W: CompareAndSwap> Clone for Coalescing<W> {
    fn clone(&self) -> Self {
        Self { batches: self.batches.clone() }
    }
}

debug_fields!(
    [W: CompareAndSwap + Debug] Coalescing<W>:
    store = |it| it.store(), keys_under_way = |it| it.keys_under_way()
);

impl<W: CompareAndSwap, S: Strategy> AsyncStorage<S> for Coalescing<W> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (pending, store) = (self.apply(strategy.clone(), bytes(key), *op), Arc::clone(self.store()));
        Reply::pending(async move { pending.by(store.deadline()).await })
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (strategy, key, store) = (strategy.clone(), bytes(key), Arc::clone(self.store()));
        Reply::pending(async move {
            let late = || BackendError::new(ErrorKind::Unavailable, "no answer in time; nothing was charged");
            let loaded = match race(store.load(&key), store.deadline()).await {
                Either::Left(loaded) => loaded?,
                Either::Right(()) => return Err(late()),
            };
            let state = store.read(&strategy, Class::default(), loaded.bytes.as_deref(), loaded.now);
            Ok((state, loaded.now))
        })
    }
}

/// The answer to an operation, on its way.
#[must_use = "an answer that is not awaited is dropped, and with it the operation"]
pub struct PendingOp<W: CompareAndSwap, S: Strategy> {
    operation: Arc<StrategyOperation<S>>,
    batch: Arc<KeyBatch<W>>,
    number: u64,
    driver: SharedFuture<()>,
}

impl<W: CompareAndSwap, S: Strategy> PendingOp<W, S> {
    /// Waits for the answer until the end of the call. What has none by then fails with [`Timeout`](ErrorKind::Timeout) if
    /// it had been sent, for it may have been charged, else with [`Unavailable`](ErrorKind::Unavailable).
    pub async fn by(mut self, end: impl Future<Output = ()>) -> Result<S::Verdict, BackendError> {
        if let Either::Left(answer) = race(&mut self, end).await {
            return answer;
        }
        let late = |kind, outcome| BackendError::new(kind, format!("no answer in time; {outcome}"));
        match self.give_up() {
            Abandoned::Answered(answer) => answer,
            Abandoned::Sent => Err(late(ErrorKind::Timeout, "the hit may have been charged")),
            Abandoned::Unsent => Err(late(ErrorKind::Unavailable, "nothing was charged")),
        }
    }

    /// Waits no longer, as after a deadline, and tells what became of the operation.
    pub fn give_up(self) -> Abandoned<S::Verdict> {
        match (self.operation.abandon(), self.driver.peek()) {
            (Abandoned::Unsent | Abandoned::Sent, Some(Err(panicked))) => {
                Abandoned::Answered(Err(panicked.clone()))
            }
            (abandoned, _) => abandoned,
        }
    }
}

impl<W: CompareAndSwap, S: Strategy> Future for PendingOp<W, S> {
    type Output = Result<S::Verdict, BackendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { operation, driver, .. } = &mut *self;
        if let Poll::Ready(answer) = operation.poll(context.waker()) {
            return Poll::Ready(answer);
        }
        if let Poll::Ready(Err(panicked)) = Pin::new(driver).poll(context) {
            return Poll::Ready(match operation.abandon() {
                Abandoned::Answered(answer) => answer,
                Abandoned::Unsent | Abandoned::Sent => Err(panicked),
            });
        }
        operation.poll(context.waker())
    }
}

impl<W: CompareAndSwap, S: Strategy> Drop for PendingOp<W, S> {
    fn drop(&mut self) {
        let _ = self.operation.abandon();
        self.batch.remove(self.number);
    }
}

debug_fields!([W: CompareAndSwap, S: Strategy] PendingOp<W, S>: number);
