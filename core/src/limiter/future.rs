//! The limiter over a storage that may have to wait for its answer.

use alloc::vec::Vec;
use core::future::Future;
use core::ops::Range;
use core::time::Duration;

use super::WaitError;
use super::bound::{NoBound, TimeBound};
use super::estimate::WaitEstimate;
use super::target::WaitTarget;
use super::wait::wait;
use crate::storage::{AsyncStorage, BackendError, MultiKeyReply, MultiKeyVerdict, Reply, WaitQueue};
use crate::strategy::ReceiptOf;
use crate::{Class, Cost, ErasedKey, ErrorKind, Hit, Key, Op, Strategy, Timer, Timestamp, Verdict};

/// Limits what keys may do, remembering them in a storage that may be remote.
///
/// The verbs are those of [`Limiter`](crate::Limiter); each answers with a future.
#[derive(Clone, Debug)]
pub struct AsyncLimiter<S, M> {
    strategy: S,
    storage: M,
}

impl<S: Strategy, M: AsyncStorage<S>> AsyncLimiter<S, M> {
    /// Runs `limit` in `storage`.
    #[must_use]
    pub const fn new(strategy: S, storage: M) -> Self {
        Self { strategy, storage }
    }

    /// Asks for one, and takes it if it is admitted.
    pub fn check<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.check_n(key, S::Cost::uniform(1))
    }

    /// Asks for a hit, all or nothing, and takes it if it is admitted: a cost, or a [`Hit`] that names its
    /// class too.
    pub fn check_n<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Reply<S::Verdict> {
        self.apply(key, &Op::Check(hit.into()))
    }

    /// Asks for a hit on each of several keys, such as an address and a user: all of them are charged, or
    /// none.
    ///
    /// The answer has the field `verdicts`, one for each key in their order: if one denies, what the others
    /// would have said. Its methods are `is_allowed()`; `outcome()`, with the longest of the waits; and
    /// `is_atomic()`, whether all keys were asked in one step.
    ///
    /// In one step where the storage can do that; else one after another, and if one denies, those charged
    /// before are refunded: never more than the limit, but somebody else may be denied meanwhile.
    /// `is_atomic()` reports which it was. After a failure those that are known to have been charged were
    /// given back, as far as the storage could be reached.
    pub async fn check_together<K: Key, const N: usize>(
        &self,
        keys: [&K; N],
        hit: impl Into<Hit<S::Cost>>,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, BackendError> {
        let hit = hit.into();
        let asked = {
            let erased = keys.map(|key| key as &dyn ErasedKey);
            self.storage.check_together(&self.strategy, &erased, &hit)
        };
        let told = asked.await?;
        let one_each = |verdicts: Vec<S::Verdict>| {
            <[S::Verdict; N]>::try_from(verdicts).map_err(|_| {
                BackendError::new(ErrorKind::Other, "the storage answered for other keys than it was asked")
            })
        };
        match told {
            MultiKeyReply::Atomic(verdicts) => one_each(verdicts).map(MultiKeyVerdict::new),
            MultiKeyReply::Sequential(verdicts) => one_each(verdicts).map(MultiKeyVerdict::in_turn),
            MultiKeyReply::Unsupported => {
                one_each(self.check_in_turn(keys, &hit).await?).map(MultiKeyVerdict::in_turn)
            }
        }
    }

    async fn check_in_turn<K: Key, const N: usize>(
        &self,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
    ) -> Result<Vec<S::Verdict>, BackendError> {
        let (mut told, mut op) = (Vec::with_capacity(N), Op::Check(*hit));
        for key in keys {
            let answer = self.apply(key, &op).await;
            let admitted = answer.as_ref().is_ok_and(|verdict| verdict.outcome().is_allowed());
            if !admitted && matches!(op, Op::Check(_)) {
                op = Op::Peek(*hit);
                let mut refunded = Ok(());
                // The last one first: of a queue only the last place can be given back.
                for (key, verdict) in keys.into_iter().zip(&told).collect::<Vec<_>>().into_iter().rev() {
                    let verdict: &S::Verdict = verdict;
                    let refund = self.apply(key, &Op::Refund(*hit, verdict.receipt())).await;
                    refunded = refunded.and(refund.map(drop));
                }
                refunded?;
            }
            told.push(answer?);
        }
        Ok(told)
    }

    /// Decides as [`check_n`](Self::check_n) would, and takes nothing: the figures are those after the hit.
    /// For the figures of now ask for the [`status`](Self::status).
    pub fn peek<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Reply<S::Verdict> {
        self.apply(key, &Op::Peek(hit.into()))
    }

    /// Reports what a key has left now, charging nothing: a key never seen has the whole limit. It is the
    /// answer to a hit of cost 0, so it admits; whether a hit of another cost would pass, and what would be
    /// left after it, [`peek`](Self::peek) answers. The figures are those of the default class; those of
    /// another one are a `peek` at `Hit::new(0).with_class(class)`.
    pub fn status<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.peek(key, S::Cost::uniform(0))
    }

    /// Books what has already happened, whether or not it was allowed. Answers what is left.
    pub fn charge<K: Key + ?Sized>(&self, key: &K, hit: impl Into<Hit<S::Cost>>) -> Reply<S::Verdict> {
        self.apply(key, &Op::Charge(hit.into()))
    }

    /// Takes back an admission, or a part of its cost, by the receipt in its verdict. The class MUST be that
    /// of the admission. Answers what is left.
    pub fn refund<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>>,
        receipt: ReceiptOf<S>,
    ) -> Reply<S::Verdict> {
        self.apply(key, &Op::Refund(hit.into(), receipt))
    }

    /// Forgets a key: it starts afresh.
    pub fn reset<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.apply(key, &Op::Reset)
    }

    /// The strategy's own figures for a key, as they are for the default class.
    pub async fn stat<K: Key + ?Sized>(&self, key: &K) -> Result<S::Stat, BackendError> {
        self.stat_for(key, Class::default()).await
    }

    /// The strategy's own figures for a key, as they are for a class.
    pub async fn stat_for<K: Key + ?Sized>(&self, key: &K, class: Class) -> Result<S::Stat, BackendError> {
        let (state, now) = self.storage.load(&self.strategy, &key).await?;
        Ok(self.strategy.stat(&state, class, now))
    }

    /// Waits until a hit of cost 1 is admitted, and takes it.
    ///
    /// * **Order.** Waiters are served as by [`Limiter::until_ready`](crate::Limiter::until_ready), among
    ///   those of this process: only the first in the [queue](AsyncStorage::wait_queue) asks the storage, one
    ///   call at a time.
    /// * **Rate.** A storage that is [local](crate::storage::Local), and behind no layer, counts from the
    ///   time at which a hit was due, as there. Any other decides by when the call arrives: each turn comes
    ///   late by the timer's lateness and a round trip, and all that follow with it. A bucket with a burst of
    ///   two or more loses nothing by that.
    /// * **Duration.** Waiting has no bound, as there. Each call takes as long as the storage does, so that a
    ///   storage without a timeout can hold up the queue.
    /// * **Drop.** A dropped future keeps no place, and the next one in the queue is woken at once. During
    ///   the delay of an admission those behind it in this process move up. It has taken nothing but in two
    ///   cases: a call was on its way, which the store may yet charge; or nobody is left to use the turn that
    ///   is free then, and the storage is not [local](AsyncStorage::is_local), so that a refund would have to
    ///   be awaited.
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
    ) -> impl Future<Output = Result<S::Verdict, WaitError<BackendError>>> {
        self.until_ready_n(key, S::Cost::uniform(1), timer)
    }

    /// Waits until a hit is admitted, all of its cost at once, and takes it: a cost, or a [`Hit`] that names
    /// its class too. Order, duration, drop and errors are those of [`until_ready`](Self::until_ready).
    pub fn until_ready_n<K: Key + ?Sized>(
        &self,
        key: &K,
        hit: impl Into<Hit<S::Cost>> + Copy,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError<BackendError>>> {
        wait(self, key, hit, timer, NoBound)
    }

    /// Waits until a hit is admitted, but no longer than `within`, and takes it; see
    /// [`Limiter::until_ready_within`](crate::Limiter::until_ready_within). Each call of the storage may take
    /// as long as that does on top, and an admission that came too late is refunded before this fails.
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
    ) -> impl Future<Output = Result<S::Verdict, WaitError<BackendError>>> {
        wait(self, key, hit, timer, TimeBound::new(timer, within))
    }

    /// Applies any operation.
    pub fn apply<K: Key + ?Sized>(&self, key: &K, op: &Op<S>) -> Reply<S::Verdict> {
        self.storage.apply(&self.strategy, &key, op)
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
