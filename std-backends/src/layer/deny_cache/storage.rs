//! A storage that is not asked again while its denial holds.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;
use traffik_core::storage::{AsyncStorage, BackendError, MultiKeyReply, Reply};
use traffik_core::{Clock, Cost, Digest, ErasedKey, Hit, Op, Strategy, Timestamp, Verdict, debug_fields};

use crate::layer::delegate::delegate;
use crate::layer::deny_cache::table::{DenialQuery, DenialTable};
use crate::util::key::KeyRefs;

/// A storage whose denials are remembered in this process, so that a client who hammers costs it nothing.
///
/// * A check is answered here only if one of the same key, limit and class was denied at a cost not above its
///   own, and only until that one's wait is over, counted from when the storage was asked: never longer than
///   the storage denies.
/// * What is effect is what the storage would tell: the same denial with waits that are shorter by the time
///   that went by. A larger cost is effect the wait of the smaller one, which is the least it has to wait; and
///   what is left of the limit is effect as it was.
/// * A denial of a key is forgotten when this process refunds, resets, charges or admits anything of it,
///   under whatever limit; one that is on its way meanwhile is not remembered. A limit that was raised is
///   another one, so it is asked about.
/// * **What other processes refund or reset is seen when the wait is over**, as is what becomes of a call
///   whose future was dropped or whose outcome is unknown. Until then a client is denied who might pass;
///   never the other way round. Nor is it seen that the storage was cleared, by whomever:
///   [`clear`](Self::clear) this after it.
/// * A check of several keys at once is answered here if it was denied before, in one step, and as long as
///   all that was effect of each key holds. What a key says that would admit is effect as it was.
/// * Peeks and looks at a state are always passed on, and answered by the storage. So are checks of a limit
///   that [records demand](Strategy::records_demand), whose denials are not remembered.
/// * Where a request is asked about with several storages, [what is remembered](AsyncStorage::known_denial)
///   is looked up before any of them is called.
/// * An answer of its own is there at once, and nothing allocated for it unless it is about several keys.
///
/// It is outermost best, where it saves most. Around a [`Failover`](crate::layer::Failover) what the fallback
/// has denied stays denied for as long as it said, also when the primary is back; who does not want that puts
/// it around the primary alone.
///
/// ```
/// use traffik::layer::DenyCache;
/// use traffik::Memory;
/// use traffik::storage::{Local, Reply};
/// use traffik::{AsyncLimiter, TokenBucket, rate};
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
#[derive(Clone)]
pub struct DenyCache<S: Strategy, T> {
    pub(super) storage: T,
    pub(super) inner: Arc<DenyCacheInner<S>>,
}

pub(super) struct DenyCacheInner<S: Strategy> {
    pub(super) denials: DenialTable<S>,
    pub(super) clock: Box<dyn Clock + Send + Sync>,
    pub(super) answered: AtomicU64,
}

impl<S: Strategy, T> DenyCache<S, T> {
    /// The storage.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    /// How many checks it has answered without asking the storage.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.inner.answered.load(Ordering::Relaxed)
    }

    /// How many denials it remembers, those that are over included until others take their room.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.inner.denials.len()
    }

    /// Forgets all denials, those on their way included: to be called after the storage was cleared, of which
    /// nothing is seen here.
    pub fn clear(&self) {
        self.inner.denials.clear();
    }
}

impl<S: Strategy + PartialEq, T> DenyCache<S, T> {
    /// Passes a call on about a hit on keys that were asked about. Unless it turns out that the hit is
    /// denied, the call changes what is kept of them.
    fn pass<A: Send + 'static>(
        &self,
        (limit, hit): (&S, &Hit<S::Cost>),
        asked: impl AsRef<[DenialQuery]> + Send + 'static,
        reply: Reply<A>,
        effect: fn(&A) -> KeyEffect<'_, S::Verdict>,
    ) -> Reply<A> {
        let mut call = InvalidationGuard { inner: Arc::clone(&self.inner), asked, is_over: false };
        if let Reply::Ready(answer) = &reply {
            call.is_over =
                answer.as_ref().is_some_and(|it| call.leaves_keys_unchanged(limit, hit, it, effect));
            return reply;
        }
        let (limit, hit) = (limit.clone(), *hit);
        reply.inspect(move |answer| {
            let mut call = call;
            call.is_over = call.leaves_keys_unchanged(&limit, &hit, answer, effect);
        })
    }
}

/// What an answer tells of keys.
enum KeyEffect<'a, V> {
    /// What each of them said, in one step.
    Decided(&'a [V]),
    /// That something was done with them, whatever came of it.
    Changed,
    /// That nothing was done.
    Unchanged,
}

fn effect_on_each<V>(effect: &MultiKeyReply<V>) -> KeyEffect<'_, V> {
    match effect {
        MultiKeyReply::Atomic(verdicts) => KeyEffect::Decided(verdicts),
        // Somebody else may have been denied by what was given back in the end.
        MultiKeyReply::Sequential(_) => KeyEffect::Changed,
        MultiKeyReply::Unsupported => KeyEffect::Unchanged,
    }
}

/// Of a key that is named twice: what it says the second time is not what it says for itself.
fn effect_on_all<V>(effect: &MultiKeyReply<V>) -> KeyEffect<'_, V> {
    if matches!(effect, MultiKeyReply::Unsupported) { KeyEffect::Unchanged } else { KeyEffect::Changed }
}

fn are_distinct(digests: &[Digest]) -> bool {
    !digests.iter().enumerate().any(|(at, one)| digests.iter().skip(at + 1).any(|it| it == one))
}

/// A call on its way. However it ends, what was denied until then is forgotten with it, unless it is known to
/// have changed nothing.
struct InvalidationGuard<S: Strategy, K: AsRef<[DenialQuery]>> {
    inner: Arc<DenyCacheInner<S>>,
    asked: K,
    is_over: bool,
}

impl<S: Strategy + PartialEq, K: AsRef<[DenialQuery]>> InvalidationGuard<S, K> {
    /// Whether the answer leaves what is kept of the keys as it was. A denial is remembered.
    fn leaves_keys_unchanged<A>(
        &self,
        strategy: &S,
        hit: &Hit<S::Cost>,
        answer: &Result<A, BackendError>,
        effect: fn(&A) -> KeyEffect<'_, S::Verdict>,
    ) -> bool {
        match answer.as_ref().map(effect) {
            Ok(KeyEffect::Decided(verdicts)) if verdicts.iter().any(|it| !it.outcome().is_allowed()) => {
                self.inner.denials.note(strategy, self.asked.as_ref(), hit, verdicts);
                true
            }
            Ok(KeyEffect::Unchanged) => true,
            _ => false,
        }
    }
}

impl<S: Strategy, K: AsRef<[DenialQuery]>> Drop for InvalidationGuard<S, K> {
    fn drop(&mut self) {
        if !self.is_over {
            self.asked.as_ref().iter().for_each(|asked| self.inner.denials.forget(asked.digest));
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy + PartialEq, T: AsyncStorage<S>> AsyncStorage<S> for DenyCache<S, T> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        if matches!(op, Op::Peek(_)) {
            return self.storage.apply(strategy, key, op);
        }
        let DenyCacheInner { denials, clock, answered } = &*self.inner;
        let (digest, now) = (denials.seed.digest(key), clock.now());
        let Op::Check(hit) = op else {
            // Forgotten here, for it may be done at once, and when it is over.
            denials.forget(digest);
            let hit = Hit::new(S::Cost::uniform(0));
            let asked = [denials.query(digest, now)];
            return self.pass((strategy, &hit), asked, self.storage.apply(strategy, key, op), |_| {
                KeyEffect::Changed
            });
        };
        if strategy.records_demand() {
            let asked = [denials.query(digest, now)];
            return self.pass((strategy, hit), asked, self.storage.apply(strategy, key, op), |verdict| {
                if verdict.outcome().is_allowed() { KeyEffect::Changed } else { KeyEffect::Unchanged }
            });
        }
        match denials.lookup(strategy, digest, hit, now) {
            Ok(denied) => {
                answered.fetch_add(1, Ordering::Relaxed);
                Reply::ready(Ok(denied))
            }
            Err(asked) => {
                self.pass((strategy, hit), [asked], self.storage.apply(strategy, key, op), |verdict| {
                    KeyEffect::Decided(std::slice::from_ref(verdict))
                })
            }
        }
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.storage.load(strategy, key)
    }

    fn known_denial(&self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        if strategy.records_demand() {
            return None;
        }
        let DenyCacheInner { denials, clock, answered } = &*self.inner;
        let denied = denials.lookup(strategy, denials.seed.digest(key), hit, clock.now()).ok()?;
        answered.fetch_add(1, Ordering::Relaxed);
        Some(denied)
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let DenyCacheInner { denials, clock, answered } = &*self.inner;
        let digests: Vec<_> = keys.iter().map(|key| denials.seed.digest(*key)).collect();
        if strategy.records_demand() {
            let now = clock.now();
            let asked: Vec<_> = digests.iter().map(|digest| denials.query(*digest, now)).collect();
            return self.pass(
                (strategy, hit),
                asked,
                self.storage.check_together(strategy, keys, hit),
                effect_on_all,
            );
        }
        match denials.lookup_together(strategy, &digests, hit, clock.now()) {
            Ok(denied) => {
                answered.fetch_add(1, Ordering::Relaxed);
                Reply::ready(Ok(MultiKeyReply::Atomic(denied)))
            }
            Err(asked) => {
                // What a key that is named twice says the second time is not what it says of itself.
                let effect = if are_distinct(&digests) { effect_on_each } else { effect_on_all };
                self.pass((strategy, hit), asked, self.storage.check_together(strategy, keys, hit), effect)
            }
        }
    }

    delegate!(self => self.storage; apply_due, node, is_local, wait_queue);
}

debug_fields!(
    [S: Strategy, T: Debug] DenyCache<S, T>:
    storage, remembered = |it| it.remembered(), answered = |it| it.answered()
);
