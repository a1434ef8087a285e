//! The limiter over a storage that may have to wait for its answer.

use alloc::format;
use alloc::vec::Vec;

use crate::storage::{AsyncStorage, BackendError, MultiKeyReply, MultiKeyVerdict, Reply};
use crate::strategy::ReceiptOf;
use crate::{Class, Cost, ErasedKey, ErrorKind, Hit, Key, Op, Strategy, Verdict};

mod until_ready;

/// A rate limiter over a storage that may be remote, such as Redis, or a storage in layers.
///
/// Choose it where the answer has to be awaited; for a storage of this process [`Limiter`](crate::Limiter)
/// needs no `await`. The verbs are the same, and each returns a [`Reply`], which is a future. Most callers
/// want [`check`](Self::check).
///
/// ```
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate, storage::Local};
/// # traffik::runtime::Manual::new().run(async {
///
/// // `Memory` stands here for a `RedisStorage` or a `MemcachedStorage`.
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), Local(Memory::new(1_000)));
/// assert!(limiter.check("alice").await?.is_allowed());
/// assert_eq!(limiter.status("alice").await?.remaining(), 1);
/// # Ok::<(), traffik::storage::BackendError>(())
/// # })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Waiting
///
/// A reply waits for the storage and for nothing else. It waits for as long as the storage does: a storage on
/// Redis or Memcached has a timeout, and the layer `Timeout` of `traffik::layer` adds one to any other.
///
/// # Dropped replies
///
/// A storage of this process decides within the call, so dropping its reply changes nothing. A remote store
/// may have received the call already: a hit of a dropped reply may or may not have been charged. Later calls
/// work as before.
///
/// # Errors
///
/// Every verb fails with a [`BackendError`] if the storage cannot answer. Its [`kind`](BackendError::kind)
/// says what happened to the hit: [`Timeout`](ErrorKind::Timeout) means that it may or may not have been
/// charged.
#[derive(Clone, Debug)]
pub struct AsyncLimiter<S, M> {
    strategy: S,
    storage: M,
}

impl<S: Strategy, M: AsyncStorage<S>> AsyncLimiter<S, M> {
    /// Creates a limiter that runs `strategy` in `storage`.
    #[must_use]
    pub const fn new(strategy: S, storage: M) -> Self {
        Self { strategy, storage }
    }

    /// Checks a hit of cost 1, and charges it if it is admitted. Most callers want this verb.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// let answer = match limiter.check("alice").await?.retry_after() {
    ///     None => "welcome".to_string(),
    ///     Some(wait) => format!("try again in {wait:?}"),
    /// };
    /// assert_eq!(answer, "welcome");
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A [dropped reply](Self#dropped-replies) may have charged the hit.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn check<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.check_n(key, S::Cost::uniform(1))
    }

    /// Checks a hit of any cost, all or nothing, and charges it if it is admitted.
    ///
    /// The hit is a number, or a [`Hit`] that names its class too.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// assert_eq!(limiter.check_n("alice", 4).await?.remaining(), 6);
    /// assert!(!limiter.check_n("alice", 7).await?.is_allowed());
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A [dropped reply](Self#dropped-replies) may have charged the hit.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn check_n<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Reply<S::Verdict> {
        self.apply(key, &Op::Check(hit.into()))
    }

    /// Checks one hit on several keys, such as an address and a user: charges all of them, or none.
    ///
    /// The verdict's field `verdicts` holds one verdict for each key, in the order of `keys`. If one key
    /// denies, the others hold the verdict that they would have returned. Its method `is_allowed()` reports
    /// whether all admit, and `outcome()` adds the longest of their waits.
    ///
    /// A storage that supports it decides in one step, and `is_atomic()` reports whether it did. On any other
    /// the limiter checks one key after another and, if one denies, refunds those charged before. The limit
    /// is never exceeded, but others may be denied meanwhile.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// assert!(limiter.check_together([&"address 1", &"user 1"], 10).await?.is_allowed());
    /// let denied = limiter.check_together([&"address 2", &"user 1"], 1).await?;
    /// assert!(!denied.is_allowed() && denied.verdicts[0].is_allowed());
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The future waits for one call of the storage, and for up to two more a key. A future that is dropped
    /// between those calls leaves the keys charged that were charged so far.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors). The limiter has then refunded
    /// the keys that it knows to be charged, as far as it could reach the storage. Fails with
    /// [`ErrorKind::Other`] if the storage returns another number of verdicts than there are keys.
    pub async fn check_together<K: Key, const N: usize>(
        &self,
        keys: [&K; N],
        hit: impl Into<Hit<S::Cost>>,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, BackendError> {
        let hit = hit.into();
        let call = {
            // The call reads the keys before it returns, so that the future holds none of these pointers.
            let erased = keys.map(|key| key as &dyn ErasedKey);
            self.storage.check_together(&self.strategy, &erased, &hit)
        };
        let reply = call.await?;
        let into_array = |verdicts: Vec<S::Verdict>| {
            <[S::Verdict; N]>::try_from(verdicts).map_err(|verdicts| {
                let message = format!("the storage returned {} verdicts for {N} keys", verdicts.len());
                BackendError::new(ErrorKind::Other, message)
            })
        };
        match reply {
            MultiKeyReply::Atomic(verdicts) => into_array(verdicts).map(MultiKeyVerdict::new),
            MultiKeyReply::Sequential(verdicts) => into_array(verdicts).map(MultiKeyVerdict::in_turn),
            MultiKeyReply::Unsupported => {
                into_array(self.check_in_turn(keys, &hit).await?).map(MultiKeyVerdict::in_turn)
            }
        }
    }

    /// Checks the keys one after another; if one denies, refunds those charged before and peeks at the rest.
    async fn check_in_turn<K: Key, const N: usize>(
        &self,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
    ) -> Result<Vec<S::Verdict>, BackendError> {
        let (mut verdicts, mut op) = (Vec::with_capacity(N), Op::Check(*hit));
        for key in keys {
            let answer = self.apply(key, &op).await;
            let admitted = answer.as_ref().is_ok_and(|verdict| verdict.outcome().is_allowed());
            if !admitted && matches!(op, Op::Check(_)) {
                // The rest is only peeked at, so that every key has a verdict.
                op = Op::Peek(*hit);
                let mut refunded = Ok(());
                // In reverse: of a queueing strategy only the last place can be refunded.
                for (key, verdict) in keys.into_iter().zip(&verdicts).collect::<Vec<_>>().into_iter().rev() {
                    let verdict: &S::Verdict = verdict;
                    let refund = self.apply(key, &Op::Refund(*hit, verdict.receipt())).await;
                    refunded = refunded.and(refund.map(drop));
                }
                // A failed refund leaves a charge behind, so the caller learns of it.
                refunded?;
            }
            verdicts.push(answer?);
        }
        Ok(verdicts)
    }

    /// Decides as [`check_n`](Self::check_n) would, without charging; the figures are those after the hit.
    ///
    /// For the figures of now call [`status`](Self::status).
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// assert_eq!(limiter.peek("bob", 3).await?.remaining(), 7);
    /// assert_eq!(limiter.status("bob").await?.remaining(), 10); // not charged
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A dropped reply changes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn peek<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Reply<S::Verdict> {
        self.apply(key, &Op::Peek(hit.into()))
    }

    /// Reports what a key has left now, without charging; a key never seen has the whole limit.
    ///
    /// The verdict is that of a hit of cost 0, so it always admits. To ask whether a hit of another cost
    /// would pass, call [`peek`](Self::peek). The figures are those of the default class; for another class
    /// call `peek` with `Hit::new(0).with_class(class)`.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// assert_eq!(limiter.status("bob").await?.remaining(), 10);
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A dropped reply changes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn status<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.peek(key, S::Cost::uniform(0))
    }

    /// Charges a hit that has already happened, whether or not the limit would have admitted it.
    ///
    /// Returns the figures that the charge leaves behind; a caller that needs none writes `let _ =`. A charge
    /// may exceed the limit: later hits are then denied until they fit.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// assert_eq!(limiter.charge("bob", 8).await?.remaining(), 2);
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A [dropped reply](Self#dropped-replies) may have charged the hit.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn charge<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Reply<S::Verdict> {
        self.apply(key, &Op::Charge(hit.into()))
    }

    /// Gives back an admission, or a part of its cost, by the receipt in its verdict.
    ///
    /// Returns the figures that the refund leaves behind. The class MUST be that of the admission.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// let admitted = limiter.check_n("bob", 5).await?; // an upper bound
    /// assert_eq!(limiter.refund("bob", 2, admitted.receipt()).await?.remaining(), 7); // it took 3
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A [dropped reply](Self#dropped-replies) may have refunded the hit.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn refund<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>>,
        receipt: ReceiptOf<S>,
    ) -> Reply<S::Verdict> {
        self.apply(key, &Op::Refund(hit.into(), receipt))
    }

    /// Forgets a key, which then has its whole limit again. Returns the figures of the fresh key.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// let _ = limiter.charge("bob", 10).await?;
    /// assert_eq!(limiter.reset("bob").await?.remaining(), 10);
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A [dropped reply](Self#dropped-replies) may have reset the key.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn reset<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.apply(key, &Op::Reset)
    }

    /// Reads the strategy's own figures for a key, such as a bucket's tokens, for the default class.
    ///
    /// ```
    /// # use traffik::{AsyncLimiter, Memory, TokenBucket, rate, runtime::Manual, storage::Local};
    /// # Manual::new().run(async {
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("10/min")), Local(Memory::new(1_000)));
    /// assert_eq!(limiter.stat("bob").await?.tokens, 10);
    /// # Ok::<(), traffik::storage::BackendError>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The future waits for one call of the storage; a dropped one changes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub async fn stat<K: Key + ?Sized>(&self, key: &K) -> Result<S::Stat, BackendError> {
        self.stat_for(key, Class::default()).await
    }

    /// Reads the strategy's own figures for a key, for this class.
    ///
    /// The future waits for one call of the storage; a dropped one changes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub async fn stat_for<K: Key + ?Sized>(&self, key: &K, class: Class) -> Result<S::Stat, BackendError> {
        let (state, now) = self.storage.load(&self.strategy, &key).await?;
        Ok(self.strategy.stat(&state, class, now))
    }

    /// Applies any operation, at the present time of the storage's clock.
    ///
    /// A [dropped reply](Self#dropped-replies) may have charged the hit.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer; see [`AsyncLimiter`](Self#errors).
    pub fn apply<K: Key + ?Sized>(&self, key: &K, op: &Op<S>) -> Reply<S::Verdict> {
        self.storage.apply(&self.strategy, &key, op)
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
