//! A limiter, as far as waiting needs it.

use core::future::Future;
use core::ops::Range;
use core::time::Duration;

use crate::storage::WaitQueue;
use crate::strategy::ReceiptOf;
use crate::{Hit, Key, Strategy, Timestamp};

/// A limiter, as far as waiting needs it.
pub(super) trait WaitTarget<S: Strategy> {
    /// The error of the storage.
    type Error;
    /// The answer of the storage to an operation.
    type Answer: Future<Output = Result<S::Verdict, Self::Error>> + Unpin;
    /// The time that a hit is expected to wait.
    type Estimate: Future<Output = Result<Duration, Self::Error>>;

    fn strategy(&self) -> &S;

    fn wait_queue(&self) -> Option<&dyn WaitQueue>;

    /// Whether answers are there when they are first polled.
    fn is_local(&self) -> bool;

    /// Checks a hit that was due at the start of this time, as
    /// [`apply_due`](crate::storage::AsyncStorage::apply_due) does.
    fn check_due<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: Hit<S::Cost>,
        due: Range<Timestamp>,
    ) -> (Self::Answer, Option<Timestamp>);

    fn refund<K: Key + ?Sized>(&self, key: &K, hit: Hit<S::Cost>, receipt: ReceiptOf<S>) -> Self::Answer;

    /// Expects how long a hit waits behind those whose costs `ahead` lists, looking no further than `within`.
    /// They are of its class, since each class has a queue of its own.
    fn estimate_wait<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: Hit<S::Cost>,
        ahead: &dyn Fn(&mut dyn FnMut(u32)),
        within: Duration,
    ) -> Self::Estimate;
}
