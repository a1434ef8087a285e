//! The router between the primary and the fallback.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, Reply};
use traffik_core::{Clock, Digest, ErasedKey, Hit, Op, Origin, Strategy, Timestamp, Verdict};

use crate::layer::failover::outbox::{AdmissionRecord, Outbox};
use crate::layer::failover::primary_node::PrimaryNode;
use crate::layer::failover::settings::{FailoverChange, FailoverSettings};
use crate::util::nodes::Nodes;

/// The state that clones of a failover share.
pub(super) struct Router<S: Strategy, P, F> {
    pub(super) primary: P,
    pub(super) fallback: F,
    pub(super) outbox: Outbox<S>,
    pub(super) settings: FailoverSettings<S>,
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    /// The primary where it is a single node.
    pub(super) whole: Arc<PrimaryNode>,
    pub(super) nodes: Nodes<PrimaryNode>,
}

/// The strategies of both sides: borrowed for a call, or owned to be kept.
#[derive(Clone, Copy)]
pub(super) struct StrategyPair<L> {
    pub(super) primary: L,
    pub(super) fallback: L,
}

impl<S: Clone> StrategyPair<&S> {
    pub(super) fn owned(self) -> StrategyPair<S> {
        StrategyPair { primary: self.primary.clone(), fallback: self.fallback.clone() }
    }
}

impl<S> StrategyPair<S> {
    pub(super) const fn get(&self) -> StrategyPair<&S> {
        StrategyPair { primary: &self.primary, fallback: &self.fallback }
    }
}

impl<S: Strategy, P, F> Router<S, P, F> {
    /// Returns whether the last call of the primary, or of one of its nodes, failed.
    pub(super) fn is_away(&self) -> bool {
        self.whole.is_away() || self.nodes.all().iter().any(|node| node.is_away())
    }

    /// Returns the node of the primary that a handle names.
    pub(super) fn node_of(&self, node: &Arc<str>) -> Arc<PrimaryNode> {
        let mut is_new = false;
        let known = self.nodes.get(node, |name| {
            is_new = true;
            PrimaryNode::named(name)
        });
        if is_new {
            // A primary that began to name its nodes may never be asked as a whole again.
            self.note_success(&self.whole);
        }
        known
    }

    /// Returns the node, or the primary as a whole.
    #[inline]
    pub(super) fn node_or_whole<'a>(&'a self, node: &'a Option<Arc<PrimaryNode>>) -> &'a Arc<PrimaryNode> {
        node.as_ref().unwrap_or(&self.whole)
    }

    /// Returns the fallback's own strategy, if there is one. A caller makes it before it calls either side: a
    /// share that does not exist then fails every call and charges nobody, instead of failing the first call
    /// in an outage.
    pub(super) fn share(&self, strategy: &S) -> Result<Option<S>, BackendError> {
        let share = self.settings.share.as_ref().map(|share| share(strategy)).transpose();
        share.map_err(|error| {
            let message = format!(
                "no storage was asked, since the fallback cannot apply its share of the limit: {error}"
            );
            BackendError::new(ErrorKind::Invalid, message)
        })
    }

    /// Returns whether the primary must first be charged with what the fallback admitted of a key.
    pub(super) fn has_due_merge(&self, key: &dyn ErasedKey) -> bool {
        self.settings.merge && self.outbox.is_due(self.outbox.seed.digest(key), self.clock.now())
    }

    /// Notes that a node answered.
    #[inline]
    pub(super) fn note_success(&self, node: &PrimaryNode) {
        if node.is_away() {
            self.mark_back(node);
        }
    }

    #[cold]
    fn mark_back(&self, node: &PrimaryNode) {
        if node.is_away.swap(false, Ordering::AcqRel) {
            self.notify(&FailoverChange::Back { node: node.name.clone() });
        }
    }

    /// Switches to the fallback if `failure` warrants it; otherwise returns the failure.
    ///
    /// Returns whether the outcome of the failed call is unknown; that of a call that `charges_nothing` is
    /// known. `node` is `None` if it is not known which node failed.
    #[inline(always)]
    pub(super) fn switch_over(
        &self,
        node: Option<&PrimaryNode>,
        failure: BackendError,
        charges_nothing: bool,
    ) -> Result<bool, BackendError> {
        let is_unknown = failure.kind() == ErrorKind::Timeout && !charges_nothing;
        if !(self.settings.on)(failure.kind()) || (is_unknown && !self.settings.after_timeouts) {
            return Err(failure);
        }
        // A full store still decides on the keys that it has.
        let is_full = failure.kind() == ErrorKind::Full;
        if let Some(node) = node.filter(|node| !is_full && !node.is_away()) {
            self.mark_away(node, failure);
        }
        Ok(is_unknown)
    }

    #[cold]
    fn mark_away(&self, node: &PrimaryNode, cause: BackendError) {
        if !node.is_away.swap(true, Ordering::AcqRel) {
            self.notify(&FailoverChange::Away { node: node.name.clone(), cause });
        }
    }

    /// Records an answer that only the primary can give, and returns it.
    pub(super) fn settle_primary_only<T>(
        &self,
        node: &PrimaryNode,
        answer: Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        match &answer {
            Ok(_) => self.note_success(node),
            Err(failure) => drop(self.switch_over(Some(node), failure.clone(), false)),
        }
        answer
    }

    fn notify(&self, change: &FailoverChange) {
        self.settings.listeners.iter().for_each(|listener| listener(change));
    }

    /// Returns the record of an operation of the fallback, if its admission is to be merged.
    pub(super) fn pending_record(
        &self,
        node: &Arc<PrimaryNode>,
        strategies: StrategyPair<&S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        is_unknown: bool,
    ) -> Option<PendingRecord<S>> {
        // The primary may have been charged already: never merged.
        if !self.settings.merge || is_unknown {
            return None;
        }
        let (digest, expires_at) =
            (self.outbox.seed.digest(key), self.clock.now().plus_micros(strategies.primary.max_ttl()));
        Some(PendingRecord { node: Arc::clone(node), digest, expires_at, op: *op })
    }

    /// Marks a verdict of the fallback, so that refunds return to it, and records its admission.
    #[inline]
    pub(super) fn mark_fallback(&self, verdict: &mut S::Verdict, note: Option<PendingRecord<S>>) {
        if let Some(PendingRecord { node, digest, expires_at, op }) = note
            && let Some(hit) = charged_hit(&op, verdict)
            && let Some(place) = self.outbox.reserve(&node, self.clock.now())
        {
            self.outbox.record(
                digest,
                AdmissionRecord { hit, receipt: verdict.receipt(), expires_at, _place: place },
            );
        }
        verdict.for_each_receipt_mut(&mut |receipt| receipt.push_route(true));
        *verdict = verdict.clone().with_origin(Origin::Fallback);
    }
}

/// An operation that is recorded once the fallback admits it.
pub(super) struct PendingRecord<S: Strategy> {
    node: Arc<PrimaryNode>,
    digest: Digest,
    expires_at: Timestamp,
    op: Op<S>,
}

impl<S: Strategy, P: AsyncStorage<S> + 'static, F: AsyncStorage<S> + 'static> Router<S, P, F> {
    /// Returns the node that keeps a key; `None` for the primary as a whole. Call it before the primary is
    /// asked: after a failed call another node may keep the key.
    #[inline]
    pub(super) fn node(&self, key: &dyn ErasedKey) -> Option<Arc<PrimaryNode>> {
        self.primary.node(key).map(|node| self.node_of(&node))
    }

    /// Completes an answer of the primary to a check, a peek or a charge. It is ready at once if the
    /// fallback answers at once.
    pub(super) fn settle(
        self: &Arc<Self>,
        node: &Arc<PrimaryNode>,
        strategies: StrategyPair<&S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        answer: Result<S::Verdict, BackendError>,
    ) -> Reply<S::Verdict> {
        match answer {
            Ok(verdict) => self.mirror(node, strategies, key, op, verdict),
            Err(failure) => self.ask_fallback(node, strategies, key, op, failure, true),
        }
    }

    /// Returns the primary's verdict, after charging it to a warm fallback.
    pub(super) fn mirror(
        &self,
        node: &PrimaryNode,
        strategies: StrategyPair<&S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        mut verdict: S::Verdict,
    ) -> Reply<S::Verdict> {
        self.note_success(node);
        verdict.for_each_receipt_mut(&mut |receipt| receipt.push_route(false));
        let Some(hit) = charged_hit(op, &verdict).filter(|_| self.settings.warm) else {
            return Reply::ready(Ok(verdict));
        };
        // If this charge fails, the fallback admits more; the call does not fail for that.
        self.fallback.apply(strategies.fallback, key, &Op::Charge(hit)).map(|_| Ok(verdict))
    }

    /// Asks the fallback after the primary failed: in this operation if `was_sent`, else in an earlier step.
    // Inlined, so that the large answer is written once, to its final place.
    #[inline(always)]
    pub(super) fn ask_fallback(
        self: &Arc<Self>,
        node: &Arc<PrimaryNode>,
        strategies: StrategyPair<&S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        failure: BackendError,
        was_sent: bool,
    ) -> Reply<S::Verdict> {
        let is_unknown = match self.switch_over(Some(node), failure, !was_sent || matches!(op, Op::Peek(_))) {
            Ok(is_unknown) => is_unknown,
            Err(failure) => return Reply::ready(Err(failure)),
        };
        let note = self.pending_record(node, strategies, key, op, is_unknown);
        let mut reply = self.fallback.apply(strategies.fallback, key, op);
        match &mut reply {
            Reply::Ready(Some(Ok(verdict))) => self.mark_fallback(verdict, note),
            Reply::Ready(Some(Err(failure))) if is_unknown => *failure = unknown(failure),
            Reply::Ready(_) => {}
            Reply::Pending(_) => {
                let router = Arc::clone(self);
                return Reply::pending(async move {
                    let mut verdict = reply
                        .await
                        .map_err(|failure| if is_unknown { unknown(&failure) } else { failure })?;
                    router.mark_fallback(&mut verdict, note);
                    Ok(verdict)
                });
            }
        }
        reply
    }
}

/// Gives a failure of the fallback an unknown outcome, since the primary's outcome before it was unknown.
pub(super) fn unknown(failure: &BackendError) -> BackendError {
    failure.clone().with_kind(ErrorKind::Timeout)
}

/// Returns the hit that an operation charged.
fn charged_hit<S: Strategy>(op: &Op<S>, verdict: &S::Verdict) -> Option<Hit<S::Cost>> {
    match op {
        Op::Check(hit) => verdict.is_allowed().then_some(*hit),
        Op::Charge(hit) => Some(*hit),
        Op::Peek(_) | Op::Refund(..) | Op::Reset => None,
    }
}
