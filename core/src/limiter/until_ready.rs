//! Waiting for admission with a limiter over a storage of this process.

use core::future::{Future, Ready, ready};
use core::ops::Range;
use core::time::Duration;

use super::bound::{NoBound, TimeBound};
use super::estimate::WaitEstimate;
use super::target::WaitTarget;
use super::wait::wait;
use super::{Limiter, WaitError};
use crate::storage::{Answer, WaitQueue, as_of};
use crate::strategy::ReceiptOf;
use crate::{Cost, Hit, Key, Storage, StorageError, Strategy, Timer, Timestamp};

impl<S: Strategy, M: Storage<S>> Limiter<S, M> {
    /// Waits until a hit of cost 1 is admitted, and charges it.
    ///
    /// Returns the verdict once the hit may proceed. The verdict of a strategy that delays hits still holds
    /// [`after`](crate::Outcome::Allow), the delay that the storage gave; it is over by then.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use traffik::{Limiter, Memory, TokenBucket, WaitError, rate, runtime::Manual};
    /// # let runtime = Manual::new();
    /// # let timer = &runtime;
    /// # let storage = Memory::builder().clock(runtime.clone()).build();
    /// # runtime.run(async {
    /// let limiter = Limiter::new(TokenBucket::new(rate!("1/s")), storage);
    /// let start = limiter.now();
    /// let _ = limiter.until_ready("uplink", timer).await?; // at once
    /// let _ = limiter.until_ready("uplink", timer).await?; // a second later
    /// assert_eq!(limiter.now().since(start), Duration::from_secs(1));
    /// # Ok::<(), WaitError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// * **Order.** A storage with a [queue](Storage::wait_queue), such as `Memory`, serves the waiters of a
    ///   key in the order in which they came, whatever their cost. Only the first calls the storage. The next
    ///   one wakes when the first is admitted, fails or is dropped. Each [class](crate::Class) has a queue of
    ///   its own, so no waiter queues behind another class that has used its share. A plain
    ///   [`check`](Self::check) does not queue, and may take the cost that a waiter was about to get. In any
    ///   other storage, such as a [`Fixed`](crate::Fixed) that is not shared, each waiter tries again after
    ///   its own denial, in no order.
    /// * **Duration.** The first in the queue sleeps on `timer` until the storage admits its hit; the others
    ///   wait for those in front. There is no upper bound: use
    ///   [`until_ready_within`](Self::until_ready_within), or a timeout around this future. A waiter that is
    ///   neither polled nor dropped holds up those behind it.
    /// * **Rate.** A timer wakes late, by one or two milliseconds in most runtimes. The storage then decides
    ///   as of the time at which the hit was due, and counts the next wait from there. So a limit of 200/s
    ///   admits 200 in each second even so. The storage backdates a hit by less than one interval of the
    ///   limit's rate, and by 1/64 s at most. In any span of time, at most as much passes as the limit admits
    ///   in that span plus this lead. A strategy that reports no rate decides by the present.
    /// * **Drop.** A dropped future has charged nothing and keeps no place; the next one in the queue wakes
    ///   at once. A [`LeakyBucketQueue`](crate::LeakyBucketQueue) admits hits with a delay; a future that is
    ///   dropped during that delay gives up its turn. The waiters behind it in this process move up, and the
    ///   last turn, which is then free, is refunded. In a storage of firmware no waiter moves up, and a turn
    ///   that is not the last stays charged and empty.
    ///
    /// # Errors
    ///
    /// Fails with [`WaitError::Never`], at once and also behind others, if the limit can never admit the hit.
    /// Fails with [`WaitError::Storage`] if the storage fails; the next one in the queue then calls the
    /// storage. Fails with [`WaitError::TooLong`] if the queue is bounded and full.
    pub fn until_ready<K: Key + ?Sized>(
        &self,
        key: &K,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError>> {
        self.until_ready_n(key, S::Cost::uniform(1), timer)
    }

    /// Waits until a hit of any cost is admitted, all of it at once, and charges it.
    ///
    /// The hit is a number, or a [`Hit`] that names its class too. Order, duration and drop are those of
    /// [`until_ready`](Self::until_ready).
    ///
    /// ```
    /// # use traffik::{Class, FairShare, Hit, Limiter, Memory, WaitError, rate, runtime::Manual};
    /// # let runtime = Manual::new();
    /// # let timer = &runtime;
    /// # let storage = Memory::builder().clock(runtime.clone()).build();
    /// # runtime.run(async {
    /// let limiter = Limiter::new(FairShare::<4>::new(rate!("10/s")), storage); // among four tasks
    ///
    /// let sensor = Class::new().with_instance("sensor");
    /// let decision = limiter.until_ready_n("uplink", Hit::new(1).with_class(sensor), timer).await?;
    /// assert!(decision.is_allowed());
    /// # Ok::<(), WaitError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`until_ready`](Self::until_ready) does.
    pub fn until_ready_n<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>> + Copy,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError>> {
        wait(self, key, hit, timer, NoBound)
    }

    /// Waits until a hit is admitted, but no longer than `within`, and charges it.
    ///
    /// Order and drop are those of [`until_ready`](Self::until_ready). The call fails at once if the turn
    /// cannot come within that time. It computes that from the wait of a denial, the delay of an admission,
    /// or the costs of the waiters of its class in front of it in this process. It fails after `within` if
    /// the waiters in front take longer than computed, since plain checks or other classes took what they
    /// share. Either way it keeps no place, and has charged nothing or refunds the charge.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use traffik::{Limiter, Memory, TokenBucket, WaitError, rate, runtime::Manual};
    /// # let runtime = Manual::new();
    /// # let timer = &runtime;
    /// # let storage = Memory::builder().clock(runtime.clone()).build();
    /// # runtime.run(async {
    /// let limiter = Limiter::new(TokenBucket::new(rate!("10/min")), storage);
    /// let _ = limiter.until_ready_n("uplink", 10, timer).await?; // the whole limit, at once
    ///
    /// match limiter.until_ready_within("uplink", 1, Duration::from_secs(2), timer).await {
    ///     Err(WaitError::TooLong { wait }) => assert_eq!(wait, Duration::from_secs(6)),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), WaitError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`WaitError::TooLong`], which holds the wait that would have been necessary; otherwise as
    /// [`until_ready`](Self::until_ready) does.
    pub fn until_ready_within<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>> + Copy,
        within: Duration,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError>> {
        wait(self, key, hit, timer, TimeBound::new(timer, within))
    }
}

impl<S: Strategy, M: Storage<S>> WaitTarget<S> for Limiter<S, M> {
    type Error = StorageError;
    type Answer = Ready<Answer<S>>;
    type Estimate = Ready<Result<Duration, StorageError>>;

    fn strategy(&self) -> &S {
        &self.strategy
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.storage.wait_queue()
    }

    fn check_due<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: Hit<S::Cost>,
        due: Range<Timestamp>,
    ) -> (Self::Answer, Option<Timestamp>) {
        // The time as of which the storage decides, so that a timer that wakes late delays only this hit.
        let at = as_of(&due, self.now());
        (ready(self.check_at(key, &hit, at)), Some(at))
    }

    fn is_local(&self) -> bool {
        true
    }

    fn refund<K: Key + ?Sized>(&self, key: &K, hit: Hit<S::Cost>, receipt: ReceiptOf<S>) -> Self::Answer {
        ready(Self::refund(self, key, hit, receipt))
    }

    fn estimate_wait<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: Hit<S::Cost>,
        ahead: &dyn Fn(&mut dyn FnMut(u32)),
        within: Duration,
    ) -> Self::Estimate {
        // Decides on those in front with the same strategy, on a copy of the state.
        let expect = |state| {
            let mut estimate = WaitEstimate::new(&self.strategy, state, self.now(), within);
            ahead(&mut |cost| estimate.add(&Hit { cost: S::Cost::uniform(cost), ..hit }));
            estimate.add(&hit);
            estimate.waited()
        };
        ready(self.storage.load(key).map(expect))
    }
}
