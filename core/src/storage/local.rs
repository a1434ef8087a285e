//! A storage of this process behind the asynchronous interface.

use alloc::sync::Arc;

use super::future::{AsyncStorage, Due, Keys, TimedReply};
use super::reply::{MultiKeyReply, Reply};
use super::{BackendError, Storage, WaitQueue, as_of};
use crate::{ErasedKey, Hit, Op, Strategy, Timestamp};

/// A storage of this process behind the asynchronous interface; its replies are ready at once.
///
/// Choose it to use `Memory` with an [`AsyncLimiter`](crate::AsyncLimiter), or as the fallback of a remote
/// store. Each call runs on the caller's thread: a storage that reads a file or waits for a lock would block
/// the runtime, and needs an [`AsyncStorage`] of its own.
///
/// ```
/// use traffik::storage::{Local, Reply};
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), Local(Memory::new(1_000)));
/// assert!(matches!(limiter.check("alice"), Reply::Ready(Some(Ok(_)))));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Local<M>(pub M);

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, M: Storage<S> + Send + Sync> AsyncStorage<S> for Local<M> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        Reply::ready(self.0.apply_now(strategy, key, op).map_err(BackendError::from))
    }

    fn apply_due(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>, due: Due) -> TimedReply<S::Verdict> {
        // The clock is read before the operation, so `at` is never later than its present.
        let at = as_of(&due, self.0.now());
        (Reply::ready(self.0.apply(strategy, key, op, at).map_err(BackendError::from)), Some(at))
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        Reply::ready(self.0.load(key).map(|state| (state, self.0.now())).map_err(BackendError::from))
    }

    /// Returns `None`: this process is one node.
    fn node(&self, _: &dyn ErasedKey) -> Option<Arc<str>> {
        None
    }

    fn is_local(&self) -> bool {
        true
    }

    /// Returns `None`: a check here costs next to nothing.
    fn known_denial(&self, _: &S, _: &dyn ErasedKey, _: &Hit<S::Cost>) -> Option<S::Verdict> {
        None
    }

    /// Checks up to four keys in one step of the storage, and reports more as unsupported.
    fn check_together(
        &self,
        strategy: &S,
        keys: Keys<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        fn charged<S: Strategy, const N: usize>(
            storage: &impl Storage<S>,
            strategy: &S,
            keys: [&dyn ErasedKey; N],
            hit: &Hit<S::Cost>,
        ) -> Reply<MultiKeyReply<S::Verdict>> {
            let answer = storage.check_together(strategy, keys, hit, storage.now());
            Reply::ready(answer.map_err(BackendError::from).map(|verdict| {
                if verdict.is_atomic() {
                    MultiKeyReply::Atomic(verdict.verdicts.into())
                } else {
                    MultiKeyReply::Sequential(verdict.verdicts.into())
                }
            }))
        }
        // The number of keys is a constant of the storage interface, so each number has code of its own.
        match *keys {
            [a] => charged(&self.0, strategy, [a], hit),
            [a, b] => charged(&self.0, strategy, [a, b], hit),
            [a, b, c] => charged(&self.0, strategy, [a, b, c], hit),
            [a, b, c, d] => charged(&self.0, strategy, [a, b, c, d], hit),
            _ => Reply::ready(Ok(MultiKeyReply::Unsupported)),
        }
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        // Waiters of both interfaces share one queue, since both are of this process.
        self.0.wait_queue()
    }
}
