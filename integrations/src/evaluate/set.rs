//! Several throttles as one: a request is charged to all of them or to none.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use http::Extensions;
use http::response::Parts;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Origin, Strategy};

use super::answer::{self, SetPermit, WaitOutcome};
use super::contract::{Evaluation, EvaluationPart, Failing, NotDecided};
use super::decide::decide;
use super::planned::PlannedThrottle;
use crate::http::request::{RequestError, RequestParts};
use crate::identify::Identity;
use crate::middleware::admission::{Action, Admission, Completion};
use crate::rules::{Applicability, Rank};
use crate::throttle::{IdentityMemo, MaybePlan, PlanResult, SkipReason, Throttle};

/// The choice among the throttles that match a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MatchPolicy {
    /// All of them, as one limit.
    #[default]
    All,
    /// The most specific one, and all shadows.
    MostSpecific,
}

/// Several throttles as one limit: a request passes if all that match it admit it; otherwise none is charged.
///
/// Choose it when a request falls under several limits, such as one for the whole API and one for logins.
/// The throttles may have strategies and storages of different types.
///
/// ```
/// use traffik::{Gcra, TokenBucket, rate};
/// use traffik::web::{Rule, Throttle, ThrottleLayer, ThrottleSet};
///
/// let everything = Throttle::in_memory("all", TokenBucket::new(rate!("1000/h"))).build()?;
/// let logins = Throttle::in_memory("login", Gcra::new(rate!("5/min")))
///     .apply_to(Rule::new().path("/login"))
///     .build()?;
/// let layer = ThrottleLayer::new(ThrottleSet::new().and(everything).and(logins));
/// # let _ = layer;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
///
/// * Throttles on a storage of this process decide first, without charging. So do cached denials
///   ([`DenyCache`](traffik_backends::layer::DenyCache)). If one denies, the set calls no remote storage
///   and writes nothing.
/// * Then the set charges them one after another, remote storages first. If one denies now, the set refunds
///   the others. So no limit admits too much, but a request that is checked before the refund may be denied.
/// * A client that disconnects meanwhile is charged by all or by none if one of the throttles has a
///   [spawner](crate::ThrottleBuilder::spawner), which finishes the evaluation.
/// * The longest wait of all denying throttles becomes `Retry-After`. The first denying throttle provides
///   the [handler](crate::ThrottleBuilder::on_throttled). Each throttle that fails applies its own
///   [`OnError`](crate::OnError); the first answer that results is sent.
/// * [Shadows](crate::Enforcement) are charged only if all others admit. They deny nobody and send no
///   headers.
///
/// A set takes a few allocations for each request; a single throttle takes none in the common case.
#[derive(Clone, Default)]
pub struct ThrottleSet {
    members: Arc<Vec<Box<dyn SetMember>>>,
    which: MatchPolicy,
}

impl fmt::Debug for ThrottleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(|member| member.uid())).finish()
    }
}

impl ThrottleSet {
    /// Returns an empty set, which lets every request pass.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a throttle to the set.
    #[must_use]
    pub fn and<S: Strategy, M: AsyncStorage<S> + 'static>(mut self, throttle: Throttle<S, M>) -> Self {
        let throttle: Box<dyn SetMember> = Box::new(throttle);
        match Arc::get_mut(&mut self.members) {
            Some(members) => members.push(throttle),
            // A clone of the set keeps its members.
            None => {
                let members = self.members.iter().map(|member| member.boxed()).chain([throttle]);
                self.members = Arc::new(members.collect());
            }
        }
        self
    }

    /// Counts each request by one throttle only: the one whose [rule](crate::Rule) is the most specific.
    ///
    /// Of equally specific ones the first in the set counts it. Shadows count it as well.
    #[must_use]
    pub fn most_specific(self) -> Self {
        Self { which: MatchPolicy::MostSpecific, ..self }
    }

    /// Returns the names of the throttles, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.uid())
    }

    /// Returns the throttles that may apply to a request, each with its part of the evaluation.
    fn candidates(&self, request: RequestParts<'_>) -> Vec<Candidate> {
        let mut memo = IdentityMemo::default();
        let candidates = self.members.iter().filter_map(|member| {
            let applies = member.matching(request);
            let may_apply = !matches!(applies, Applicability::No);
            may_apply.then(|| Candidate { applies, part: member.part(request, &mut memo) })
        });
        candidates.collect()
    }
}

impl Admission for ThrottleSet {
    type Permit = SetPermit;
    type Work = WaitOutcome;

    fn enter(&self, request: RequestParts<'_>) -> Action<SetPermit, WaitOutcome> {
        let (candidates, which) = (self.candidates(request), self.which);
        if candidates.is_empty() {
            return Action::Pass(SetPermit::default());
        }
        Action::Wait(Box::pin(evaluate_candidates(candidates, which)))
    }

    fn resume(&self, request: RequestParts<'_>, waited: WaitOutcome) -> Action<SetPermit, WaitOutcome> {
        answer::resume(request, waited)
    }

    fn mark(&self, admitted: &mut SetPermit, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        admitted.mark(extensions)
    }

    fn leave(&self, admitted: SetPermit, response: &mut Parts) -> Completion {
        admitted.leave(response)
    }
}

/// A throttle of any strategy and storage.
trait SetMember: Send + Sync {
    fn uid(&self) -> &str;
    fn boxed(&self) -> Box<dyn SetMember>;
    fn matching(&self, request: RequestParts<'_>) -> Applicability;

    /// Plans the check of a request that the throttle applies to.
    fn part(&self, request: RequestParts<'_>, memo: &mut IdentityMemo) -> PendingPart;
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> SetMember for Throttle<S, M> {
    fn uid(&self) -> &str {
        Throttle::uid(self)
    }

    fn boxed(&self) -> Box<dyn SetMember> {
        Box::new(self.clone())
    }

    fn matching(&self, request: RequestParts<'_>) -> Applicability {
        self.0.profile.rules.matching(request)
    }

    fn part(&self, request: RequestParts<'_>, memo: &mut IdentityMemo) -> PendingPart {
        let prepared = self.plan(request, Some(memo));
        if let (MaybePlan::Ready(plan), Some(cache)) = (&prepared, self.0.profile.cache) {
            memo.add(cache, Identity::Key(plan.client.clone()));
        }
        let throttle = self.clone();
        match prepared {
            MaybePlan::Later(planned) => {
                PendingPart::Later(Box::pin(async move { throttle.pending(planned.await) }))
            }
            MaybePlan::Ready(plan) => throttle.pending(Ok(plan)),
            MaybePlan::Not(skipped) => throttle.pending(Err(skipped)),
        }
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Turns a plan into a part of the evaluation, or into the reason why there is none.
    pub(super) fn pending(self, planned: PlanResult<S, M>) -> PendingPart {
        let skipped = match planned {
            Ok(plan) => return PendingPart::Ready(Box::new(PlannedThrottle::new(self, Arc::new(plan)))),
            Err(skipped) => skipped,
        };
        self.report_skipped(&skipped);
        match skipped.reason {
            // An error without enforcement does not affect the request, so the other throttles decide.
            _ if !skipped.enforced => PendingPart::NotDecided(self.not_decided(Origin::Shadow)),
            SkipReason::NotCounted(origin) => PendingPart::NotDecided(self.not_decided(origin)),
            SkipReason::Error(stop) => PendingPart::Stop(stop, self.failing(None, None)),
        }
    }
}

/// A throttle that may apply to a request.
pub(super) struct Candidate {
    pub(super) applies: Applicability,
    pub(super) part: PendingPart,
}

/// A throttle's part of an evaluation, or the future of it.
pub(super) enum PendingPart {
    Ready(Box<dyn EvaluationPart>),
    /// The throttle does not count the request.
    NotDecided(NotDecided),
    Stop(RequestError, Failing),
    Later(BoxFuture<'static, PendingPart>),
}

/// Waits until it is known which candidates apply, and evaluates those.
pub(super) async fn evaluate_candidates(candidates: Vec<Candidate>, which: MatchPolicy) -> WaitOutcome {
    let (mut parts, mut failed, mut taken, mut not_decided) = (Vec::new(), Vec::new(), false, None);
    for pending in applying(candidates, which).await {
        let part = match pending {
            PendingPart::Later(part) => part.await,
            part => part,
        };
        let is_shadow = matches!(&part, PendingPart::Ready(part) if !part.is_enforced());
        if which == MatchPolicy::MostSpecific && taken && !is_shadow {
            continue;
        }
        let is_absent = matches!(&part, PendingPart::NotDecided(it) if it.origin != Origin::Exempt);
        taken |= !is_shadow && !is_absent;
        match part {
            PendingPart::Ready(part) => parts.push(part),
            PendingPart::Stop(RequestError::Refused(refusal), _) => {
                return WaitOutcome::decision(ready(Evaluation::Refused(refusal)), None).await;
            }
            PendingPart::Stop(RequestError::Failed(failure), failing) => failed.push((failing, failure)),
            PendingPart::NotDecided(skipped) => not_decided = Some(skipped.or(not_decided)),
            PendingPart::Later(_) => {}
        }
    }
    if failed.is_empty() {
        return WaitOutcome::decision(decide(parts), not_decided).await;
    }
    WaitOutcome::decision(ready(Evaluation::Failed { failed, others: parts }), not_decided).await
}

/// Returns the parts of the throttles that apply; by `MostSpecific`, the most specific first.
async fn applying(candidates: Vec<Candidate>, which: MatchPolicy) -> Vec<PendingPart> {
    let mut applying = Vec::with_capacity(candidates.len());
    for Candidate { applies, part } in candidates {
        let rank = match (applies, which) {
            (Applicability::No, _) => None,
            (Applicability::Yes(rank), _) => Some(rank),
            (Applicability::Later(open), MatchPolicy::MostSpecific) => open.rank().await,
            (Applicability::Later(open), MatchPolicy::All) => open.applies().await.then(Rank::default),
        };
        applying.extend(rank.map(|rank| (rank, part)));
    }
    if which == MatchPolicy::MostSpecific {
        applying.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    }
    applying.into_iter().map(|(_, part)| part).collect()
}
