//! Several throttles as one: a request is charged to all of them or to none.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use http::Extensions;
use http::response::Parts;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Origin, Strategy};

use super::answer::{self, Admitted, WaitOutcome};
use super::contract::{Evaluation, EvaluationPart, Failing, NotDecided};
use super::decide::decide;
use super::planned::PlannedThrottle;
use crate::http::request::{RequestError, RequestParts};
use crate::identify::Identity;
use crate::middleware::admission::{Action, Admission, Completion};
use crate::rules::{Applicability, Rank};
use crate::throttle::{IdentityMemo, MaybePlan, PlanResult, SkipReason, Throttle};

/// The throttles that count a request, of several that match it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MatchPolicy {
    /// All of them, as one limit.
    #[default]
    All,
    /// The most specific one, and all shadows.
    MostSpecific,
}

/// Several throttles as one limit, of whatever types: all that match a request admit it, or none of them is
/// charged.
///
/// * Those on a storage of this process are asked first without charging, and so is what is known in this
///   process of others ([`DenyCache`](traffik_backends::layer::DenyCache)): if one of them denies, no storage
///   elsewhere is called, and nothing is written.
/// * Then they are charged in turn, those on a storage elsewhere first. If one denies after all, what the
///   others were charged is given back: never is more admitted than any of them allows, but another request
///   may meanwhile be told of less than there is.
/// * Once they are asked, they are asked to the end: where one of them has a
///   [background](crate::ThrottleBuilder::spawner), a client that goes away meanwhile is charged by all of
///   them or by none.
/// * A client is told to wait until none of them denies. The [handler](crate::ThrottleBuilder::on_throttled)
///   is that of the first one that denies, and so is what happens when a storage fails.
/// * [Shadows](crate::Enforcement) stand outside: they are charged only if all others admit, never told of,
///   and refuse nobody.
///
/// Takes a few allocations per request, unlike a throttle alone.
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
    /// None yet: every request passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and one more.
    #[must_use]
    pub fn and<S: Strategy, M: AsyncStorage<S> + 'static>(mut self, throttle: Throttle<S, M>) -> Self {
        let throttle: Box<dyn SetMember> = Box::new(throttle);
        let members = self.members.iter().map(|member| member.boxed()).chain([throttle]);
        self.members = Arc::new(members.collect());
        self
    }

    /// The same, with a request counted by one of those that match: by the one whose [rule](crate::Rule) is
    /// the most specific, and of those that spell out as much by the one that was given first. Shadows count
    /// it as well.
    #[must_use]
    pub fn most_specific(self) -> Self {
        Self { which: MatchPolicy::MostSpecific, ..self }
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.uid())
    }

    /// Lists the throttles that may apply to a request.
    fn asked(&self, request: RequestParts<'_>) -> Vec<Candidate> {
        let mut memo = IdentityMemo::default();
        let asked = self.members.iter().filter_map(|member| {
            let applies = member.matching(request);
            let is_asked = !matches!(applies, Applicability::No);
            is_asked.then(|| Candidate { applies, part: member.part(request, &mut memo) })
        });
        asked.collect()
    }
}

impl Admission for ThrottleSet {
    type Permit = Admitted;
    type Work = WaitOutcome;

    fn enter(&self, request: RequestParts<'_>) -> Action<Admitted, WaitOutcome> {
        let (asked, which) = (self.asked(request), self.which);
        if asked.is_empty() {
            return Action::Pass(Admitted::default());
        }
        Action::Wait(Box::pin(find_out(asked, which)))
    }

    fn resume(&self, request: RequestParts<'_>, waited: WaitOutcome) -> Action<Admitted, WaitOutcome> {
        answer::resume(request, waited)
    }

    fn mark(&self, admitted: &mut Admitted, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        admitted.mark(extensions)
    }

    fn leave(&self, admitted: Admitted, response: &mut Parts) -> Completion {
        admitted.leave(response)
    }
}

/// A throttle of whatever type.
trait SetMember: Send + Sync {
    fn uid(&self) -> &str;
    fn boxed(&self) -> Box<dyn SetMember>;
    fn matching(&self, request: RequestParts<'_>) -> Applicability;

    /// Plans how to ask it about a request that it applies to.
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
    /// Turns a plan into a part of the evaluation, or says why there is none.
    pub(super) fn pending(self, planned: PlanResult<S, M>) -> PendingPart {
        let skipped = match planned {
            Ok(plan) => return PendingPart::Ready(Box::new(PlannedThrottle::new(self, Arc::new(plan)))),
            Err(skipped) => skipped,
        };
        self.report_skipped(&skipped);
        match skipped.reason {
            // A shadow's client is counted by others as if there were none.
            _ if !skipped.enforced => PendingPart::NotDecided(self.not_decided(Origin::Shadow)),
            SkipReason::NotCounted(origin) => PendingPart::NotDecided(self.not_decided(origin)),
            SkipReason::Error(stop) => PendingPart::Stop(stop, self.failing(None, None)),
        }
    }
}

/// A throttle that may have to be asked.
pub(super) struct Candidate {
    pub(super) applies: Applicability,
    pub(super) part: PendingPart,
}

/// A throttle's part of an evaluation, there or on its way.
pub(super) enum PendingPart {
    Ready(Box<dyn EvaluationPart>),
    /// It does not count the request.
    NotDecided(NotDecided),
    Stop(RequestError, Failing),
    Later(BoxFuture<'static, PendingPart>),
}

/// Finds out what is to be asked, and decides.
pub(super) async fn find_out(asked: Vec<Candidate>, which: MatchPolicy) -> WaitOutcome {
    let (mut parts, mut failed, mut taken, mut not_decided) = (Vec::new(), Vec::new(), false, None);
    for pending in applying(asked, which).await {
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

/// Lists the parts of those that apply, in the order in which they count.
async fn applying(asked: Vec<Candidate>, which: MatchPolicy) -> Vec<PendingPart> {
    let mut applying = Vec::with_capacity(asked.len());
    for Candidate { applies, part } in asked {
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
