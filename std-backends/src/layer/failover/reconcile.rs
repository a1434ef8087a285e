//! What takes a failover several steps: merging, several keys, refunds and resets.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, MultiKeyReply};
use traffik_core::{Digest, Hit, Op, Receipts, Strategy, Verdict};

use crate::layer::calls::{On, together};
use crate::layer::failover::primary_node::PrimaryNode;
use crate::layer::failover::route::{Limits, Router, unknown};
use crate::util::shared::Shared;

/// How many charges a call waits for at most before the primary is asked.
const CHARGES: usize = 8;

impl<S: Strategy, P: AsyncStorage<S> + 'static, F: AsyncStorage<S> + 'static> Router<S, P, F> {
    /// An operation that does not begin with a plain call of the primary.
    pub(super) async fn apply(
        self: &Arc<Self>,
        limits: Limits<&S>,
        key: &[u8],
        op: &Op<S>,
    ) -> Result<S::Verdict, BackendError> {
        let node = self.node(&key);
        let node = self.at(&node);
        match op {
            Op::Refund(hit, receipt) => self.refund(node, limits, key, hit, *receipt).await,
            Op::Reset => {
                let digest = self.outbox.seed.digest(key);
                self.outbox.forget(digest);
                if let Some(merge) = self.outbox.under_way(digest) {
                    // It would count again, if it arrived later than the reset.
                    let _ = merge.await;
                }
                // What is of no use any more may stay if the fallback cannot be reached: it errs against the
                // client.
                let _ = self.fallback.apply(limits.fallback, &key, op).await;
                let answer = self.primary.apply(limits.primary, &key, op).await;
                self.own(node, answer)
            }
            Op::Check(_) | Op::Peek(_) | Op::Charge(_) => {
                if let Err(failure) = self.merge(limits, key).await {
                    return self.stand_in(node, limits, &key, op, failure, false).await;
                }
                let answer = self.primary.apply(limits.primary, &key, op).await;
                self.settle(node, limits, &key, op, answer).await
            }
        }
    }

    pub(super) async fn check_together(
        self: &Arc<Self>,
        on: On,
        limits: Limits<&S>,
        keys: &[Vec<u8>],
        hit: &Hit<S::Cost>,
    ) -> Result<MultiKeyReply<S::Verdict>, BackendError> {
        let nodes = match on {
            On::One(node) => vec![node],
            On::Several(nodes) => nodes,
        };
        let nodes = nodes.into_iter().map(|node| node.map(|node| self.known(&node)));
        let nodes: Vec<_> = nodes.collect();
        // Of several it is not known which one fails.
        let mut blamed = nodes.first().filter(|_| nodes.len() == 1).map(|node| Arc::clone(self.at(node)));
        let mut merged = Ok(());
        for key in keys {
            let node = self.node(key);
            merged = self.merge(limits, key).await;
            if merged.is_err() {
                blamed = Some(Arc::clone(self.at(&node)));
                break;
            }
        }
        let is_sent = merged.is_ok();
        let answer = match merged {
            Ok(()) => together(&self.primary, limits.primary, keys, hit).await,
            Err(failure) => Err(failure),
        };
        // To be unable tells nothing of a store, so it is no return.
        if let Ok(MultiKeyReply::Unsupported) = answer {
            return answer;
        }
        let (mut told, unknown) = match answer {
            Ok(told) => {
                nodes.iter().for_each(|node| self.is_back(self.at(node)));
                (told, None)
            }
            Err(failure) => {
                let is_unknown = self.go_over(blamed.as_deref(), failure, !is_sent)?;
                let told = together(&self.fallback, limits.fallback, keys, hit).await;
                let told = told.map_err(|failure| if is_unknown { unknown(&failure) } else { failure })?;
                if is_unknown && told == MultiKeyReply::Unsupported {
                    // To be asked for one key after another would charge the primary anew.
                    let unable = "the fallback cannot check so many keys at once";
                    return Err(BackendError::new(ErrorKind::Timeout, unable));
                }
                (told, Some(is_unknown))
            }
        };
        let verdicts: &mut [_] = match &mut told {
            MultiKeyReply::Atomic(verdicts) | MultiKeyReply::Sequential(verdicts) => verdicts,
            MultiKeyReply::Unsupported => &mut [],
        };
        let is_admitted = !verdicts.is_empty() && verdicts.iter().all(Verdict::is_allowed);
        if let Some(is_unknown) = unknown {
            for (key, verdict) in keys.iter().zip(verdicts) {
                let op = if is_admitted { Op::Check(*hit) } else { Op::Peek(*hit) };
                let node = self.node(key);
                self.marked(verdict, self.to_note(self.at(&node), limits, key, &op, is_unknown));
            }
            return Ok(told);
        }
        for verdict in verdicts {
            verdict.for_each_receipt_mut(&mut |receipt| receipt.push_route(false));
        }
        if is_admitted && self.settings.warm {
            for key in keys {
                let _ = self.fallback.apply(limits.fallback, key, &Op::Charge(*hit)).await;
            }
        }
        Ok(told)
    }

    async fn refund(
        &self,
        node: &PrimaryNode,
        limits: Limits<&S>,
        key: &[u8],
        hit: &Hit<S::Cost>,
        mut receipt: <S::Verdict as Verdict>::Receipt,
    ) -> Result<S::Verdict, BackendError> {
        let mut is_fallback = false;
        receipt.each_mut(&mut |receipt| is_fallback = receipt.pop_route());
        let op = Op::Refund(*hit, receipt);
        if !is_fallback {
            return self.own(node, self.primary.apply(limits.primary, &key, &op).await);
        }
        if self.settings.merge {
            self.outbox.take(self.outbox.seed.digest(key), hit, &receipt);
        }
        let mut verdict = self.fallback.apply(limits.fallback, &key, &op).await?;
        self.marked(&mut verdict, None);
        Ok(verdict)
    }

    /// Charges the primary with what the fallback admitted of this key, or waits for who does. A failure is
    /// one to go over on, or to tell.
    async fn merge(self: &Arc<Self>, limits: Limits<&S>, key: &[u8]) -> Result<(), BackendError> {
        if !self.settings.merge {
            return Ok(());
        }
        let digest = self.outbox.seed.digest(key);
        let begin = || {
            let (router, limit, key) = (Arc::clone(self), limits.primary.clone(), key.to_vec());
            let charges = AssertUnwindSafe(async move { router.charge(&limit, &key, digest).await });
            // The call that polls it goes over to the fallback, too.
            let panicked = |_| Err(BackendError::new(ErrorKind::Timeout, "the store panicked"));
            Shared::new(charges.catch_unwind().map(move |told| told.unwrap_or_else(panicked)))
        };
        match self.outbox.merge(digest, self.clock.now(), begin) {
            Some(merge) => merge.await,
            None => Ok(()),
        }
    }

    /// Charges the primary with what is due. As long as its node is away it is tried with as little as there
    /// is.
    async fn charge(&self, strategy: &S, key: &[u8], digest: Digest) -> Result<(), BackendError> {
        for _ in 0..CHARGES {
            let node = self.node(&key);
            let node = self.at(&node);
            let Some(hit) = self.outbox.send(digest, self.clock.now(), node.is_away()) else { break };
            let charged = self.primary.apply(strategy, &key, &Op::Charge(hit)).await;
            let may_be =
                charged.as_ref().map_or_else(|failure| failure.kind() == ErrorKind::Timeout, |_| true);
            self.outbox.settle(digest, may_be);
            charged?;
            self.is_back(node);
        }
        Ok(())
    }
}
