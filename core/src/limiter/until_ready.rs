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
    /// ```
    /// # use traffik::{Limiter, Memory, TokenBucket, WaitError, rate, runtime::Manual};
    /// # let runtime = Manual::new();
    /// # let timer = &runtime;
    /// # let storage = Memory::builder().clock(runtime.clone()).build();
    /// # runtime.run(async {
    /// let limiter = Limiter::new(TokenBucket::new(rate!("1/s")), storage);
    /// limiter.until_ready("uplink", timer).await?; // at once
    /// limiter.until_ready("uplink", timer).await?; // a second later
    /// # Ok::<(), WaitError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// * **Order.** A storage with a [queue](Storage::wait_queue), such as `Memory`, serves the waiters of a
    ///   key in the order in which they came, whatever their cost. Only the first asks the storage. The next
    ///   one wakes when the first is admitted, fails or is dropped. Each [class](crate::Class) has a queue of
    ///   its own, so a waiter never stands behind another class that has used its share. A plain
    ///   [`check`](Self::check) does not stand in the queue, and may take what a waiter was about to get. In
    ///   any other storage, such as a [`Fixed`](crate::Fixed) that is not shared, each waiter asks again
    ///   after its own denial, in no order.
    /// * **Duration.** The first in the queue sleeps on `timer` until the storage admits its hit; the others
    ///   wait for those in front. There is no upper bound: use
    ///   [`until_ready_within`](Self::until_ready_within), or a timeout around this future. A waiter that is
    ///   neither polled nor dropped holds up those behind it.
    /// * **Rate.** A timer wakes late, by one or two milliseconds in most runtimes. The storage then decides
    ///   as of the time at which the hit was due, and counts the next wait from there, so that 200/s come to
    ///   200 in a second. A hit counts as earlier than it comes by less than one interval of the limit's
    ///   rate, and by 1/64 s at most. In any span of time passes at most what the limit admits in that span
    ///   and this lead together. A strategy that reports no rate decides by the present.
    /// * **Drop.** A dropped future has charged nothing and keeps no place; the next one in the queue wakes
    ///   at once. A future that is dropped during the delay of an admission, as a
    ///   [`LeakyBucketQueue`](crate::LeakyBucketQueue) gives it, leaves its turn: those behind it in this
    ///   process move up, and the last turn, which is then free, is refunded. In a storage of firmware nobody
    ///   moves up, and a turn that is not the last stays empty.
    ///
    /// # Errors
    ///
    /// Fails with [`WaitError::Never`], at once and also behind others, if the limit can never admit the hit.
    /// Fails with [`WaitError::Storage`] if the storage fails; the next one in the queue then asks for
    /// itself. Fails with [`WaitError::TooLong`] if the queue is bounded and full.
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
    /// # use traffik::{Class, FairShare, Fixed, Hit, Limiter, ManualClock, Rate, Timer, WaitError};
    /// # async fn uplink(timer: &impl Timer) -> Result<(), WaitError> {
    /// let strategy = FairShare::<4>::new(Rate::per_second(10)); // among four tasks
    /// let limiter = Limiter::new(strategy, Fixed::<_, _, 16>::new(ManualClock::default(), 1));
    ///
    /// let sensor = Class::new().with_instance("sensor");
    /// limiter.until_ready_n("uplink", Hit::new(1).with_class(sensor), timer).await?;
    /// # Ok(())
    /// # }
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
    /// Order and drop are those of [`until_ready`](Self::until_ready). The call gives up at once if the turn
    /// cannot come within that time: by the wait of a denial, by the delay of an admission, or by the costs
    /// of the waiters of its class in front of it in this process. It gives up after `within` if those in
    /// front turn out to take longer, because others came between them, or other classes took what they
    /// share. Either way it has charged nothing and keeps no place.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, Timer, TokenBucket, WaitError};
    /// # async fn uplink(timer: &impl Timer) -> Result<(), WaitError> {
    /// let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// match limiter.until_ready_within("uplink", 1, Duration::from_secs(2), timer).await {
    ///     Ok(decision) => assert!(decision.is_allowed()),
    ///     Err(WaitError::TooLong { wait }) => println!("busy: try again in {wait:?}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
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
