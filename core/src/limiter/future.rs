//! The limiter over a storage that may have to wait for its answer.

use crate::storage::{AsyncStorage, Failure, Reply};
use crate::{Class, Cost, Hit, Key, Op, Strategy, Verdict};

/// Limits what keys may do, remembering them in a storage that may be remote.
///
/// The verbs are those of [`Limiter`](crate::Limiter); each answers with a future.
#[derive(Clone, Debug)]
pub struct AsyncLimiter<S, M> {
    limit: S,
    storage: M,
}

impl<S: Strategy, M: AsyncStorage<S>> AsyncLimiter<S, M> {
    /// Runs `limit` in `storage`.
    #[must_use]
    pub const fn new(limit: S, storage: M) -> Self {
        Self { limit, storage }
    }

    /// Asks for one, and takes it if it is admitted.
    pub fn check<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.check_n(key, S::Cost::uniform(1))
    }

    /// Asks for `cost`, all or nothing, and takes it if it is admitted.
    pub fn check_n<K: Key + ?Sized>(&self, key: &K, cost: S::Cost) -> Reply<S::Verdict> {
        self.apply(key, &Op::Check(Hit::new(cost)))
    }

    /// What [`check_n`](Self::check_n) would answer, taking nothing.
    pub fn peek<K: Key + ?Sized>(&self, key: &K, cost: S::Cost) -> Reply<S::Verdict> {
        self.apply(key, &Op::Peek(Hit::new(cost)))
    }

    /// Books what has already happened, whether or not it was allowed. Answers what is left.
    pub fn charge<K: Key + ?Sized>(&self, key: &K, cost: S::Cost) -> Reply<S::Verdict> {
        self.apply(key, &Op::Charge(Hit::new(cost)))
    }

    /// Takes back `cost` of an admission, by the receipt in its verdict. Answers what is left.
    pub fn refund<K: Key + ?Sized>(
        &self,
        key: &K,
        cost: S::Cost,
        receipt: <S::Verdict as Verdict>::Receipt,
    ) -> Reply<S::Verdict> {
        self.apply(key, &Op::Refund(Hit::new(cost), receipt))
    }

    /// Forgets a key: it starts afresh.
    pub fn reset<K: Key + ?Sized>(&self, key: &K) -> Reply<S::Verdict> {
        self.apply(key, &Op::Reset)
    }

    /// The strategy's own figures for a key.
    pub async fn stat<K: Key + ?Sized>(&self, key: &K) -> Result<S::Stat, Failure> {
        let (state, now) = self.storage.load(&key).await?;
        Ok(self.limit.stat(&state, Class::default(), now))
    }

    /// Applies any operation.
    pub fn apply<K: Key + ?Sized>(&self, key: &K, op: &Op<S>) -> Reply<S::Verdict> {
        self.storage.apply(&self.limit, &key, op)
    }

    /// The limit that is run.
    pub const fn limit(&self) -> &S {
        &self.limit
    }

    /// The storage it is run in.
    pub const fn storage(&self) -> &M {
        &self.storage
    }
}
