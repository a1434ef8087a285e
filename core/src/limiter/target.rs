//! The interface that the waiting loop needs of a limiter.

use core::future::Future;
use core::ops::Range;
use core::time::Duration;

use crate::storage::WaitQueue;
use crate::strategy::ReceiptOf;
use crate::{Hit, Key, Strategy, Timestamp};

/// The interface that the waiting loop needs of a limiter.
pub(super) trait WaitTarget<S: Strategy> {
    /// The error of the storage.
    type Error;
    /// The answer of the storage to an operation.
    type Answer: Future<Output = Result<S::Verdict, Self::Error>> + Unpin;
    /// The estimated wait of a hit.
    type Estimate: Future<Output = Result<Duration, Self::Error>>;

    /// Returns the strategy.
    fn strategy(&self) -> &S;

    /// Returns the queue of the storage.
    fn wait_queue(&self) -> Option<&dyn WaitQueue>;

    /// Reports whether an answer is there when it is first polled.
    fn is_local(&self) -> bool;

    /// Checks a hit that was due at the start of this range, as
    /// [`apply_due`](crate::storage::AsyncStorage::apply_due) does.
    fn check_due<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: Hit<S::Cost>,
        due: Range<Timestamp>,
    ) -> (Self::Answer, Option<Timestamp>);

    /// Refunds a hit by its receipt.
    fn refund<K: Key + ?Sized>(&self, key: &K, hit: Hit<S::Cost>, receipt: ReceiptOf<S>) -> Self::Answer;

    /// Estimates how long a hit waits behind those whose costs `ahead` lists, up to `within`.
    ///
    /// They are of the hit's class, since each class has a queue of its own.
    fn estimate_wait<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: Hit<S::Cost>,
        ahead: &dyn Fn(&mut dyn FnMut(u32)),
        within: Duration,
    ) -> Self::Estimate;
}
