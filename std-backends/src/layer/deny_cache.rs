//! A storage that is not asked again while its denial holds.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use traffik_core::storage::{AsyncStorage, Failure, Joint, Lines, Reply};
use traffik_core::{Clock, Digest, ErasedKey, Hit, Op, Origin, Strategy, Timestamp, Verdict};

use super::denials::{Asked, Denials};
use crate::MonotonicClock;
use crate::lock::random;

/// A storage whose denials are remembered in this process, so that a client who hammers costs it nothing.
///
/// * A check is answered here only if one of the same key, limit and class was denied at a cost not above its own, and
///   only until that one's wait is over, counted from when the storage was asked: never longer than the storage denies.
/// * What is told is what the storage would tell: the same denial with waits that are shorter by the time that went by. A larger
///   cost is told the wait of the smaller one, which is the least it has to wait; and what is left of the limit is
///   told as it was.
/// * A denial of a key is forgotten when this process refunds, resets, charges or admits anything of it, under whatever limit;
///   one that is on its way meanwhile is not remembered. A limit that was raised is another one, so it is asked about.
/// * **What other processes refund or reset is seen when the wait is over**, as is what becomes of a call whose future was
///   dropped or whose outcome is unknown. Until then a client is denied who might pass; never the other way round.
/// * Peeks, looks at a state and checks of several keys at once are always passed on, and answered by the storage. So is all of
///   a strategy that [records demand](Strategy::RECORDS_DEMAND).
/// * An answer of its own is there at once, and nothing allocated for it.
///
/// It is outermost best, where it saves most. Around a [`Failover`](super::Failover) what the fallback has denied stays denied for
/// as long as it said, also when the primary is back; who does not want that puts it around the primary alone.
///
/// ```
/// use traffik_backends::layer::DenyCache;
/// use traffik_backends::Memory;
/// use traffik_core::storage::{Local, Reply};
/// use traffik_core::{AsyncLimiter, TokenBucket, rate};
///
/// // Memory stands here for a store that is far away.
/// let storage = DenyCache::builder(Local(Memory::new(1_000))).keys(10_000).build();
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("1/min")), storage);
/// let is_allowed = || match limiter.check("alice") {
///     Reply::Ready(Some(Ok(decision))) => decision.is_allowed(),
///     _ => unreachable!("memory does not fail"),
/// };
/// assert!(is_allowed());
/// assert!(!is_allowed()); // says the storage
/// assert!(!is_allowed()); // and this one it is not asked for
/// assert_eq!(limiter.storage().answered(), 1);
/// ```
pub struct DenyCache<S: Strategy, T> {
    storage: T,
    parts: Arc<Parts<S>>,
}

struct Parts<S: Strategy> {
    denials: Denials<S>,
    clock: Box<dyn Clock + Send + Sync>,
    answered: AtomicU64,
}

/// What a [`DenyCache`] is to be like.
#[must_use]
pub struct DenyCacheBuilder<S, T> {
    storage: T,
    limit: PhantomData<fn(S)>,
    keys: usize,
    clock: Option<Box<dyn Clock + Send + Sync>>,
    seed: Option<u64>,
}

impl<S: Strategy + PartialEq, T> DenyCacheBuilder<S, T> {
    /// Remembers up to so many denials, rounded up to a multiple of eight: 10 000 if nothing is said. Where there is no room,
    /// whichever is over first gives way.
    pub const fn keys(mut self, most: usize) -> Self {
        self.keys = most;
        self
    }

    /// Goes by this clock, which should not step; by a [`MonotonicClock`] if nothing is said.
    pub fn clock(mut self, clock: impl Clock + Send + Sync + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Tells keys apart by a hash that is keyed with this, which clients must not know; with a random number if nothing is said.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The storage.
    #[must_use]
    pub fn build(self) -> DenyCache<S, T> {
        let denials = Denials::new(self.keys, self.seed.unwrap_or_else(random));
        let clock = self.clock.unwrap_or_else(|| Box::new(MonotonicClock::default()));
        let parts = Arc::new(Parts { denials, clock, answered: AtomicU64::new(0) });
        DenyCache { storage: self.storage, parts }
    }
}

impl<S: Strategy, T> DenyCache<S, T> {
    /// The storage.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    /// How many checks it has answered without asking the storage.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.parts.answered.load(Ordering::Relaxed)
    }

    /// How many denials it remembers, those that are over included until others take their room.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.parts.denials.len()
    }
}

impl<S: Strategy + PartialEq, T> DenyCache<S, T> {
    /// The storage, not asked again about what it has just denied.
    pub const fn builder(storage: T) -> DenyCacheBuilder<S, T> {
        DenyCacheBuilder { storage, limit: PhantomData, keys: 10_000, clock: None, seed: None }
    }

    /// Passes a call on that may change what is kept of keys.
    fn change<A: Send + 'static>(&self, digests: Vec<Digest>, call: impl FnOnce() -> Reply<A>) -> Reply<A> {
        let change = Change { parts: Arc::clone(&self.parts), digests };
        change.forget();
        match call() {
            // The change is dropped here, and there with the answer.
            Reply::Ready(answer) => Reply::Ready(answer),
            Reply::Pending(answer) => Reply::pending(async move {
                let _change = change;
                answer.await
            }),
        }
    }
}

impl<S: Strategy + PartialEq> Parts<S> {
    /// Whether the answer to a check leaves what is kept of the key as it was.
    fn heard(
        &self,
        limit: &S,
        asked: &Asked,
        hit: &Hit<S::Cost>,
        answer: &Result<S::Verdict, Failure>,
    ) -> bool {
        let is_denied = answer.as_ref().is_ok_and(|verdict| !verdict.outcome().is_allowed());
        if let (Ok(verdict), true) = (answer, is_denied) {
            self.denials.note(limit, asked, hit, verdict);
        }
        is_denied
    }
}

/// A call that may change what is kept of keys: what was denied before it is over is not remembered.
struct Change<S: Strategy> {
    parts: Arc<Parts<S>>,
    digests: Vec<Digest>,
}

impl<S: Strategy> Change<S> {
    fn forget(&self) {
        self.digests.iter().for_each(|digest| self.parts.denials.forget(*digest));
    }
}

impl<S: Strategy> Drop for Change<S> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// A check on its way: a change, unless it turns out to be denied.
struct Check<S: Strategy> {
    parts: Arc<Parts<S>>,
    asked: Asked,
    is_denied: bool,
}

impl<S: Strategy> Drop for Check<S> {
    fn drop(&mut self) {
        if !self.is_denied {
            self.parts.denials.forget(self.asked.digest());
        }
    }
}

impl<S: Strategy + PartialEq, T: AsyncStorage<S>> AsyncStorage<S> for DenyCache<S, T> {
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let call = || self.storage.apply(limit, key, op);
        let hit = match op {
            _ if S::RECORDS_DEMAND => return call(),
            Op::Peek(_) => return call(),
            Op::Charge(_) | Op::Refund(..) | Op::Reset => {
                return self.change(vec![self.parts.denials.digest(key)], call);
            }
            Op::Check(hit) => *hit,
        };
        let digest = self.parts.denials.digest(key);
        let asked = match self.parts.denials.ask(limit, digest, &hit, self.parts.clock.now()) {
            Err(asked) => asked,
            Ok(denied) => {
                self.parts.answered.fetch_add(1, Ordering::Relaxed);
                return Reply::ready(Ok(denied.with_origin(Origin::DenyCache)));
            }
        };
        let mut check = Check { parts: Arc::clone(&self.parts), asked, is_denied: false };
        match call() {
            Reply::Ready(answer) => {
                check.is_denied =
                    answer.as_ref().is_some_and(|answer| self.parts.heard(limit, &asked, &hit, answer));
                Reply::Ready(answer)
            }
            Reply::Pending(answer) => {
                let limit = limit.clone();
                Reply::pending(async move {
                    let mut check = check;
                    let answer = answer.await;
                    check.is_denied = check.parts.heard(&limit, &asked, &hit, &answer);
                    answer
                })
            }
        }
    }

    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.storage.load(limit, key)
    }

    fn is_local(&self) -> bool {
        self.storage.is_local()
    }

    fn check_together(
        &self,
        limit: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<Joint<S::Verdict>> {
        let call = || self.storage.check_together(limit, keys, hit);
        if S::RECORDS_DEMAND {
            return call();
        }
        self.change(keys.iter().map(|key| self.parts.denials.digest(*key)).collect(), call)
    }

    fn lines(&self) -> Option<&dyn Lines> {
        self.storage.lines()
    }
}

impl<S: Strategy, T: Clone> Clone for DenyCache<S, T> {
    fn clone(&self) -> Self {
        Self { storage: self.storage.clone(), parts: Arc::clone(&self.parts) }
    }
}

impl<S: Strategy, T: fmt::Debug> fmt::Debug for DenyCache<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenyCache")
            .field("storage", &self.storage)
            .field("remembered", &self.remembered())
            .field("answered", &self.answered())
            .finish_non_exhaustive()
    }
}

impl<S, T: fmt::Debug> fmt::Debug for DenyCacheBuilder<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenyCacheBuilder")
            .field("storage", &self.storage)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
