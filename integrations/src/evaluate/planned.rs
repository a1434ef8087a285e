//! A throttle with its plan for one request, as a part of an evaluation.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Extensions;
use http::response::Parts;
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Reply, WaitQueue};
use traffik_core::{Cost, ErasedKey, Hit, Op, Origin, Outcome, Strategy, Verdict};

use super::contract::{Disclosure, ErrorOutcome, EvaluationPart, Failing, NotDecided, Question, Ruling};
use super::permit::Permit;
use super::turn::{DelayedTurn, TurnAccount};
use crate::http::headers::Policies;
use crate::http::on_error::{ErrorAction, ErrorContext};
use crate::http::request::{RequestError, RequestParts};
use crate::http::response;
use crate::identify::ClientKey;
use crate::middleware::admission::Completion;
use crate::middleware::background::{SpawnFn, spawn_or_return};
use crate::observe::RequestOutcome;
use crate::throttle::{DelayTimer, Plan, Profile, SkipReason, Skipped, Throttle, VerdictReceipt};

/// A throttle with its plan for one request.
pub(crate) struct PlannedThrottle<S: Strategy, M> {
    pub(crate) throttle: Throttle<S, M>,
    pub(crate) plan: Arc<Plan<S, M>>,
    /// The position among the parts that the caller gave, for callers that tell them apart.
    pub(crate) order: usize,
    /// The last verdict.
    pub(crate) verdict: Option<S::Verdict>,
    /// The operation under way.
    operation: Option<(Question, Reply<S::Verdict>)>,
    charged: bool,
    /// The turn that has not come yet.
    turn: Option<DelayedTurn<S>>,
    began: Option<Instant>,
    took: Option<Duration>,
    /// The permit, kept until the response is there.
    permit: Option<Permit<S, M>>,
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> PlannedThrottle<S, M> {
    pub(crate) const fn new(throttle: Throttle<S, M>, plan: Arc<Plan<S, M>>) -> Self {
        let (verdict, operation, began, took, permit) = (None, None, None, None, None);
        Self { throttle, plan, order: 0, verdict, operation, charged: false, turn: None, began, took, permit }
    }

    /// Sets the check that is under way.
    pub(crate) fn checking(self, reply: Reply<S::Verdict>, began: Option<Instant>) -> Self {
        Self { operation: Some((Question::Check, reply)), began, ..self }
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> EvaluationPart for PlannedThrottle<S, M> {
    fn profile(&self) -> &Profile {
        &self.throttle.0.profile
    }

    fn order(&self) -> usize {
        self.order
    }

    fn is_local(&self) -> bool {
        self.throttle.is_local(&self.plan)
    }

    fn is_enforced(&self) -> bool {
        self.plan.enforced
    }

    fn failing(&self) -> Failing {
        self.throttle.failing(Some(Arc::clone(&self.plan)), self.took)
    }

    fn is_denied_already(&mut self) -> bool {
        self.verdict = self.throttle.known_denial(&self.plan);
        self.verdict.is_some()
    }

    fn ask(&mut self, ask: Question) {
        let op = match (ask, &self.verdict) {
            // `checking` has set a check that is under way: a second one would charge twice.
            (Question::Check, _) if self.operation.is_some() => return,
            (Question::Check, _) => {
                self.began = self.profile().begin();
                Op::Check(self.plan.hit)
            }
            (Question::Peek, _) => Op::Peek(self.plan.hit),
            (Question::Refund, Some(verdict)) => Op::Refund(self.plan.hit, verdict.receipt()),
            // Without a verdict there is no receipt, and nothing was charged.
            (Question::Refund, None) => return,
            (Question::Status, _) => Op::Peek(self.plan.hit.free()),
        };
        // A check sets this anew when it is answered, a refund takes the charge back, and the other
        // operations run only without a charge.
        self.charged = false;
        self.operation = Some((ask, self.throttle.apply(&self.plan, &op)));
    }

    fn is_answered(&self) -> bool {
        matches!(self.operation, None | Some((_, Reply::Ready(_))))
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BackendError>> {
        let Some((ask, reply)) = &mut self.operation else { return Poll::Ready(Ok(())) };
        let (ask, answer) = (*ask, ready!(Pin::new(reply).poll(context)));
        self.operation = None;
        // Invariant: `charged` holds exactly while an admission by a check has not been refunded.
        if ask == Question::Check {
            self.took = self.began.map(|began| began.elapsed());
            self.charged = answer.as_ref().is_ok_and(|verdict| verdict.outcome().is_allowed());
        }
        Poll::Ready(answer.map(|verdict| self.verdict = Some(verdict)))
    }

    fn is_charged(&self) -> bool {
        self.charged
    }

    fn give_back(&mut self) -> Option<BoxFuture<'static, ()>> {
        let receipt = self.verdict.as_ref().filter(|_| self.charged)?.receipt();
        self.charged = false;
        // Giving up a turn also refunds its charge: a second refund would be too much.
        match self.turn.take() {
            Some(turn) => spawn_or_return(self.profile().spawner.as_ref(), turn.give_up()?),
            None => self.throttle.give_back(&self.plan, receipt),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        self.verdict.as_ref().map(Verdict::outcome)
    }

    fn min_wait(&self) -> Duration {
        self.plan.settings.min_wait
    }

    fn stand_in_line(&mut self, timer: &DelayTimer) {
        // A shadow or a peek has charged nothing, so it has no turn to give up.
        if let Some(verdict) = self.verdict.as_ref().filter(|_| self.charged) {
            let (throttle, plan) = (self.throttle.clone(), Arc::clone(&self.plan));
            let account = Arc::new(RequestAccount { throttle, plan });
            self.turn = DelayedTurn::enter(account, self.plan.hit, verdict, (timer.watch)());
        }
    }

    fn delay(&self) -> Duration {
        match (&self.turn, self.outcome()) {
            // In the queue the delay may have become shorter than that of the verdict.
            (Some(turn), _) => turn.left(),
            (None, Some(Outcome::Allow { after })) => after,
            (None, _) => Duration::ZERO,
        }
    }

    fn poll_sooner(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.turn.as_mut().map_or(Poll::Pending, |turn| turn.poll_sooner(context))
    }

    fn take_turn(&mut self) {
        // The turn may have been exchanged for a sooner one, so its receipts replace those in the verdict.
        if let (Some(turn), Some(verdict)) = (self.turn.take(), &mut self.verdict) {
            turn.leave(verdict);
        }
    }

    fn disclosure(&self) -> Disclosure<'_> {
        let (profile, client) = (self.profile(), &self.plan.client);
        let limits =
            self.verdict.as_ref().map_or_else(Policies::new, |verdict| profile.answers.limits(verdict));
        Disclosure { profile, client, limits }
    }

    fn report(&self, failure: Option<&BackendError>, can_wait: bool) {
        // `decide` reports only the failures of shadows; others are reported with their action.
        let origin = if self.plan.enforced { Origin::DegradedClosed } else { Origin::Shadow };
        match (failure, &self.verdict) {
            (Some(failure), _) => {
                self.throttle.report_failure(Some(&self.plan.client), failure, self.took, origin)
            }
            (None, Some(verdict)) => self.throttle.report(&self.plan, verdict, self.took, can_wait),
            (None, None) => {}
        }
    }

    fn mark(&mut self, extensions: &mut Extensions) {
        let Some(verdict) = self.verdict.clone() else { return };
        // Kept for `close`, which runs once the response is there.
        let permit = Permit::of(&self.throttle, &self.plan, verdict);
        permit.mark(&self.throttle, extensions);
        self.permit = Some(permit);
    }

    fn close(self: Box<Self>, response: &Parts) -> Completion {
        self.permit.map_or_else(Completion::default, |permit| permit.close(&self.throttle, response))
    }
}

/// The charge that a throttle made for a request.
struct RequestAccount<S: Strategy, M> {
    throttle: Throttle<S, M>,
    plan: Arc<Plan<S, M>>,
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> TurnAccount<S> for RequestAccount<S, M> {
    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.throttle.wait_queue(&self.plan)
    }

    fn show_key(&self, show: &mut dyn FnMut(&dyn ErasedKey)) {
        self.throttle.show_key(&self.plan, show);
    }

    fn refund(&self, hit: Hit<S::Cost>, receipt: VerdictReceipt<S>) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Refund(hit, receipt))
    }

    fn spawner(&self) -> Option<&Arc<SpawnFn>> {
        self.throttle.0.profile.spawner.as_ref()
    }
}

/// Reports to observers.
impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Reports a verdict to observers; `can_wait` says whether a delay is waited for.
    pub(super) fn report(
        &self,
        plan: &Plan<S, M>,
        verdict: &S::Verdict,
        took: Option<Duration>,
        can_wait: bool,
    ) {
        let profile = &self.0.profile;
        if profile.observers.is_empty() {
            return;
        }
        // The same ruling as for the request: if nothing could wait, a delayed admission was turned away.
        let outcome = verdict.outcome();
        let seen = Ruling::of(outcome, plan.enforced, |_| can_wait.then_some(())).seen(outcome);
        profile.report(seen, Some(&plan.client), took, None, Some(plan.origin(verdict)));
    }

    /// Reports a failure to observers, with the origin of the action in place of a decision.
    pub(super) fn report_failure(
        &self,
        client: Option<&ClientKey>,
        failure: &BackendError,
        took: Option<Duration>,
        origin: Origin,
    ) {
        let client = client.map(|client| client as &dyn ErasedKey);
        self.0.profile.report(RequestOutcome::Failed, client, took, Some(failure), Some(origin));
    }

    /// Reports a request without a plan. Leaves out a failure that is reported later, with its action.
    pub(super) fn report_skipped(&self, skipped: &Skipped) {
        let report = |seen, origin| self.0.profile.report(seen, None, None, None, origin);
        match &skipped.reason {
            SkipReason::NotCounted(Origin::Exempt) => report(RequestOutcome::Exempt, Some(Origin::Exempt)),
            SkipReason::Error(RequestError::Refused(_)) => {
                report(RequestOutcome::Refused, (!skipped.enforced).then_some(Origin::Shadow))
            }
            SkipReason::Error(RequestError::Failed(failure)) if !skipped.enforced => {
                self.report_failure(None, failure, None, Origin::Shadow);
            }
            SkipReason::NotCounted(_) | SkipReason::Error(RequestError::Failed(_)) => {}
        }
    }
}

/// Reactions to failures of the storage or of a function of the request.
impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Returns the reaction to a failure as a function, for later.
    pub(crate) fn failing(&self, plan: Option<Arc<Plan<S, M>>>, took: Option<Duration>) -> Failing {
        let throttle = self.clone();
        Box::new(move |request, failure| match request {
            Some(request) => throttle.failed(request, plan.as_deref(), failure, took),
            None => {
                let origin = Origin::DegradedClosed;
                throttle.report_failure(plan.as_ref().map(|plan| &plan.client), failure, took, origin);
                ErrorOutcome::Passes(throttle.not_decided(origin))
            }
        })
    }

    /// Reacts to a failure as `OnError` says.
    pub(crate) fn failed(
        &self,
        request: RequestParts<'_>,
        plan: Option<&Plan<S, M>>,
        failure: &BackendError,
        took: Option<Duration>,
    ) -> ErrorOutcome {
        let (is_grpc, client) = (request.is_grpc(), plan.map(|plan| &plan.client));
        match self.remedy(request, plan, failure) {
            Reply::Ready(Some(Ok(remedy))) => self.remedied(is_grpc, client, failure, took, remedy),
            remedy => {
                let (throttle, client, failure) = (self.clone(), client.cloned(), failure.clone());
                ErrorOutcome::Later(Box::pin(async move {
                    // A function's reply never fails; `Throttle` is the default action.
                    let remedy = remedy.await.unwrap_or(ErrorAction::Throttle);
                    throttle.remedied(is_grpc, client.as_ref(), &failure, took, remedy)
                }))
            }
        }
    }

    /// Turns an action into the outcome, and reports the failure.
    fn remedied(
        &self,
        is_grpc: bool,
        client: Option<&ClientKey>,
        failure: &BackendError,
        took: Option<Duration>,
        remedy: ErrorAction,
    ) -> ErrorOutcome {
        let origin = remedy.origin();
        self.report_failure(client, failure, took, origin);
        match response::failed(is_grpc, remedy, failure) {
            Some(mut response) => {
                self.0.profile.answers.format.write_origin(origin, response.headers_mut());
                ErrorOutcome::Answered(response)
            }
            None => ErrorOutcome::Passes(self.not_decided(origin)),
        }
    }

    /// Asks `OnError` for the action.
    fn remedy(
        &self,
        request: RequestParts<'_>,
        plan: Option<&Plan<S, M>>,
        failure: &BackendError,
    ) -> Reply<ErrorAction> {
        self.0.profile.on_error.remedy(|ask| {
            let fresh = plan.and_then(|plan| self.fresh(plan));
            let limits =
                fresh.as_ref().map_or_else(Policies::new, |fresh| self.0.profile.answers.limits(fresh));
            ask(&ErrorContext {
                request,
                throttle: self.uid(),
                failure,
                client: plan.map(|plan| &plan.client as &dyn ErasedKey),
                cost: plan.map(|plan| plan.hit.cost.largest()),
                limits: &limits,
            })
        })
    }

    /// Returns the reason for a request that passes without a decision.
    pub(crate) fn not_decided(&self, origin: Origin) -> NotDecided {
        NotDecided { format: self.0.profile.answers.format, origin }
    }
}
