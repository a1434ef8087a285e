//! The operations of a failover that take several steps: merging, several keys, refunds and resets.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, MultiKeyReply};
use traffik_core::{Digest, Hit, Op, Receipts, Strategy, Verdict};

use crate::layer::calls::{KeyNodes, check_keys};
use crate::layer::failover::primary_node::PrimaryNode;
use crate::layer::failover::router::{Router, StrategyPair, unknown};
use crate::util::shared_future::SharedFuture;

/// The most charges that a call waits for before it asks the primary.
const CHARGES: usize = 8;

impl<S: Strategy, P: AsyncStorage<S> + 'static, F: AsyncStorage<S> + 'static> Router<S, P, F> {
    /// Applies an operation that does not start with a plain call of the primary.
    pub(super) async fn apply(
        self: &Arc<Self>,
        strategies: StrategyPair<&S>,
        key: &[u8],
        op: &Op<S>,
    ) -> Result<S::Verdict, BackendError> {
        let node = self.node(&key);
        let node = self.node_or_whole(&node);
        match op {
            Op::Refund(hit, receipt) => self.refund(node, strategies, key, hit, *receipt).await,
            Op::Reset => {
                let digest = self.outbox.seed.digest(key);
                self.outbox.forget(digest);
                if let Some(merge) = self.outbox.running_merge(digest) {
                    // A charge that arrived after the reset would count again.
                    let _ = merge.await;
                }
                // If the fallback cannot be reached, old state stays there. It errs against the client.
                let _ = self.fallback.apply(strategies.fallback, &key, op).await;
                let answer = self.primary.apply(strategies.primary, &key, op).await;
                self.settle_primary_only(node, answer)
            }
            Op::Check(_) | Op::Peek(_) | Op::Charge(_) => {
                if let Err(failure) = self.merge(strategies, key).await {
                    return self.ask_fallback(node, strategies, &key, op, failure, false).await;
                }
                let answer = self.primary.apply(strategies.primary, &key, op).await;
                self.settle(node, strategies, &key, op, answer).await
            }
        }
    }

    pub(super) async fn check_together(
        self: &Arc<Self>,
        on: KeyNodes,
        strategies: StrategyPair<&S>,
        keys: &[Vec<u8>],
        hit: &Hit<S::Cost>,
    ) -> Result<MultiKeyReply<S::Verdict>, BackendError> {
        let nodes = match on {
            KeyNodes::One(node) => vec![node],
            KeyNodes::Several(nodes) => nodes,
        };
        let nodes = nodes.into_iter().map(|node| node.map(|node| self.node_of(&node)));
        let nodes: Vec<_> = nodes.collect();
        // With several nodes it is unknown which one failed.
        let mut blamed =
            nodes.first().filter(|_| nodes.len() == 1).map(|node| Arc::clone(self.node_or_whole(node)));
        let mut merged = Ok(());
        for key in keys {
            let node = self.node(key);
            merged = self.merge(strategies, key).await;
            if merged.is_err() {
                blamed = Some(Arc::clone(self.node_or_whole(&node)));
                break;
            }
        }
        let is_sent = merged.is_ok();
        let answer = match merged {
            Ok(()) => check_keys(&self.primary, strategies.primary, keys, hit).await,
            Err(failure) => Err(failure),
        };
        // `Unsupported` says nothing about the store, so it does not mark a node as back.
        if let Ok(MultiKeyReply::Unsupported) = answer {
            return answer;
        }
        let (mut reply, fallback_unknown) = match answer {
            Ok(reply) => {
                nodes.iter().for_each(|node| self.note_success(self.node_or_whole(node)));
                (reply, None)
            }
            Err(failure) => {
                let is_unknown = self.switch_over(blamed.as_deref(), failure, !is_sent)?;
                let reply = check_keys(&self.fallback, strategies.fallback, keys, hit).await;
                let reply = reply.map_err(|failure| if is_unknown { unknown(&failure) } else { failure })?;
                if is_unknown && reply == MultiKeyReply::Unsupported {
                    // Checking one key after another would charge the primary again.
                    let unable = "the primary storage did not answer, and the fallback cannot check several \
                                  keys at once; the hit may have been charged";
                    return Err(BackendError::new(ErrorKind::Timeout, unable));
                }
                (reply, Some(is_unknown))
            }
        };
        let verdicts: &mut [_] = match &mut reply {
            MultiKeyReply::Atomic(verdicts) | MultiKeyReply::Sequential(verdicts) => verdicts,
            MultiKeyReply::Unsupported => &mut [],
        };
        let is_admitted = !verdicts.is_empty() && verdicts.iter().all(Verdict::is_allowed);
        if let Some(is_unknown) = fallback_unknown {
            for (key, verdict) in keys.iter().zip(verdicts) {
                let op = if is_admitted { Op::Check(*hit) } else { Op::Peek(*hit) };
                let node = self.node(key);
                self.mark_fallback(
                    verdict,
                    self.pending_record(self.node_or_whole(&node), strategies, key, &op, is_unknown),
                );
            }
            return Ok(reply);
        }
        for verdict in verdicts {
            verdict.for_each_receipt_mut(&mut |receipt| receipt.push_route(false));
        }
        if is_admitted && self.settings.warm {
            for key in keys {
                let _ = self.fallback.apply(strategies.fallback, key, &Op::Charge(*hit)).await;
            }
        }
        Ok(reply)
    }

    async fn refund(
        &self,
        node: &PrimaryNode,
        strategies: StrategyPair<&S>,
        key: &[u8],
        hit: &Hit<S::Cost>,
        mut receipt: <S::Verdict as Verdict>::Receipt,
    ) -> Result<S::Verdict, BackendError> {
        let mut is_fallback = false;
        receipt.each_mut(&mut |receipt| is_fallback = receipt.pop_route());
        let op = Op::Refund(*hit, receipt);
        if !is_fallback {
            return self.settle_primary_only(node, self.primary.apply(strategies.primary, &key, &op).await);
        }
        if self.settings.merge {
            self.outbox.remove(self.outbox.seed.digest(key), hit, &receipt);
        }
        let mut verdict = self.fallback.apply(strategies.fallback, &key, &op).await?;
        self.mark_fallback(&mut verdict, None);
        Ok(verdict)
    }

    /// Charges the primary with what the fallback admitted of this key, or waits for the task that does.
    /// The caller switches to the fallback on a failure, or reports it.
    async fn merge(self: &Arc<Self>, strategies: StrategyPair<&S>, key: &[u8]) -> Result<(), BackendError> {
        if !self.settings.merge {
            return Ok(());
        }
        let digest = self.outbox.seed.digest(key);
        let begin = || {
            let (router, strategy, key) = (Arc::clone(self), strategies.primary.clone(), key.to_vec());
            let charges = AssertUnwindSafe(async move { router.charge(&strategy, &key, digest).await });
            // A panic of the primary fails the merge like a call without an answer.
            let panicked = |_| {
                Err(BackendError::new(
                    ErrorKind::Timeout,
                    "the primary storage panicked; the hit may have been charged",
                ))
            };
            SharedFuture::new(charges.catch_unwind().map(move |outcome| outcome.unwrap_or_else(panicked)))
        };
        match self.outbox.merge(digest, self.clock.now(), begin) {
            Some(merge) => merge.await,
            None => Ok(()),
        }
    }

    /// Charges the primary with the due records, in at most [`CHARGES`] calls. While its node is away, one
    /// record at a time probes it.
    async fn charge(&self, strategy: &S, key: &[u8], digest: Digest) -> Result<(), BackendError> {
        for _ in 0..CHARGES {
            let node = self.node(&key);
            let node = self.node_or_whole(&node);
            let Some(hit) = self.outbox.take_next(digest, self.clock.now(), node.is_away()) else { break };
            let charged = self.primary.apply(strategy, &key, &Op::Charge(hit)).await;
            // Only a charge with an unknown outcome may have been counted; it is not repeated.
            let may_be =
                charged.as_ref().map_or_else(|failure| failure.kind() == ErrorKind::Timeout, |_| true);
            self.outbox.settle(digest, may_be);
            charged?;
            self.note_success(node);
        }
        Ok(())
    }
}
