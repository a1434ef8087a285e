//! Concurrent operations on one key, run with one load and one swap.

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

/// An executor that runs the concurrent operations on each key with one load and one swap.
///
/// Choose it to make a storage of a [`CompareAndSwap`] store.
///
/// * It runs whole operations, each with its own strategy, cost and class. They run one by one, in the
///   order of their arrival, on one loaded state at one time. One swap stores the result. Each operation
///   has its own answer.
/// * An operation never rests on a load from before the operation arrived.
/// * A failure reaches all operations of the same attempt.
/// * If other processes changed the key meanwhile, all operations run again: at once after the first two
///   lost swaps, then after random waits of up to 1, 2, 4, 8 and at most 16 ms. An operation that lost 32
///   swaps fails with [`Contended`](traffik_core::ErrorKind::Contended).
/// * A dropped answer withdraws its operation, unless the swap was already sent: then the operation may be
///   charged. Other operations on the key continue.
/// * A strategy that panics does so in the task that awaits its answer. It charges nothing, and other
///   operations do not notice.
///
/// It keeps only the operations under way. Clones share them.
///
/// It is an [`AsyncStorage`] over the bytes of a key. Each call ends at the store's
/// [`deadline`](CompareAndSwap::deadline). A storage with its own names or deadlines calls
/// [`apply`](Self::apply) instead.
///
/// ```
/// # use traffik::cas::{CompareAndSwap, Versioned, Write};
/// # use traffik::Timestamp;
/// # struct Store;
/// # impl CompareAndSwap for Store {
/// #     type Version = ();
/// #     async fn load(&self, _: &[u8]) -> Result<Versioned<()>, BackendError> {
/// #         Ok(Versioned { bytes: None, version: (), now: Timestamp::EPOCH, kept: None })
/// #     }
/// #     async fn swap(&self, _: &[u8], _: (), _: Write) -> Result<Option<Versioned<()>>, BackendError> {
/// #         Ok(None)
/// #     }
/// # }
/// use std::sync::Arc;
/// use traffik::cas::Coalescing;
/// use traffik::runtime::Manual;
/// use traffik::storage::BackendError;
/// use traffik::{AsyncLimiter, TokenBucket, rate};
///
/// // `Store` is your `CompareAndSwap`.
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), Coalescing::new(Arc::new(Store)));
/// assert!(Manual::new().run(async { limiter.check("alice").await })??.is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Coalescing<W: CompareAndSwap> {
    batches: Arc<Batches<W>>,
}

impl<W: CompareAndSwap> Coalescing<W> {
    /// Creates an executor for this store.
    #[must_use]
    pub fn new(store: Arc<W>) -> Self {
        Self { batches: Batches::new(store) }
    }

    /// Applies an operation to the state of a key. The operation takes its place in the order now, and
    /// starts once the answer is polled.
    ///
    /// The answer is a future of `Result<S::Verdict, BackendError>`. It waits as long as the store takes.
    /// Two methods end it sooner:
    ///
    /// * `by(end)` waits until the future `end` completes. An operation without an answer by then fails
    ///   with [`Timeout`](ErrorKind::Timeout) if the swap was sent, since the operation may be charged,
    ///   else with [`Unavailable`](ErrorKind::Unavailable).
    /// * `give_up()` ends it at once. It returns `Abandoned::Unsent` (nothing was charged),
    ///   `Abandoned::Sent` (the operation may be charged) or `Abandoned::Answered` with an answer that was
    ///   already there.
    ///
    /// A dropped answer withdraws its operation unless the swap was already sent.
    ///
    /// # Errors
    ///
    /// The answer fails with the failure of the store, with [`Contended`](ErrorKind::Contended) after 32 lost
    /// swaps, or with [`Timeout`](ErrorKind::Timeout) if the store panicked in another task.
    pub fn apply<S: Strategy>(&self, strategy: S, key: Vec<u8>, op: Op<S>) -> PendingOp<W, S> {
        let operation = Arc::new(StrategyOperation::new(strategy, op));
        let (batch, driver, number) =
            self.batches.add(key, operation.clone(), |batch| SharedFuture::new(drive(batch)));
        PendingOp { operation, batch, number, driver }
    }

    /// Returns the number of keys with an operation under way.
    #[must_use]
    pub fn keys_under_way(&self) -> usize {
        self.batches.len()
    }

    /// Returns the store.
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
            // A load charges nothing, so a late one is `Unavailable` and not `Timeout`.
            let loaded = match race(store.load(&key), store.deadline()).await {
                Either::Left(loaded) => loaded?,
                Either::Right(()) => return Err(late()),
            };
            let state = store.read(&strategy, Class::default(), loaded.bytes.as_deref(), loaded.now);
            Ok((state, loaded.now))
        })
    }
}

/// The answer to an operation of a [`Coalescing`].
///
/// ```
/// # use traffik::cas::{CompareAndSwap, Versioned, Write};
/// # use traffik::Timestamp;
/// # struct Store;
/// # impl CompareAndSwap for Store {
/// #     type Version = ();
/// #     async fn load(&self, _: &[u8]) -> Result<Versioned<()>, BackendError> {
/// #         Ok(Versioned { bytes: None, version: (), now: Timestamp::EPOCH, kept: None })
/// #     }
/// #     async fn swap(&self, _: &[u8], _: (), _: Write) -> Result<Option<Versioned<()>>, BackendError> {
/// #         Ok(None)
/// #     }
/// # }
/// use std::sync::Arc;
/// use std::time::Duration;
/// use traffik::cas::Coalescing;
/// use traffik::runtime::Manual;
/// use traffik::storage::BackendError;
/// use traffik::{Hit, Op, Timer, TokenBucket, rate};
///
/// let (runtime, executor) = (Manual::new(), Coalescing::new(Arc::new(Store)));
/// let pending = executor.apply(TokenBucket::new(rate!("5/min")), b"alice".to_vec(), Op::Check(Hit::new(1)));
/// let decision = runtime.run(pending.by(runtime.sleep(Duration::from_millis(50))))??;
/// assert_eq!(decision.remaining(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an answer that is not awaited is dropped, and with it the operation"]
pub struct PendingOp<W: CompareAndSwap, S: Strategy> {
    operation: Arc<StrategyOperation<S>>,
    batch: Arc<KeyBatch<W>>,
    number: u64,
    driver: SharedFuture<()>,
}

impl<W: CompareAndSwap, S: Strategy> PendingOp<W, S> {
    /// Waits for the answer until `end` completes. A dropped future withdraws the operation unless the swap
    /// was already sent.
    ///
    /// # Errors
    ///
    /// Without an answer by then it fails with [`Timeout`](ErrorKind::Timeout) if the swap was sent, since
    /// the operation may be charged, else with [`Unavailable`](ErrorKind::Unavailable). Also fails as the
    /// answer itself does: see [`Coalescing::apply`].
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

    /// Stops waiting, as after a deadline, and returns the progress of the operation.
    pub fn give_up(self) -> Abandoned<S::Verdict> {
        // A driver that panicked sends nothing more, and its failure is the answer.
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
        // The answer may be there already, from a driver that another waiter polled.
        if let Poll::Ready(answer) = operation.poll(context.waker()) {
            return Poll::Ready(answer);
        }
        if let Poll::Ready(Err(panicked)) = Pin::new(driver).poll(context) {
            return Poll::Ready(match operation.abandon() {
                Abandoned::Answered(answer) => answer,
                Abandoned::Unsent | Abandoned::Sent => Err(panicked),
            });
        }
        // Polling the driver may have completed this operation.
        operation.poll(context.waker())
    }
}

impl<W: CompareAndSwap, S: Strategy> Drop for PendingOp<W, S> {
    fn drop(&mut self) {
        // First abandoned, so that a driver that runs right now skips it; then removed if no driver took it.
        let _ = self.operation.abandon();
        self.batch.remove(self.number);
    }
}

debug_fields!([W: CompareAndSwap, S: Strategy] PendingOp<W, S>: number);
