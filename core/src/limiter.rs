//! The limiter: a strategy and a storage put together.

use crate::storage::{Answer, MultiKeyVerdict};
use crate::strategy::ReceiptOf;
use crate::{Class, Cost, Hit, Key, Op, Storage, StorageError, Strategy, Timestamp};

mod bound;
mod delayed;
mod error;
mod estimate;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod future;
mod target;
mod until_ready;
mod wait;

pub use error::WaitError;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use future::AsyncLimiter;

/// A rate limiter over a storage of this process, such as `Memory` or [`Fixed`](crate::Fixed).
///
/// Choose it where the storage answers at once; for Redis, Memcached or a storage in layers choose
/// `AsyncLimiter`, which has the same verbs. Most callers want [`check`](Self::check).
///
/// | verb | charges | returns |
/// |---|---|---|
/// | [`check`](Self::check), [`check_n`](Self::check_n) | if admitted | whether the hit may pass |
/// | [`check_many`](Self::check_many) | each key that admits | a verdict for each of several keys |
/// | [`check_together`](Self::check_together) | all keys or none | whether all of several keys admit |
/// | [`until_ready`](Self::until_ready) | once admitted | the verdict, once the hit may pass |
/// | [`status`](Self::status), [`peek`](Self::peek) | nothing | the figures of now, or those after a hit |
/// | [`charge`](Self::charge) | always | the figures left behind |
/// | [`refund`](Self::refund), [`reset`](Self::reset) | gives back | the figures left behind |
///
/// ```
/// use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket, Verdict};
///
/// let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
/// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
///
/// let decision = limiter.check_n("alice", 4)?;
/// assert_eq!((decision.is_allowed(), decision.remaining()), (true, 6));
/// assert_eq!(limiter.peek("alice", 6)?.remaining(), 0); // the figures that a check would return
/// assert_eq!(limiter.refund("alice", 4, decision.receipt())?.remaining(), 10);
/// assert_eq!(limiter.stat("bob")?.tokens, 10); // reading charges nobody
/// # Ok::<(), traffik::StorageError>(())
/// ```
///
/// # Errors
///
/// Every verb fails with a [`StorageError`] if the storage cannot answer. The storages of traffik have then
/// charged nothing:
///
/// * [`Full`](crate::ErrorKind::Full): the storage has no room for another key, and its policy is to
///   [refuse](crate::storage::WhenFull::Refuse) new keys.
/// * [`Contended`](crate::ErrorKind::Contended): the caller is using the storage already. Only a strategy
///   that calls back into its own storage causes this.
///
/// `Memory` and [`Fixed`](crate::Fixed) evict by default, so they never fail with `Full` unless you choose to
/// refuse.
#[derive(Clone, Debug)]
pub struct Limiter<S, M> {
    strategy: S,
    storage: M,
}

impl<S: Strategy, M: Storage<S>> Limiter<S, M> {
    /// Creates a limiter that runs `strategy` in `storage`.
    #[must_use]
    pub const fn new(strategy: S, storage: M) -> Self {
        Self { strategy, storage }
    }

    /// Checks a hit of cost 1, and charges it if it is admitted. Most callers want this verb.
    ///
    /// ```
    /// use core::time::Duration;
    /// use traffik::{Fixed, Gcra, Limiter, ManualClock, rate};
    ///
    /// let storage = Fixed::<Gcra, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(Gcra::new(rate!("1/s")), storage);
    /// assert!(limiter.check("alice")?.is_allowed());
    ///
    /// let denied = limiter.check("alice")?;
    /// assert_eq!(denied.retry_after(), Some(Duration::from_secs(1)));
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    #[inline]
    pub fn check<K: Key + ?Sized>(&self, key: &K) -> Answer<S> {
        self.check_n(key, S::Cost::uniform(1))
    }

    /// Checks a hit of any cost, all or nothing, and charges it if it is admitted.
    ///
    /// The hit is a number, or a [`Hit`] that names its class too, for strategies that treat classes
    /// differently.
    ///
    /// ```
    /// # use traffik::{Class, Fixed, Gcra, Hit, Limiter, ManualClock, Priority, Ratio, Rate};
    /// # let half = Ratio::new(1, 2)?;
    /// let strategy = Priority::new(Gcra::new(Rate::per_minute(60)).burst(10)?, [("low".into(), half)])?;
    /// let limiter = Limiter::new(strategy, Fixed::<_, _, 16>::new(ManualClock::default(), 1));
    ///
    /// let low = Class::new().with_priority("low"); // leaves a half of the limit to others
    /// assert!(limiter.check_n("alice", Hit::new(5).with_class(low))?.is_allowed());
    /// assert!(!limiter.check_n("alice", Hit::new(1).with_class(low))?.is_allowed());
    /// assert!(limiter.check_n("alice", 5)?.is_allowed());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    #[inline]
    pub fn check_n<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Answer<S> {
        self.apply_now(key, &Op::Check(hit.into()))
    }

    /// Checks a hit at a time that the caller has read, so that one reading serves several limiters.
    ///
    /// The time MUST come from this limiter's [clock](Self::now).
    ///
    /// ```
    /// # use traffik::{Fixed, Hit, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(2)), storage);
    /// let now = limiter.now();
    /// assert!(limiter.check_at("alice", &Hit::new(2), now)?.is_allowed());
    /// assert!(!limiter.check_at("alice", &Hit::new(1), now)?.is_allowed());
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    #[inline]
    pub fn check_at<K: Key + ?Sized>(&self, key: &K, hit: &Hit<S::Cost>, now: Timestamp) -> Answer<S> {
        self.apply(key, &Op::Check(*hit), now)
    }

    /// Checks a hit of cost 1 on each of several keys, and calls `answer` with each verdict.
    ///
    /// One reading of the clock serves all keys, and a storage may look them up together. Each key is charged
    /// on its own: a denial of one does not affect another. A key that is named twice is charged twice.
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

    /// Checks one hit on several keys, such as an address and a user: charges all of them, or none.
    ///
    /// The verdict's field `verdicts` holds one verdict for each key, in the order of `keys`. If one key
    /// denies, the others hold the verdict that they would have returned. Its method `is_allowed()` reports
    /// whether all admit, `outcome()` adds the longest of their waits, and `is_atomic()` reports whether the
    /// storage decided in one step.
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
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        keys: [&K; N],
        hit: impl Into<Hit<S::Cost>>,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        self.storage.check_together(&self.strategy, keys, &hit.into(), self.now())
    }

    /// Decides as [`check_n`](Self::check_n) would, without charging; the figures are those after the hit.
    ///
    /// For the figures of now call [`status`](Self::status).
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// assert!(!limiter.peek("bob", 11)?.is_allowed());
    /// assert_eq!(limiter.peek("bob", 3)?.remaining(), 7);
    /// assert_eq!(limiter.peek("bob", 3)?.remaining(), 7); // still
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn peek<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Answer<S> {
        self.apply_now(key, &Op::Peek(hit.into()))
    }

    /// Reports what a key has left now, without charging; a key never seen has the whole limit.
    ///
    /// The verdict is that of a hit of cost 0, so it always admits. To ask whether a hit of another cost
    /// would pass, call [`peek`](Self::peek). The figures are those of the default class; for another class
    /// call `peek` with `Hit::new(0).with_class(class)`.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// assert_eq!(limiter.status("bob")?.remaining(), 10);
    /// assert_eq!(limiter.peek("bob", 3)?.remaining(), 7); // the rest after a hit of cost 3
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn status<K: Key + ?Sized>(&self, key: &K) -> Answer<S> {
        self.peek(key, S::Cost::uniform(0))
    }

    /// Charges a hit that has already happened, whether or not the limit would have admitted it.
    ///
    /// Returns the figures that the charge leaves behind; a caller that needs none writes `let _ =`. Use it
    /// where the cost is known only afterwards, such as the bytes of an answer. A charge may exceed the
    /// limit: later hits are then denied until they fit.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// assert_eq!(limiter.charge("bob", 8)?.remaining(), 2);
    /// assert_eq!(limiter.charge("bob", 8)?.remaining(), 0); // beyond the limit
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn charge<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Answer<S> {
        self.apply_now(key, &Op::Charge(hit.into()))
    }

    /// Gives back an admission, or a part of its cost, by the receipt in its verdict.
    ///
    /// Returns the figures that the refund leaves behind. The class MUST be that of the admission.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// let admitted = limiter.check_n("bob", 5)?; // an upper bound
    /// assert_eq!(limiter.refund("bob", 2, admitted.receipt())?.remaining(), 7); // it took 3
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn refund<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>>,
        receipt: ReceiptOf<S>,
    ) -> Answer<S> {
        self.apply_now(key, &Op::Refund(hit.into(), receipt))
    }

    /// Forgets a key, which then has its whole limit again. Returns the figures of the fresh key.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// let _ = limiter.charge("bob", 10)?;
    /// assert_eq!(limiter.reset("bob")?.remaining(), 10);
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn reset<K: Key + ?Sized>(&self, key: &K) -> Answer<S> {
        self.apply_now(key, &Op::Reset)
    }

    /// Reads the strategy's own figures for a key, such as a bucket's tokens, for the default class.
    ///
    /// ```
    /// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
    /// # let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
    /// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
    /// assert_eq!(limiter.stat("bob")?.tokens, 10);
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn stat<K: Key + ?Sized>(&self, key: &K) -> Result<S::Stat, StorageError> {
        self.stat_for(key, Class::default())
    }

    /// Reads the strategy's own figures for a key, for this class.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    pub fn stat_for<K: Key + ?Sized>(&self, key: &K, class: Class) -> Result<S::Stat, StorageError> {
        Ok(self.strategy.stat(&self.storage.load(key)?, class, self.now()))
    }

    /// Applies any operation, at the present time of the storage's clock.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    #[inline]
    pub fn apply_now<K: Key + ?Sized>(&self, key: &K, op: &Op<S>) -> Answer<S> {
        self.storage.apply_now(&self.strategy, key, op)
    }

    /// Applies any operation at a time read from this limiter's [clock](Self::now).
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`Limiter`](Self#errors).
    #[inline]
    pub fn apply<K: Key + ?Sized>(&self, key: &K, op: &Op<S>, now: Timestamp) -> Answer<S> {
        self.storage.apply(&self.strategy, key, op, now)
    }

    /// Reads the clock of the storage.
    #[inline]
    pub fn now(&self) -> Timestamp {
        self.storage.now()
    }

    /// Returns the strategy.
    pub const fn strategy(&self) -> &S {
        &self.strategy
    }

    /// Returns the storage.
    pub const fn storage(&self) -> &M {
        &self.storage
    }
}
