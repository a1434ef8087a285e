//! The storage that calls another one where the first fails.

use std::fmt::Debug;
use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, MultiKeyReply, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp, debug_fields};

use crate::layer::calls::KeyNodes;
use crate::layer::delegate::delegate;
use crate::layer::failover::router::{Router, StrategyPair};
use crate::util::key::{KeyRefs, bytes};

/// A storage that calls a primary, and a fallback where the primary fails.
///
/// Choose it if requests must be limited while the store is down. It belongs around a
/// [`CircuitBreaker`](crate::layer::CircuitBreaker) and a [`Timeout`](crate::layer::Timeout) of the
/// primary: each call waits for the primary first. By default the fallback starts cold,
/// applies the whole limit, and drops its admissions in the end.
///
/// * It switches on failures that charged nothing and say that the primary as a whole is down. It also
///   switches if the primary is full: the fallback then decides on the new key, and the primary on the keys
///   that it has.
/// * A call with an unknown outcome ([`Timeout`](traffik_core::ErrorKind::Timeout)) fails unless you set
///   [`after_timeouts`](crate::layer::FailoverBuilder::after_timeouts): both sides may then charge the hit.
/// * If one [node](AsyncStorage::node) of the primary fails, the fallback decides on the keys of that node
///   only. The state of a node is forgotten when the node leaves. Admissions that are yet to be merged are
///   then charged to the node that keeps the key by then.
/// * The fallback may apply the limit [divided by the number of
///   instances](crate::layer::FailoverBuilder::instances). That divides the rate and a burst.
/// * The fallback may be kept [warm](crate::layer::FailoverBuilder::warm), and its admissions
///   [merged](crate::layer::FailoverBuilder::merge) once the primary is back.
/// * A refund goes to the side that admitted the hit, which its receipt names. A verdict type of your own
///   must [expose its receipts](traffik_core::Verdict::for_each_receipt_mut), or all refunds go to the
///   primary. A refund fails if the primary must take it and fails. A reset forgets the key on both sides. An
///   admission that was refunded before merging is not merged. After merging, a refund still goes to the
///   fallback, and the primary keeps counting the charge, since it gave no receipt.
/// * A ready answer to a check, a peek or a charge of one key is ready here too, without an allocation, if
///   the fallback answers at once. The exception is a key whose admissions have yet to be merged.
///
/// **Bound.** Over any time it admits at most what the primary's limit admits in that time, plus, for each
/// instance, what the limit of its fallback admits. With a limit divided by `n` for `n` instances that is at
/// most twice the limit, or one per instance more where the limit or the burst is less than `n`: no part is
/// less than 1. A store that loses its states starts afresh, as does a fallback in memory when its process
/// restarts.
///
/// A decision of the fallback has the origin [`Fallback`](traffik_core::Origin::Fallback).
/// [`is_away`](Self::is_away) returns whether the last call of the primary failed, and a
/// [listener](crate::layer::FailoverBuilder::on_change) receives each change.
///
/// ```
/// use std::io::{Write, stderr};
/// use traffik::layer::{Breaker, CircuitBreaker, Failover};
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, Origin, TokenBucket, rate};
///
/// let breaker = Breaker::new("redis");
/// // `Local(Memory)` stands for a store that may fail.
/// let primary = CircuitBreaker::new(Local(Memory::new(1_000)), &breaker);
/// let storage = Failover::builder(primary, Local(Memory::new(1_000)))
///     .instances(4)?
///     .warm()
///     .merge()
///     .on_change(|change| drop(writeln!(stderr(), "{change}"))) // never panics, as `eprintln!` may
///     .build();
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// breaker.force_open(); // the primary is down
/// let decision = Manual::new().run(async { limiter.check("alice").await })??;
/// assert!(decision.is_allowed() && decision.origin() == Origin::Fallback);
/// assert!(limiter.storage().is_away());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Failover<S: Strategy, P, F> {
    pub(super) router: Arc<Router<S, P, F>>,
}

impl<S: Strategy, P, F> Failover<S, P, F> {
    /// Returns the primary.
    #[must_use]
    pub fn primary(&self) -> &P {
        &self.router.primary
    }

    /// Returns the fallback.
    #[must_use]
    pub fn fallback(&self) -> &F {
        &self.router.fallback
    }

    /// Returns whether the last call of the primary, or of any of its present nodes, failed.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.router.is_away()
    }

    /// Returns the number of admissions of the fallback that found no
    /// [room](crate::layer::FailoverBuilder::journal_capacity) in the journal. They are not merged.
    #[must_use]
    pub fn dropped_entries(&self) -> u64 {
        self.router.outbox.dropped_entries()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S, P, F> AsyncStorage<S> for Failover<S, P, F>
where
    S: Strategy,
    P: AsyncStorage<S> + 'static,
    F: AsyncStorage<S> + 'static,
{
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let router = &self.router;
        let share = match router.share(strategy) {
            Ok(share) => share,
            Err(failure) => return Reply::ready(Err(failure)),
        };
        let strategies = StrategyPair { primary: strategy, fallback: share.as_ref().unwrap_or(strategy) };
        let node = router.node(key);
        let is_plain = matches!(op, Op::Check(_) | Op::Peek(_) | Op::Charge(_)) && !router.has_due_merge(key);
        if !is_plain {
            let (router, strategies, key, op) = (Arc::clone(router), strategies.owned(), bytes(key), *op);
            return Reply::pending(async move { router.apply(strategies.get(), &key, &op).await });
        }
        match router.primary.apply(strategy, key, op) {
            Reply::Ready(Some(Err(failure))) => {
                router.ask_fallback(router.node_or_whole(&node), strategies, key, op, failure, true)
            }
            Reply::Ready(Some(Ok(verdict))) => {
                router.mirror(router.node_or_whole(&node), strategies, key, op, verdict)
            }
            Reply::Ready(None) => Reply::Ready(None),
            Reply::Pending(answer) => {
                let (router, strategies, key, op) = (Arc::clone(router), strategies.owned(), bytes(key), *op);
                Reply::pending(async move {
                    let answer = answer.await;
                    router.settle(router.node_or_whole(&node), strategies.get(), &key, &op, answer).await
                })
            }
        }
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let share = match self.router.share(strategy) {
            Ok(share) => share,
            Err(failure) => return Reply::ready(Err(failure)),
        };
        let (router, node) = (Arc::clone(&self.router), self.router.node(key));
        let (key, first) = (bytes(key), self.router.primary.load(strategy, key));
        let fallback = share.unwrap_or_else(|| strategy.clone());
        first.then(move |loaded| match loaded {
            Ok(loaded) => {
                router.note_success(router.node_or_whole(&node));
                Reply::ready(Ok(loaded))
            }
            Err(failure) => match router.switch_over(Some(router.node_or_whole(&node)), failure, true) {
                Ok(_) => router.fallback.load(&fallback, &key),
                Err(failure) => Reply::ready(Err(failure)),
            },
        })
    }

    /// Returns whether both sides are local.
    fn is_local(&self) -> bool {
        self.router.primary.is_local() && self.router.fallback.is_local()
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let share = match self.router.share(strategy) {
            Ok(share) => share,
            Err(failure) => return Reply::ready(Err(failure)),
        };
        let strategies =
            StrategyPair { primary: strategy, fallback: share.as_ref().unwrap_or(strategy) }.owned();
        let on = KeyNodes::of(&self.router.primary, keys);
        let keys: Vec<_> = keys.iter().map(|key| bytes(*key)).collect();
        let (router, hit) = (Arc::clone(&self.router), *hit);
        Reply::pending(async move { router.check_together(on, strategies.get(), &keys, &hit).await })
    }

    // The primary answers these, whichever side decides on a hit.
    delegate!(self => self.router.primary; apply_due, node, known_denial, wait_queue);
}

impl<S: Strategy, P, F> Clone for Failover<S, P, F> {
    fn clone(&self) -> Self {
        Self { router: Arc::clone(&self.router) }
    }
}

debug_fields!(
    [S: Strategy, P: Debug, F: Debug] Failover<S, P, F>:
    primary = |it| it.primary(), fallback = |it| it.fallback(), is_away = |it| it.is_away()
);
