//! The storage that repeats its denials from memory.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;
use traffik_core::storage::{AsyncStorage, BackendError, MultiKeyReply, Reply};
use traffik_core::{Clock, Cost, Digest, ErasedKey, Hit, Op, Strategy, Timestamp, Verdict, debug_fields};

use crate::layer::delegate::delegate;
use crate::layer::deny_cache::table::{DenialQuery, DenialTable};
use crate::util::key::KeyRefs;

/// A storage whose denials are remembered in this process, so that repeated calls of denied clients cost the
/// store nothing.
///
/// Choose it where many calls are denied and a call to the store is expensive. Around all layers but
/// [`Instrumented`](crate::layer::Instrumented) it saves most. It remembers 10 000 denials by default.
///
/// * It answers a check only if a check of the same key, strategy and class was denied at the same or a
///   lower cost, and only until that denial's wait is over. The wait counts from when the storage was
///   asked, so it never outlasts the storage's own denial.
/// * It answers as the storage would: the same denial, with waits that are shorter by the time that passed.
///   A larger cost gets the wait of the smaller one, which is the least it has to wait. The remaining
///   allowance is that of the remembered denial.
/// * It forgets the denials of a key when this process refunds, resets, charges or admits anything on that
///   key, under any strategy. It does not remember a denial that is under way meanwhile. A raised limit is
///   another strategy, so the store is asked.
/// * **It notices a refund or a reset by another process only when the wait is over.** The same holds for a
///   call whose future was dropped or whose outcome is unknown. Until then it may deny a client who would
///   pass, never the other way round. It does not notice that the storage was cleared: call
///   [`clear`](Self::clear) afterwards.
/// * It answers a check of several keys in one step if such a check was denied before, and as long as the
///   remembered answers of all keys hold. A key that would admit answers as it did then.
/// * Peeks and loads always reach the storage. So do checks of a strategy that [records
///   demand](Strategy::records_demand), whose denials are not remembered.
/// * Where a request is checked on several storages, a [known denial](AsyncStorage::known_denial) is looked
///   up before any of them is called.
/// * Its own answers are ready at once, without an allocation unless they are about several keys.
///
/// Around a [`Failover`](crate::layer::Failover), a denial of the fallback holds for as long as the
/// fallback said, also when the primary is back. Put the cache around the primary alone to avoid that.
///
/// ```
/// use traffik::layer::DenyCache;
/// use traffik::runtime::Manual;
/// use traffik::storage::{BackendError, Local};
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let store = Local(Memory::new(1_000)); // stands for a store that is far away
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("1/min")), DenyCache::builder(store).build());
/// Manual::new().run(async {
///     assert!(limiter.check("alice").await?.is_allowed());
///     assert!(!limiter.check("alice").await?.is_allowed()); // the store denies
///     assert!(!limiter.check("alice").await?.is_allowed()); // the cache repeats that
///     Ok::<(), BackendError>(())
/// })??;
/// assert_eq!(limiter.storage().answered(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DenyCache<S: Strategy, T> {
    pub(super) storage: T,
    pub(super) inner: Arc<DenyCacheInner<S>>,
}

/// The state that clones of a deny cache share.
pub(super) struct DenyCacheInner<S: Strategy> {
    pub(super) denials: DenialTable<S>,
    pub(super) clock: Box<dyn Clock + Send + Sync>,
    pub(super) answered: AtomicU64,
}

impl<S: Strategy, T> DenyCache<S, T> {
    /// Returns the storage within.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    /// Returns the number of checks that the cache answered without the storage.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.inner.answered.load(Ordering::Relaxed)
    }

    /// Returns the number of remembered denials, and of admitting answers to the same checks of several keys.
    /// One that has ended counts until another takes its place.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.inner.denials.len()
    }

    /// Forgets all denials, also those under way. Call it after the storage was cleared, which the cache
    /// does not notice.
    pub fn clear(&self) {
        self.inner.denials.clear();
    }
}

impl<S: Strategy + PartialEq, T> DenyCache<S, T> {
    /// Passes a call on, and remembers a denial. Unless the answer is known to leave the keys unchanged,
    /// the end of the call makes the cache forget their denials.
    fn pass<A: Send + 'static>(
        &self,
        (strategy, hit): (&S, &Hit<S::Cost>),
        queries: impl AsRef<[DenialQuery]> + Send + 'static,
        reply: Reply<A>,
        effect: fn(&A) -> KeyEffect<'_, S::Verdict>,
    ) -> Reply<A> {
        let mut call = InvalidationGuard { inner: Arc::clone(&self.inner), queries, is_harmless: false };
        if let Reply::Ready(answer) = &reply {
            call.is_harmless =
                answer.as_ref().is_some_and(|it| call.leaves_keys_unchanged(strategy, hit, it, effect));
            return reply;
        }
        // Only an answer that is not there yet takes copies along.
        let (strategy, hit) = (strategy.clone(), *hit);
        reply.inspect(move |answer| {
            let mut call = call;
            call.is_harmless = call.leaves_keys_unchanged(&strategy, &hit, answer, effect);
        })
    }
}

/// The effect of an answer on the states of its keys.
enum KeyEffect<'a, V> {
    /// A decision of each key, all made in one step.
    Decided(&'a [V]),
    /// A change, or an unknown effect.
    Changed,
    /// No change.
    Unchanged,
}

fn effect_on_each<V>(reply: &MultiKeyReply<V>) -> KeyEffect<'_, V> {
    match reply {
        MultiKeyReply::Atomic(verdicts) => KeyEffect::Decided(verdicts),
        // In between, others may have been denied by a charge that was then refunded.
        MultiKeyReply::Sequential(_) => KeyEffect::Changed,
        MultiKeyReply::Unsupported => KeyEffect::Unchanged,
    }
}

/// Returns the effect on keys of which one is named twice: its second answer depends on the first.
fn effect_on_all<V>(reply: &MultiKeyReply<V>) -> KeyEffect<'_, V> {
    if matches!(reply, MultiKeyReply::Unsupported) { KeyEffect::Unchanged } else { KeyEffect::Changed }
}

fn are_distinct(digests: &[Digest]) -> bool {
    // Quadratic, but without an allocation, and keys are few.
    !digests.iter().enumerate().any(|(at, one)| digests.iter().skip(at + 1).any(|it| it == one))
}

/// A call under way. Dropping it makes the cache forget the denials of its keys, unless the call is known to
/// have changed nothing.
struct InvalidationGuard<S: Strategy, K: AsRef<[DenialQuery]>> {
    inner: Arc<DenyCacheInner<S>>,
    queries: K,
    /// Whether the answer is known to leave the keys unchanged.
    is_harmless: bool,
}

impl<S: Strategy + PartialEq, K: AsRef<[DenialQuery]>> InvalidationGuard<S, K> {
    /// Returns whether the answer leaves the states of the keys unchanged. Remembers a denial.
    fn leaves_keys_unchanged<A>(
        &self,
        strategy: &S,
        hit: &Hit<S::Cost>,
        answer: &Result<A, BackendError>,
        effect: fn(&A) -> KeyEffect<'_, S::Verdict>,
    ) -> bool {
        match answer.as_ref().map(effect) {
            Ok(KeyEffect::Decided(verdicts)) if verdicts.iter().any(|it| !it.outcome().is_allowed()) => {
                self.inner.denials.note(strategy, self.queries.as_ref(), hit, verdicts);
                true
            }
            Ok(KeyEffect::Unchanged) => true,
            _ => false,
        }
    }
}

impl<S: Strategy, K: AsRef<[DenialQuery]>> Drop for InvalidationGuard<S, K> {
    fn drop(&mut self) {
        if !self.is_harmless {
            self.queries.as_ref().iter().for_each(|query| self.inner.denials.forget(query.digest));
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
            // Forgotten now, because the storage may apply it at once, and again when the call ends.
            denials.forget(digest);
            let hit = Hit::new(S::Cost::uniform(0));
            let queries = [denials.query(digest, now)];
            return self.pass((strategy, &hit), queries, self.storage.apply(strategy, key, op), |_| {
                KeyEffect::Changed
            });
        };
        if strategy.records_demand() {
            let queries = [denials.query(digest, now)];
            return self.pass((strategy, hit), queries, self.storage.apply(strategy, key, op), |verdict| {
                if verdict.outcome().is_allowed() { KeyEffect::Changed } else { KeyEffect::Unchanged }
            });
        }
        match denials.lookup(strategy, digest, hit, now) {
            Ok(denied) => {
                answered.fetch_add(1, Ordering::Relaxed);
                Reply::ready(Ok(denied))
            }
            Err(query) => {
                self.pass((strategy, hit), [query], self.storage.apply(strategy, key, op), |verdict| {
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
            let queries: Vec<_> = digests.iter().map(|digest| denials.query(*digest, now)).collect();
            return self.pass(
                (strategy, hit),
                queries,
                self.storage.check_together(strategy, keys, hit),
                effect_on_all,
            );
        }
        match denials.lookup_together(strategy, &digests, hit, clock.now()) {
            Ok(denied) => {
                answered.fetch_add(1, Ordering::Relaxed);
                Reply::ready(Ok(MultiKeyReply::Atomic(denied)))
            }
            Err(queries) => {
                // The second answer on a key that is named twice depends on the first.
                let effect = if are_distinct(&digests) { effect_on_each } else { effect_on_all };
                self.pass((strategy, hit), queries, self.storage.check_together(strategy, keys, hit), effect)
            }
        }
    }

    delegate!(self => self.storage; apply_due, node, is_local, wait_queue);
}

debug_fields!(
    [S: Strategy, T: Debug] DenyCache<S, T>:
    storage, remembered = |it| it.remembered(), answered = |it| it.answered()
);
