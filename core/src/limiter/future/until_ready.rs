//! Waiting for admission with a limiter over a storage that may have to wait for its answer.

use alloc::vec::Vec;
use core::future::Future;
use core::ops::Range;
use core::time::Duration;

use super::AsyncLimiter;
use crate::limiter::bound::{NoBound, TimeBound};
use crate::limiter::estimate::WaitEstimate;
use crate::limiter::target::WaitTarget;
use crate::limiter::wait::wait;
use crate::storage::{AsyncStorage, BackendError, Reply, WaitQueue};
use crate::strategy::ReceiptOf;
use crate::{Cost, Hit, Key, Op, Strategy, Timer, Timestamp, WaitError};

impl<S: Strategy, M: AsyncStorage<S>> AsyncLimiter<S, M> {
    /// Waits until a hit of cost 1 is admitted, and charges it.
    ///
    /// Returns the verdict once the hit may proceed. The verdict of a strategy that delays hits still holds
    /// [`after`](crate::Outcome::Allow), the delay that the storage gave; it is over by then.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # let runtime = Manual::new();
    /// # let timer = &runtime;
    /// # let storage = Local(Memory::builder().clock(runtime.clone()).build());
    /// # runtime.run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("1/s")), storage);
    /// let start = runtime.now();
    /// let _ = limiter.until_ready("uplink", timer).await?; // at once
    /// let _ = limiter.until_ready("uplink", timer).await?; // a second later
    /// assert_eq!(runtime.now().since(start), Duration::from_secs(1));
    /// # Ok::<(), traffik::WaitError<traffik::storage::BackendError>>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// * **Order.** Waiters are served as by [`Limiter::until_ready`](crate::Limiter::until_ready), among
    ///   those of this process: only the first in the [queue](AsyncStorage::wait_queue) calls the storage,
    ///   one call at a time.
    /// * **Rate.** A storage that is [local](crate::storage::Local), and behind no layer, counts from the
    ///   time at which a hit was due, as there. Any other storage decides by when the call arrives: each turn
    ///   comes late by the timer's lateness and one round trip, and delays all that follow. A bucket with a
    ///   burst of two or more loses nothing by that.
    /// * **Duration.** There is no upper bound; use [`until_ready_within`](Self::until_ready_within), or a
    ///   timeout around this future. Each call takes as long as the storage does, so a storage without a
    ///   timeout can hold up the queue.
    /// * **Drop.** A dropped future keeps no place, and the next one in the queue wakes at once. It leaves
    ///   behind one of these:
    ///   * Nothing, if it waited for its place or after a denial.
    ///   * Perhaps a charge, if a call of the storage was on its way.
    ///   * A free turn, if it waited for the delay of an admission, as a
    ///     [`LeakyBucketQueue`](crate::LeakyBucketQueue) gives it. The waiters behind it in this process move
    ///     up, so that the last turn becomes free. It is refunded if the storage is
    ///     [local](AsyncStorage::is_local). On any other storage it stays charged, since a refund has to be
    ///     awaited: the next hit of this process takes it if others still wait by then. Otherwise it is lost.
    ///
    ///   To lose no turn, let the future end, or take turns by [`check_n`](Self::check_n) and wait for
    ///   them yourself.
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
    ) -> impl Future<Output = Result<S::Verdict, WaitError<BackendError>>> {
        self.until_ready_n(key, S::Cost::uniform(1), timer)
    }

    /// Waits until a hit of any cost is admitted, all of it at once, and charges it.
    ///
    /// The hit is a number, or a [`Hit`] that names its class too. Order, duration and drop are those of
    /// [`until_ready`](Self::until_ready).
    ///
    /// # Errors
    ///
    /// Fails as [`until_ready`](Self::until_ready) does.
    pub fn until_ready_n<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>> + Copy,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError<BackendError>>> {
        wait(self, key, hit, timer, NoBound)
    }

    /// Waits until a hit is admitted, but no longer than `within`, and charges it.
    ///
    /// It fails early as [`Limiter::until_ready_within`](crate::Limiter::until_ready_within) does. On top of
    /// `within`, a call of the storage may take as long as the storage allows. An admission that came too
    /// late is refunded before the call fails; if that refund fails, the charge stays. Order and drop are
    /// those of [`until_ready`](Self::until_ready).
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
    ) -> impl Future<Output = Result<S::Verdict, WaitError<BackendError>>> {
        wait(self, key, hit, timer, TimeBound::new(timer, within))
    }
}

impl<S: Strategy, M: AsyncStorage<S>> WaitTarget<S> for AsyncLimiter<S, M> {
    type Error = BackendError;
    type Answer = Reply<S::Verdict>;
    type Estimate = Reply<Duration>;

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
        self.storage.apply_due(&self.strategy, &key, &Op::Check(hit), due)
    }

    fn is_local(&self) -> bool {
        self.storage.is_local()
    }

    fn refund<K: Key + ?Sized>(&self, key: &K, hit: Hit<S::Cost>, receipt: ReceiptOf<S>) -> Self::Answer {
        Self::refund(self, key, hit, receipt)
    }

    fn estimate_wait<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: Hit<S::Cost>,
        ahead: &dyn Fn(&mut dyn FnMut(u32)),
        within: Duration,
    ) -> Self::Estimate {
        // The reply owns what it needs: the queue may change while the storage loads the state.
        let (strategy, mut hits) = (self.strategy.clone(), Vec::new());
        ahead(&mut |cost| hits.push(Hit { cost: S::Cost::uniform(cost), ..hit }));
        hits.push(hit);
        self.storage.load(&self.strategy, &key).map(move |loaded| {
            let (state, now) = loaded?;
            let mut estimate = WaitEstimate::new(&strategy, state, now, within);
            hits.iter().for_each(|hit| estimate.add(hit));
            Ok(estimate.waited())
        })
    }
}
