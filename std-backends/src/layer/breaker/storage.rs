//! A storage that is left alone while a breaker is open.

use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, MultiKeyReply, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp};

use crate::layer::breaker::control::Breaker;
use crate::layer::breaker::state_machine::BreakerPermit;
use crate::layer::calls::KeyNodes;
use crate::layer::delegate::delegate;
use crate::util::key::KeyRefs;

/// A storage behind a [`Breaker`], where there is an example.
///
/// * While the breaker is open the storage is not called at all.
/// * Of a storage that [is made of several nodes](AsyncStorage::node) each is judged by its own calls: keys
///   on nodes that are well are served as if all were. A check of several keys passes if all of their nodes
///   let it. A success counts for each of them, and a failure only if they are all on one.
/// * A call may pass when it is made, and has ended when its answer is there or dropped. So an answer that is
///   kept without being awaited keeps the place of a probe.
/// * Put a deadline within it, not around it: a call that is dropped counts only if it is known to be
///   [slow](crate::layer::BreakerBuilder::slow).
///
/// A storage of your own that is made of several nodes names the node of a key, and the breaker judges each
/// of them:
///
/// ```
/// use std::sync::Arc;
/// use traffik::Memory;
/// use traffik::layer::{Breaker, CircuitBreaker};
/// use traffik::storage::{AsyncStorage, Local, Reply};
/// use traffik::{AsyncLimiter, ErasedKey, Op, Seed, Strategy, Timestamp, TokenBucket, rate};
///
/// /// Memory stands here for stores that may fail.
/// struct Sharded {
///     seed: Seed,
///     first: (Arc<str>, Local<Memory<TokenBucket>>),
///     second: (Arc<str>, Local<Memory<TokenBucket>>),
/// }
///
/// impl Sharded {
///     fn shard(&self, key: &dyn ErasedKey) -> &(Arc<str>, Local<Memory<TokenBucket>>) {
///         if self.seed.digest(key).as_u64() % 2 == 0 { &self.first } else { &self.second }
///     }
/// }
///
/// impl AsyncStorage<TokenBucket> for Sharded {
///     fn apply(
///         &self,
///         limit: &TokenBucket,
///         key: &dyn ErasedKey,
///         op: &Op<TokenBucket>,
///     ) -> Reply<<TokenBucket as Strategy>::Verdict> {
///         self.shard(key).1.apply(limit, key, op)
///     }
///
///     fn load(
///         &self,
///         limit: &TokenBucket,
///         key: &dyn ErasedKey,
///     ) -> Reply<(<TokenBucket as Strategy>::State, Timestamp)> {
///         AsyncStorage::load(&self.shard(key).1, limit, key)
///     }
///
///     // The same handle every time, for as long as the node is one.
///     fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
///         Some(Arc::clone(&self.shard(key).0))
///     }
/// }
///
/// let shard = |name: &str| (Arc::from(name), Local(Memory::new(1_000)));
/// let sharded = Sharded { seed: Seed::new(1), first: shard("10.0.0.1"), second: shard("10.0.0.2") };
/// let breaker = Breaker::new("shards");
/// let storage = CircuitBreaker::new(sharded, &breaker);
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// for client in 0..100 {
///     assert!(matches!(limiter.check(&client), Reply::Ready(Some(Ok(_)))));
/// }
/// let nodes: Vec<_> = breaker.nodes().into_iter().filter_map(|(node, _, _)| node).collect();
/// assert_eq!(nodes, [Arc::<str>::from("10.0.0.1"), Arc::from("10.0.0.2")]);
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreaker<T> {
    storage: T,
    breaker: Breaker,
}

impl<T> CircuitBreaker<T> {
    /// The storage, behind the breaker.
    #[must_use]
    pub fn new(storage: T, breaker: &Breaker) -> Self {
        Self { storage, breaker: breaker.clone() }
    }

    /// The storage.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    /// The breaker.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// `tells` is whether an answer shows that the store was asked.
    fn pass<A: Send + 'static>(
        &self,
        node: Option<Arc<str>>,
        call: impl FnOnce() -> Reply<A>,
        tells: fn(&A) -> bool,
    ) -> Reply<A> {
        let permit = match self.breaker.permit(node) {
            Ok(permit) => permit,
            Err(refusal) => return Reply::ready(Err(refusal)),
        };
        call().inspect(move |answer| permit.answered(answer, tells))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, T: AsyncStorage<S>> AsyncStorage<S> for CircuitBreaker<T> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.pass(self.storage.node(key), || self.storage.apply(strategy, key, op), |_| true)
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.pass(self.storage.node(key), || self.storage.load(strategy, key), |_| true)
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let call = || self.storage.check_together(strategy, keys, hit);
        let tells = |told: &_| *told != MultiKeyReply::Unsupported;
        let nodes = match KeyNodes::of(&self.storage, keys) {
            KeyNodes::One(node) => return self.pass(node, call, tells),
            KeyNodes::Several(nodes) => nodes,
        };
        let permits = nodes.into_iter().map(|node| self.breaker.permit(node).map(BreakerPermit::shared));
        match permits.collect::<Result<Vec<_>, _>>() {
            Ok(permits) => call().inspect(move |answer| {
                permits.into_iter().for_each(|permit| permit.answered(answer, tells));
            }),
            Err(refusal) => Reply::ready(Err(refusal)),
        }
    }

    // A denial holds whether the store answers or not.
    delegate!(self => self.storage; apply_due, node, is_local, known_denial, wait_queue);
}
