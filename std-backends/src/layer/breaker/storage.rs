//! The storage behind a circuit breaker.

use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, MultiKeyReply, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp};

use crate::layer::breaker::control::Breaker;
use crate::layer::breaker::state_machine::BreakerPermit;
use crate::layer::calls::KeyNodes;
use crate::layer::delegate::delegate;
use crate::util::key::KeyRefs;

/// A storage behind a [`Breaker`]: while the breaker is open, its calls fail at once.
///
/// Choose it for a store that may be down. It belongs around the timeout and the retry of the store, and
/// within a [`Failover`](crate::layer::Failover). [`Breaker`] lists the defaults and has an example.
///
/// * While the breaker is open, the storage is not called at all.
/// * Each [node](AsyncStorage::node) of a storage is judged by its own calls, so keys on healthy nodes are
///   served as usual. A check of several keys passes if the breaker passes it for all of their nodes. Its
///   success counts for each of them, its failure only if all keys are on one node.
/// * A call asks the breaker when it is made, and ends when its answer is there or dropped. An answer that
///   is kept but not awaited holds the place of a probe.
/// * Put a deadline within it, not around it: a dropped call counts only if it was
///   [slow](crate::layer::BreakerBuilder::slow).
///
/// A storage of your own with several nodes names the node of each key, and the breaker judges each of
/// them:
///
/// ```
/// use std::sync::Arc;
/// use traffik::layer::{Breaker, CircuitBreaker};
/// use traffik::runtime::Manual;
/// use traffik::storage::{AsyncStorage, Local, Reply};
/// use traffik::{AsyncLimiter, ErasedKey, Memory, Op, Seed, Strategy, Timestamp, TokenBucket, rate};
///
/// type Shard = (Arc<str>, Local<Memory<TokenBucket>>); // `Local(Memory)` stands for a store that may fail
///
/// struct Sharded {
///     seed: Seed,
///     shards: [Shard; 2],
/// }
///
/// impl Sharded {
///     fn shard(&self, key: &dyn ErasedKey) -> &Shard {
///         &self.shards[(self.seed.digest(key).as_u64() % 2) as usize]
///     }
/// }
///
/// impl AsyncStorage<TokenBucket> for Sharded {
///     fn apply(
///         &self,
///         strategy: &TokenBucket,
///         key: &dyn ErasedKey,
///         op: &Op<TokenBucket>,
///     ) -> Reply<<TokenBucket as Strategy>::Verdict> {
///         self.shard(key).1.apply(strategy, key, op)
///     }
///
///     fn load(
///         &self,
///         strategy: &TokenBucket,
///         key: &dyn ErasedKey,
///     ) -> Reply<(<TokenBucket as Strategy>::State, Timestamp)> {
///         AsyncStorage::load(&self.shard(key).1, strategy, key)
///     }
///
///     // The same handle every time, as long as the node exists.
///     fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
///         Some(Arc::clone(&self.shard(key).0))
///     }
/// }
///
/// let shards = ["10.0.0.1", "10.0.0.2"].map(|name| (Arc::from(name), Local(Memory::new(1_000))));
/// let breaker = Breaker::new("shards");
/// let storage = CircuitBreaker::new(Sharded { seed: Seed::new(1), shards }, &breaker);
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// for client in 0..100 {
///     assert!(Manual::new().run(async { limiter.check(&client).await })??.is_allowed());
/// }
/// let nodes: Vec<_> = breaker.nodes().into_iter().filter_map(|(node, _, _)| node).collect();
/// assert_eq!(nodes, [Arc::<str>::from("10.0.0.1"), Arc::from("10.0.0.2")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreaker<T> {
    storage: T,
    breaker: Breaker,
}

impl<T> CircuitBreaker<T> {
    /// Wraps a storage with a breaker.
    #[must_use]
    pub fn new(storage: T, breaker: &Breaker) -> Self {
        Self { storage, breaker: breaker.clone() }
    }

    /// Returns the storage within.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Makes a call if the breaker passes it. `was_asked` returns whether an answer shows that the store was
    /// asked.
    fn pass<A: Send + 'static>(
        &self,
        node: Option<Arc<str>>,
        call: impl FnOnce() -> Reply<A>,
        was_asked: fn(&A) -> bool,
    ) -> Reply<A> {
        let permit = match self.breaker.permit(node) {
            Ok(permit) => permit,
            Err(refusal) => return Reply::ready(Err(refusal)),
        };
        call().inspect(move |answer| permit.answered(answer, was_asked))
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
        let was_asked = |reply: &_| *reply != MultiKeyReply::Unsupported;
        let nodes = match KeyNodes::of(&self.storage, keys) {
            KeyNodes::One(node) => return self.pass(node, call, was_asked),
            KeyNodes::Several(nodes) => nodes,
        };
        let permits = nodes.into_iter().map(|node| self.breaker.permit(node).map(BreakerPermit::shared));
        match permits.collect::<Result<Vec<_>, _>>() {
            Ok(permits) => call().inspect(move |answer| {
                permits.into_iter().for_each(|permit| permit.answered(answer, was_asked));
            }),
            Err(refusal) => Reply::ready(Err(refusal)),
        }
    }

    // A known denial holds whether the store answers or not.
    delegate!(self => self.storage; apply_due, node, is_local, known_denial, wait_queue);
}
