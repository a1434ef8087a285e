//! The driver of a batch: loads, runs the operations, swaps, and tries again if other processes were
//! faster.

use std::sync::Arc;
use std::time::Duration;

use traffik_core::ErrorKind;
use traffik_core::storage::BackendError;

use super::batch::KeyBatch;
use super::operation::{CasOperation, RunResult};
use super::{CompareAndSwap, Versioned, Write};
use crate::util::backoff::Backoff;
use crate::util::random::random;

/// The lost swaps after which an operation fails as contended.
pub(super) const ATTEMPTS: u32 = 32;

/// The state of a driver between two polls.
struct Driver<W: CompareAndSwap> {
    batch: Arc<KeyBatch<W>>,
    attempted: Vec<AttemptedOperation<W>>,
    is_closed: bool,
}

/// An operation of the present attempt.
struct AttemptedOperation<W> {
    operation: Arc<dyn CasOperation<W>>,
    /// The number of swaps with this operation that were lost.
    lost: u32,
}

/// Drives the operations of a batch until none waits.
pub(super) fn drive<W: CompareAndSwap>(
    batch: Arc<KeyBatch<W>>,
) -> impl Future<Output = Result<(), BackendError>> + Send {
    let mut driver = Driver { batch, attempted: Vec::new(), is_closed: false };
    async move {
        loop {
            driver.join();
            if driver.attempted.is_empty() {
                driver.is_closed = driver.batch.close_if_empty();
                if driver.is_closed {
                    return Ok(());
                }
            } else if let Err(failure) = driver.attempt().await {
                driver.end(|operation| operation.fail(failure.clone()));
            }
        }
    }
}

impl<W: CompareAndSwap> Driver<W> {
    /// Attempts the operations that have joined. Operations that arrive after a load wait for the next one: a
    /// denial must not rest on a state from before its check arrived.
    async fn attempt(&mut self) -> Result<(), BackendError> {
        let batch = Arc::clone(&self.batch);
        let (store, key) = (&batch.batches.store, &batch.key);
        let mut loaded = store.load(key).await?;
        for attempt in 1.. {
            let Some(change) = self.run(&loaded) else { break };
            match store.swap(key, loaded.version, change).await? {
                None => break,
                Some(changed) => loaded = changed,
            }
            // The refused swap returned the present bytes, so the first retries need no load.
            self.retry();
            if self.attempted.is_empty() {
                return Ok(());
            }
            if let Some(wait) = wait_after(attempt) {
                store.pause(wait).await;
                self.join();
                loaded = store.load(key).await?;
            }
        }
        self.end(|operation| operation.settle());
        Ok(())
    }

    /// Adds the waiting operations to the attempt.
    fn join(&mut self) {
        self.attempted.extend(self.batch.drain().map(|operation| AttemptedOperation { operation, lost: 0 }));
    }

    /// Runs the operations one after another on the loaded bytes. Returns the bytes to store, if they
    /// change.
    fn run(&mut self, loaded: &Versioned<W::Version>) -> Option<Write> {
        let (store, mut change) = (&self.batch.batches.store, None);
        self.attempted.retain(|it| {
            // Each operation sees the result of the one before it.
            let stored = match &change {
                None => loaded.bytes.as_deref(),
                Some(Write::Remove) => None,
                Some(Write::Store(bytes, _)) => Some(&**bytes),
            };
            let kept = loaded.kept.filter(|_| change.is_none());
            match it.operation.run(store, stored, (loaded.now, kept)) {
                RunResult::Skipped => return false,
                RunResult::Unchanged => {}
                RunResult::Changed(changed) => change = Some(changed),
            }
            true
        });
        // Bytes that are not there need no removal.
        change.filter(|change| loaded.bytes.is_some() || *change != Write::Remove)
    }

    /// Prepares for another attempt after a lost swap. Operations that lost [`ATTEMPTS`] fail with
    /// `Contended`.
    fn retry(&mut self) {
        for it in &mut self.attempted {
            it.lost += 1;
            it.operation.retry();
        }
        let contended = BackendError::new(
            ErrorKind::Contended,
            "other processes kept changing this key; nothing was charged",
        );
        // Each operation counts its own losses: one that joined late has not lost as often.
        let given_up = self.attempted.extract_if(.., |it| it.lost >= ATTEMPTS);
        given_up.for_each(|it| it.operation.fail(contended.clone()));
    }

    /// Completes all operations of the attempt with `end`.
    fn end(&mut self, end: impl Fn(&dyn CasOperation<W>)) {
        self.attempted.drain(..).for_each(|it| end(&*it.operation));
    }
}

/// Removes the batch of a driver that panicked, or was dropped with its last waiter.
impl<W: CompareAndSwap> Drop for Driver<W> {
    fn drop(&mut self) {
        if !self.is_closed {
            drop(self.batch.drain());
            self.batch.close_if_empty();
        }
    }
}

/// Returns the wait after this many attempts, or `None` after the first two: one or two more round trips cost
/// less than a wait.
fn wait_after(attempts: u32) -> Option<Duration> {
    const AT_ONCE: u32 = 2;
    const WAITS: Backoff = Backoff::exponential(Duration::from_millis(1), Duration::from_millis(16));
    // waits = attempts - AT_ONCE; none for waits <= 0.
    let waits = attempts.checked_sub(AT_ONCE).filter(|waits| *waits > 0)?;
    Some(WAITS.after(waits, random()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_bounded() {
        assert_eq!([wait_after(1), wait_after(2)], [None; 2]);
        for attempt in 3..=ATTEMPTS + 1 {
            let most = Duration::from_millis(1 << (attempt - 3).min(4));
            let waits: Vec<_> = (0..200).filter_map(|_| wait_after(attempt)).collect();
            assert!(waits.len() == 200 && waits.iter().all(|wait| *wait <= most), "{attempt}");
            assert!(waits.iter().any(|wait| *wait > most / 2) && waits.iter().any(|wait| *wait < most / 2));
        }
    }
}
