//! Two storages: one that decides, and one that does while the first cannot be reached.

use std::fmt::Debug;
use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, MultiKeyReply, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp, debug_fields};

use crate::layer::calls::KeyNodes;
use crate::layer::delegate::delegate;
use crate::layer::failover::route::{Router, StrategyPair};
use crate::util::key::{KeyRefs, bytes};

/// Asks the primary storage, and the fallback where the primary fails.
///
/// * It goes over on failures that say that nothing was charged and that the storage as a whole is ill, or
///   has no room for a new key: the fallback decides on that key, and the primary on all that it has. An
///   unknown outcome ([`Timeout`](traffik_core::ErrorKind::Timeout)) is a failure of the call unless
///   [`after_timeouts`](crate::layer::FailoverBuilder::after_timeouts) is said, for the hit may then be
///   charged on both. Each call asks the primary first: put a
///   [`CircuitBreaker`](crate::layer::CircuitBreaker) and a deadline around it, or each one waits for it.
/// * Of a primary that [is made of several nodes](AsyncStorage::node) the fallback decides on the keys of one
///   that fails, and the primary on all others. What is known of a node is forgotten when it leaves, but what
///   is to be merged: that is charged to whichever node keeps the key then.
/// * The fallback may hold the limit [divided by how many instances there
///   are](crate::layer::FailoverBuilder::instances): the rate is, while a burst that was given apart from it
///   stays what it is.
/// * The fallback starts cold, or is kept [warm](crate::layer::FailoverBuilder::warm).
/// * Once the primary is back, what the fallback admitted is dropped, or
///   [merged](crate::layer::FailoverBuilder::merge).
/// * A refund goes to where the admission came from, which its receipt tells; a verdict of your own has to
///   [let it](traffik_core::Verdict::for_each_receipt_mut), or all refunds go to the primary. A refund that the
///   primary must take and cannot is a failure; a reset forgets the key in both. What was refunded before it
///   was merged is not merged; after that the refund still goes to the fallback, and the primary goes on
///   counting what it was charged with, for it gave no receipt.
/// * An answer that is there at once is passed on as it is, and nothing allocated for it, unless the primary
///   is to be told first of what the fallback admitted of that key.
///
/// **Bound.** Over any time it admits at most what the primary's limit admits in that time, and for each
/// instance what the limit of its fallback does. A limit that is divided by `n` for `n` instances hence
/// admits at most twice what it would, if it has no burst apart from its rate, and instances admit at least 1
/// each. A store that forgets what it held starts afresh, as does a fallback in memory when its process does.
///
/// A decision of the fallback [says so](traffik_core::Origin::Fallback); [`is_away`](Self::is_away) tells
/// whether the last call of the primary failed, and a [listener](crate::layer::FailoverBuilder::on_change)
/// hears of each change.
///
/// ```
/// use std::io::{Write, stderr};
/// use traffik::layer::{Breaker, CircuitBreaker, Failover};
/// use traffik::Memory;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, TokenBucket, rate};
///
/// // Memory stands here for a store that may fail.
/// let primary = CircuitBreaker::new(Local(Memory::new(1_000)), &Breaker::builder("redis").build()?);
/// let storage = Failover::builder(primary, Local(Memory::new(1_000)))
///     .instances(4)?
///     .warm()
///     .merge()
///     .on_change(|change| drop(writeln!(stderr(), "{change}"))) // never panics, as `eprintln!` may
///     .build();
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// # use traffik::storage::Reply;
/// assert!(matches!(limiter.check("alice"), Reply::Ready(Some(Ok(_)))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Failover<S: Strategy, P, F> {
    pub(super) router: Arc<Router<S, P, F>>,
}

impl<S: Strategy, P, F> Failover<S, P, F> {
    /// The storage that decides.
    #[must_use]
    pub fn primary(&self) -> &P {
        &self.router.primary
    }

    /// The storage that does while the primary cannot.
    #[must_use]
    pub fn fallback(&self) -> &F {
        &self.router.fallback
    }

    /// Returns whether the primary, or any node of it that has not left, failed when it was last asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.router.is_away()
    }

    /// How many admissions of the fallback could not be noted, for there was no room: they are not merged.
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

    /// Whether both are.
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

    // Those of the primary, whichever answers.
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
