//! A limit and a storage put together: what most programs use.

use core::future::{Future, Ready, ready};
use core::ops::Range;
use core::time::Duration;

use crate::storage::{Answer, MultiKeyVerdict, WaitQueue, as_of};
use crate::strategy::ReceiptOf;
use crate::{Class, Cost, Hit, Key, Op, Storage, StorageError, Strategy, Timer, Timestamp};

mod bound;
mod delayed;
mod error;
mod estimate;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod future;
mod target;
mod wait;

pub use error::WaitError;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use future::AsyncLimiter;

use bound::{NoBound, TimeBound};
use estimate::WaitEstimate;
use target::WaitTarget;

/// Limits what keys may do, remembering them in a storage of this process.
///
/// ```
/// use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket, Verdict};
///
/// let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
/// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
///
/// let decision = limiter.check_n("alice", 4)?;
/// assert_eq!((decision.is_allowed(), decision.remaining()), (true, 6));
/// assert_eq!(limiter.peek("alice", 6)?.remaining(), 0); // what a check would say
/// assert_eq!(limiter.refund("alice", 4, decision.receipt())?.remaining(), 10);
/// assert_eq!(limiter.stat("bob")?.tokens, 10); // reading charges nobody
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Limiter<S, M> {
    strategy: S,
    storage: M,
}

impl<S: Strategy, M: Storage<S>> Limiter<S, M> {
    /// Runs `limit` in `storage`.
    #[must_use]
    pub const fn new(strategy: S, storage: M) -> Self {
        Self { strategy, storage }
    }

    /// Asks for one, and takes it if it is admitted.
    #[inline]
    pub fn check<K: Key + ?Sized>(&self, key: &K) -> Answer<S> {
        self.check_n(key, S::Cost::uniform(1))
    }

    /// Asks for a hit, all or nothing, and takes it if it is admitted: a cost, or a [`Hit`] that names its
    /// class too, for limits that treat classes differently.
    ///
    /// ```
    /// # use traffik::{Class, Fixed, Gcra, Hit, Limiter, ManualClock, Priority, Ratio, Rate};
    /// # let half = Ratio::new(1, 2)?;
    /// let limit = Priority::new(Gcra::new(Rate::per_minute(60)).burst(10)?, [("low".into(), half)])?;
    /// let limiter = Limiter::new(limit, Fixed::<_, _, 16>::new(ManualClock::default(), 1));
    ///
    /// let low = Class::new().with_priority("low"); // which leaves a half of the limit to others
    /// assert!(limiter.check_n("alice", Hit::new(5).with_class(low))?.is_allowed());
    /// assert!(!limiter.check_n("alice", Hit::new(1).with_class(low))?.is_allowed());
    /// assert!(limiter.check_n("alice", 5)?.is_allowed());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn check_n<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Answer<S> {
        self.apply_now(key, &Op::Check(hit.into()))
    }

    /// Asks for a hit at a time read before, from this limiter's [clock](Self::now): one reading may serve
    /// several limits.
    #[inline]
    pub fn check_at<K: Key + ?Sized>(&self, key: &K, hit: &Hit<S::Cost>, now: Timestamp) -> Answer<S> {
        self.apply(key, &Op::Check(*hit), now)
    }

    /// Asks for one for each of several keys, and answers each: one reading of the clock serves them all, and
    /// a storage may look them up at once. A key named twice sees what it was charged the first time.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(2)), storage);
    /// let mut denied = Vec::new();
    /// limiter.check_many(&["a", "b", "a", "a"], |key, answer| {
    ///     if !answer.is_ok_and(|decision| decision.is_allowed()) {
    ///         denied.push(*key);
    ///     }
    /// });
    /// assert_eq!(denied, ["a"]);
    /// ```
    #[inline]
    pub fn check_many<K: Key>(&self, keys: &[K], answer: impl FnMut(&K, Answer<S>)) {
        let one = Hit::new(S::Cost::uniform(1));
        self.storage.check_many(&self.strategy, keys, &one, self.now(), answer);
    }

    /// Asks for a hit on each of several keys, such as an address and a user: all of them are charged, or
    /// none.
    ///
    /// The answer has the field `verdicts`, one for each key in their order: if one denies, what the others
    /// would have said. Its methods are `is_allowed()`; `outcome()`, with the longest of the waits; and
    /// `is_atomic()`, whether all keys were asked in one step.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(2)), storage);
    /// assert!(limiter.check_together(["address 1", "user 1"], 2)?.is_allowed());
    /// let denied = limiter.check_together(["address 2", "user 1"], 1)?;
    /// assert!(!denied.is_allowed() && denied.verdicts[0].is_allowed());
    /// assert_eq!(limiter.peek("address 2", 0)?.remaining(), 2); // not charged
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    pub fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        keys: [&K; N],
        hit: impl Into<Hit<S::Cost>>,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        self.storage.check_together(&self.strategy, keys, &hit.into(), self.now())
    }

    /// Decides as [`check_n`](Self::check_n) would, and takes nothing: the figures are those after the hit.
    /// For the figures of now ask for the [`status`](Self::status).
    pub fn peek<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Answer<S> {
        self.apply_now(key, &Op::Peek(hit.into()))
    }

    /// Reports what a key has left now, charging nothing: a key never seen has the whole limit. It is the
    /// answer to a hit of cost 0, so it admits; whether a hit of another cost would pass, and what would be
    /// left after it, [`peek`](Self::peek) answers. The figures are those of the default class; those of
    /// another one are a `peek` at `Hit::new(0).with_class(class)`.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// assert_eq!(limiter.status("bob")?.remaining(), 10);
    /// assert_eq!(limiter.peek("bob", 3)?.remaining(), 7); // what would be left after three
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    pub fn status<K: Key + ?Sized>(&self, key: &K) -> Answer<S> {
        self.peek(key, S::Cost::uniform(0))
    }

    /// Books what has already happened, whether or not it was allowed. Answers what is left.
    pub fn charge<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Answer<S> {
        self.apply_now(key, &Op::Charge(hit.into()))
    }

    /// Takes back an admission, or a part of its cost, by the receipt in its verdict. The class MUST be that
    /// of the admission. Answers what is left.
    pub fn refund<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>>,
        receipt: ReceiptOf<S>,
    ) -> Answer<S> {
        self.apply_now(key, &Op::Refund(hit.into(), receipt))
    }

    /// Forgets a key: it starts afresh.
    pub fn reset<K: Key + ?Sized>(&self, key: &K) -> Answer<S> {
        self.apply_now(key, &Op::Reset)
    }

    /// The strategy's own figures for a key, as they are for the default class.
    pub fn stat<K: Key + ?Sized>(&self, key: &K) -> Result<S::Stat, StorageError> {
        self.stat_for(key, Class::default())
    }

    /// The strategy's own figures for a key, as they are for a class.
    pub fn stat_for<K: Key + ?Sized>(&self, key: &K, class: Class) -> Result<S::Stat, StorageError> {
        Ok(self.strategy.stat(&self.storage.load(key)?, class, self.now()))
    }

    /// Waits until a hit of cost 1 is admitted, and takes it.
    ///
    /// * **Order.** In a storage with a [queue](Storage::wait_queue), such as `Memory`, waiters for a key are
    ///   served in the order in which they came, whatever their cost. Only the first asks the storage; the
    ///   next one is woken when the first is admitted, fails or is dropped. Each [class](crate::Class) has a
    ///   queue of its own, so that none waits behind another that has used its share. A plain
    ///   [`check`](Self::check) does not stand in the queue, and may take what a waiter was about to get. In
    ///   any other storage, such as a [`Fixed`](crate::Fixed) that is not shared, every waiter asks again
    ///   after its own denial, in no order.
    /// * **Duration.** The first in the queue sleeps on `timer` until the storage admits the hit; the others
    ///   wait for those in front, without bound. A timeout around this future bounds it. A waiter that is
    ///   neither polled nor dropped holds up those behind it.
    /// * **Rate.** A timer wakes late, by a millisecond or two in most runtimes. The hit is then decided as
    ///   of the time at which it was due, and the next turn is counted from there, so that 200/s come to 200
    ///   in a second. It counts as earlier than it comes by less than an interval of the limit's rate, and by
    ///   no more than 1/64 s: in a time by the clock passes what the limit admits in that time and as much
    ///   more. A strategy that does not tell its rate decides by the present.
    /// * **Drop.** A dropped future has taken nothing, keeps no place, and the next one in the queue is woken
    ///   at once. During the delay of an admission, as by a [`LeakyBucketQueue`](crate::LeakyBucketQueue),
    ///   those behind it in this process move up, and the last turn, which is free then, is refunded. In a
    ///   storage of firmware nobody moves up: a turn that is not the last stays empty.
    ///
    /// # Errors
    ///
    /// Fails with [`WaitError::Never`] if the limit can never admit the hit, at once and also behind others;
    /// with [`WaitError::Storage`] if the storage failed: the next one in the queue then asks for itself;
    /// with [`WaitError::TooLong`] if the queue is bounded and full.
    pub fn until_ready<K: Key + ?Sized>(
        &self,
        key: &K,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError>> {
        self.until_ready_n(key, S::Cost::uniform(1), timer)
    }

    /// Waits until a hit is admitted, all of its cost at once, and takes it: a cost, or a [`Hit`] that names
    /// its class too. Order, duration, drop and errors are those of [`until_ready`](Self::until_ready).
    ///
    /// ```
    /// # use traffik::{Class, FairShare, Fixed, Hit, Limiter, ManualClock, Rate, Timer, WaitError};
    /// # async fn uplink(timer: &impl Timer) -> Result<(), WaitError> {
    /// let limit = FairShare::<4>::new(Rate::per_second(10)); // among four tasks
    /// let limiter = Limiter::new(limit, Fixed::<_, _, 16>::new(ManualClock::default(), 1));
    ///
    /// let sensor = Class::new().with_instance("sensor");
    /// limiter.until_ready_n("uplink", Hit::new(1).with_class(sensor), timer).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn until_ready_n<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>> + Copy,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError>> {
        wait::wait(self, key, hit, timer, NoBound)
    }

    /// Waits until a hit is admitted, but no longer than `within`, and takes it. Order and drop are those of
    /// [`until_ready`](Self::until_ready).
    ///
    /// Fails at once, taking nothing, if the turn cannot come within that time: by the wait of a denial, by
    /// the delay of an admission, and by what those of its class who wait in front in this process ask for.
    /// Fails also, once `within` has passed, if those in front turn out to take longer, since others came
    /// between them, or those of other classes took what they share; then too it has taken nothing, and keeps
    /// no place.
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
    /// Fails with [`WaitError::TooLong`], which says for how long it would have to wait; else with what
    /// [`until_ready`](Self::until_ready) fails with.
    pub fn until_ready_within<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>> + Copy,
        within: Duration,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError>> {
        wait::wait(self, key, hit, timer, TimeBound::new(timer, within))
    }

    /// Applies any operation, at the present.
    #[inline]
    pub fn apply_now<K: Key + ?Sized>(&self, key: &K, op: &Op<S>) -> Answer<S> {
        self.storage.apply_now(&self.strategy, key, op)
    }

    /// Applies any operation at a time read from this limiter's clock.
    #[inline]
    pub fn apply<K: Key + ?Sized>(&self, key: &K, op: &Op<S>, now: Timestamp) -> Answer<S> {
        self.storage.apply(&self.strategy, key, op, now)
    }

    /// The present, by the clock of the storage.
    #[inline]
    pub fn now(&self) -> Timestamp {
        self.storage.now()
    }

    /// The limit that is run.
    pub const fn strategy(&self) -> &S {
        &self.strategy
    }

    /// The storage it is run in.
    pub const fn storage(&self) -> &M {
        &self.storage
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
        let expect = |state| {
            let mut estimate = WaitEstimate::new(&self.strategy, state, self.now(), within);
            ahead(&mut |cost| estimate.add(&Hit { cost: S::Cost::uniform(cost), ..hit }));
            estimate.add(&hit);
            estimate.waited()
        };
        ready(self.storage.load(key).map(expect))
    }
}
