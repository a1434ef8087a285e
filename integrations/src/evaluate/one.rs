//! A single throttle, in front of a service or within a handler. The common case is decided without a heap
//! allocation.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::response::Parts;
use http::{Extensions, HeaderMap, Response};
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Reply};
use traffik_core::{Op, Origin, Outcome, Strategy, Verdict};

use super::answer::{self, SetPermit, WaitOutcome, WaitStage};
use super::contract::{ErrorOutcome, Ruling, at_least};
use super::decide::decide;
use super::permit::Permit;
use super::planned::PlannedThrottle;
use super::set::{Candidate, MatchPolicy, PendingPart, evaluate_candidates};
use crate::http::headers;
use crate::http::request::{RequestError, RequestParts};
use crate::http::response::SendWhen;
use crate::middleware::admission::{Action, Admission, Completion};
use crate::middleware::body::ResponseBody;
use crate::rules::{Applicability, Rank};
use crate::throttle::{Cause, MaybePlan, Plan, Rejection, SkipReason, Skipped, Throttle};

/// The next action of the middleware.
type Next<S, M> = Action<Permit<S, M>, WaitOutcome>;

/// The outcome or the failure for which a request does not pass.
type RefusalCause<'a> = Result<Outcome, &'a BackendError>;

impl<S: Strategy, M: AsyncStorage<S> + 'static> Admission for Throttle<S, M> {
    type Permit = Permit<S, M>;
    type Work = WaitOutcome;

    /// Decides on a request. Allocates nothing if the storage is local, no asynchronous function is called
    /// and the request passes at once.
    fn enter(&self, request: RequestParts<'_>) -> Next<S, M> {
        match self.prepare(request, None) {
            MaybePlan::Ready(plan) => self.decide(request, plan, |_| {}),
            MaybePlan::Not(skipped) => self.skipped(request, skipped),
            MaybePlan::Later(planned) => {
                let throttle = self.clone();
                let part = PendingPart::Later(Box::pin(async move { throttle.pending(planned.await) }));
                let applies = Applicability::Yes(Rank::default());
                Action::Wait(Box::pin(evaluate_candidates(
                    vec![Candidate { applies, part }],
                    MatchPolicy::All,
                )))
            }
        }
    }

    fn resume(&self, request: RequestParts<'_>, waited: WaitOutcome) -> Next<S, M> {
        match answer::resume(request, waited) {
            Action::Pass(admitted) => Action::Pass(self.admitted(admitted)),
            Action::Answer(response) => Action::Answer(response),
            Action::Wait(waited) => Action::Wait(waited),
        }
    }

    fn mark(&self, permit: &mut Permit<S, M>, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        permit.mark(self, extensions);
        permit.beside.take()
    }

    fn leave(&self, permit: Permit<S, M>, response: &mut Parts) -> Completion {
        match &permit.verdict {
            Some(_) if permit.origin == Origin::Shadow => {}
            Some(verdict) => self.0.profile.answers.write(verdict, &mut response.headers),
            None => self.0.profile.answers.format.write_origin(permit.origin, &mut response.headers),
        }
        permit.close(self, response)
    }
}

// Some of these are inlined into their callers, so that a plan is not moved from one to the next. That saves
// a tenth of a throttle's time for a request.
impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Checks a planned request; `note` receives the cause if it is known at once that the request does not
    /// pass.
    #[inline(always)]
    fn decide(
        &self,
        request: RequestParts<'_>,
        plan: Plan<S, M>,
        note: impl FnOnce(RefusalCause<'_>),
    ) -> Next<S, M> {
        let began = self.0.profile.begin();
        match self.apply(&plan, &Op::Check(plan.hit)) {
            Reply::Ready(Some(answer)) => self.settle(request, plan, answer, began, note),
            reply => self.evaluate(plan, reply, began),
        }
    }

    /// Acts on an answer that was there at once.
    #[inline(always)]
    fn settle(
        &self,
        request: RequestParts<'_>,
        plan: Plan<S, M>,
        answer: Result<S::Verdict, BackendError>,
        began: Option<Instant>,
        note: impl FnOnce(RefusalCause<'_>),
    ) -> Next<S, M> {
        let verdict = match answer {
            Ok(verdict) => verdict,
            Err(failure) if plan.enforced => {
                note(Err(&failure));
                return self.fail(request, Some(&plan), &failure, since(began));
            }
            failed => return self.evaluate(plan, Reply::ready(failed), began),
        };
        let outcome = verdict.outcome();
        match Ruling::of(outcome, plan.enforced, |_| None::<()>) {
            Ruling::Pass => {
                self.report(&plan, &verdict, since(began), true);
                let origin = plan.origin(&verdict);
                let plan = self.0.needs_more().then(|| Arc::new(plan));
                Action::Pass(Permit { verdict: Some(verdict), origin, beside: None, plan })
            }
            Ruling::Deny => {
                self.report(&plan, &verdict, since(began), true);
                let outcome = at_least(outcome, plan.settings.min_wait);
                note(Ok(outcome));
                self.deny(request, &plan, &verdict, outcome)
            }
            Ruling::Wait(()) | Ruling::TurnAway(_) => self.evaluate(plan, Reply::ready(Ok(verdict)), began),
        }
    }

    /// Answers a denial.
    fn deny(
        &self,
        request: RequestParts<'_>,
        plan: &Plan<S, M>,
        verdict: &S::Verdict,
        outcome: Outcome,
    ) -> Next<S, M> {
        let profile = &self.0.profile;
        let answers = &profile.answers;
        let mut limits = answers.limits(verdict);
        headers::arrange(&mut limits);
        let write = |headers: &mut HeaderMap| answers.format.put(&limits, headers);
        let add_own = |headers: &mut HeaderMap| answers.add(SendWhen::WhenDenied, headers);
        answer::denied(request, profile, &plan.client, &limits, outcome, write, add_own)
    }

    /// Hands a check that is under way over to the engine.
    fn evaluate(&self, plan: Plan<S, M>, reply: Reply<S::Verdict>, began: Option<Instant>) -> Next<S, M> {
        let planned = PlannedThrottle::new(self.clone(), Arc::new(plan)).checking(reply, began);
        Action::Wait(Box::pin(WaitOutcome::decision(decide(vec![Box::new(planned)]), None)))
    }

    /// Converts an admission by the engine.
    fn admitted(&self, SetPermit { parts, beside, not_decided }: SetPermit) -> Permit<S, M> {
        let part = parts.into_iter().next().map(|part| part as Box<dyn Any>);
        let permit = match part.and_then(|part| part.downcast::<PlannedThrottle<S, M>>().ok()) {
            Some(planned) => {
                let PlannedThrottle { plan, verdict, .. } = *planned;
                verdict.map(|verdict| Permit::of(self, &plan, verdict))
            }
            None => None,
        };
        let origin = not_decided.map_or(Origin::Shadow, |not_decided| not_decided.origin);
        Permit { beside, ..permit.unwrap_or_else(|| Permit::uncounted(origin)) }
    }

    /// Handles a failure of the storage or of a function of the request.
    fn fail(
        &self,
        request: RequestParts<'_>,
        plan: Option<&Plan<S, M>>,
        failure: &BackendError,
        took: Option<Duration>,
    ) -> Next<S, M> {
        match self.failed(request, plan, failure, took) {
            ErrorOutcome::Passes(open) => Action::Pass(Permit::uncounted(open.origin)),
            ErrorOutcome::Answered(response) => Action::Answer(response),
            ErrorOutcome::Later(later) => Action::Wait(Box::pin(async move {
                WaitOutcome(WaitStage::Remedies(vec![later.await], Vec::new(), None))
            })),
        }
    }

    /// Acts on a request without a plan.
    fn skipped(&self, request: RequestParts<'_>, skipped: Skipped) -> Next<S, M> {
        self.report_skipped(&skipped);
        match skipped.reason {
            _ if !skipped.enforced => Action::Pass(Permit::uncounted(Origin::Shadow)),
            SkipReason::NotCounted(origin) => Action::Pass(Permit::uncounted(origin)),
            SkipReason::Error(RequestError::Failed(failure)) => self.fail(request, None, &failure, None),
            SkipReason::Error(RequestError::Refused(refusal)) => Action::Answer(refusal.response()),
        }
    }
}

/// Checks within a handler.
impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Checks a request as the middleware does, and charges it.
    ///
    /// Choose it in a handler whose work has a separate limit. Returns a permit whose `verdict()` and
    /// `origin()` show the decision. Call [`finish`](Self::finish) with the permit and the response if the
    /// throttle sends headers, or depends on the response by [`charge_if`](crate::ThrottleBuilder::charge_if)
    /// or [`settle_by`](crate::ThrottleBuilder::settle_by).
    ///
    /// The future waits for the storage and for asynchronous functions of the request, both without a bound:
    /// give the storage a timeout. It waits for the delay of a queueing strategy, at most
    /// [`max_delay`](crate::ThrottleBuilder::max_delay). It also waits for the storage of a shadow that has
    /// no [spawner](crate::ThrottleBuilder::spawner). A future that is dropped before the storage has
    /// answered may leave the request charged. A future that is dropped during the delay gives up its turn.
    ///
    /// The future holds nothing of the request's body, so an axum handler may await it. Beside an extractor
    /// of the body, such as `Json`, a handler takes the `http::request::Parts` and passes `&parts`.
    ///
    /// # Errors
    ///
    /// Fails with the [`Rejection`] to answer if the throttle denies or refuses the request, or if it cannot
    /// decide and [`on_error`](crate::ThrottleBuilder::on_error) does not let the request pass.
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use axum::extract::{Request, State};
    /// use traffik::TokenBucket;
    /// use traffik::web::{MemoryThrottle, Rejection};
    ///
    /// async fn export(
    ///     State(exports): State<MemoryThrottle<TokenBucket>>,
    ///     request: Request,
    /// ) -> Result<&'static str, Rejection> {
    ///     exports.hit_n(&request, 10).await?; // 429 with `Retry-After` where ten are too many
    ///     Ok("a long list")
    /// }
    /// # use axum::{Router, routing::get};
    /// # let _: Router<MemoryThrottle<TokenBucket>> = Router::new().route("/", get(export));
    /// # }
    /// ```
    pub fn hit<'a>(
        &self,
        request: impl Into<RequestParts<'a>>,
    ) -> impl Future<Output = Result<Permit<S, M>, Rejection>> + Send {
        // A request's body need not be `Sync`, so the future must not hold a reference to the whole request.
        self.hit_at(request.into(), None)
    }

    /// Checks a request at this cost, in place of the throttle's; otherwise like [`hit`](Self::hit).
    ///
    /// Waits as [`hit`](Self::hit) does, and leaves the same behind when it is dropped.
    ///
    /// # Errors
    ///
    /// Fails with a [`Rejection`] as [`hit`](Self::hit) does.
    pub fn hit_n<'a>(
        &self,
        request: impl Into<RequestParts<'a>>,
        cost: S::Cost,
    ) -> impl Future<Output = Result<Permit<S, M>, Rejection>> + Send {
        self.hit_at(request.into(), Some(cost))
    }

    async fn hit_at(
        &self,
        request: RequestParts<'_>,
        cost: Option<S::Cost>,
    ) -> Result<Permit<S, M>, Rejection> {
        let (mut client, mut cause) = (None, None);
        let mut step = match self.prepare(request, None).get().await {
            Ok(mut plan) => {
                client = Some(plan.client.clone());
                plan.hit.cost = cost.unwrap_or(plan.hit.cost);
                self.decide(request, plan, |refused| {
                    cause = Some(match refused {
                        Ok(outcome) => Cause::Denied(outcome),
                        Err(failure) => Cause::Failed(failure.clone()),
                    });
                })
            }
            Err(skipped) => {
                cause = skipped.cause();
                self.skipped(request, skipped)
            }
        };
        loop {
            match step {
                Action::Pass(mut permit) => {
                    // The middleware would poll it beside the service; here there is nothing to run beside.
                    if let Some(beside) = permit.beside.take() {
                        beside.await;
                    }
                    return Ok(permit);
                }
                Action::Answer(response) => {
                    let cause = cause.unwrap_or(Cause::Refused(None));
                    return Err(Rejection::new(self.uid(), client, cause, response));
                }
                Action::Wait(work) => {
                    let waited = work.await;
                    cause = waited.cause().or(cause);
                    step = self.resume(request, waited);
                }
            }
        }
    }

    /// Writes rate-limit headers to the response of a request that was [hit](Self::hit), and settles its
    /// charge.
    ///
    /// A charge that depends on the head, by [`charge_if`](crate::ThrottleBuilder::charge_if), is settled
    /// before this returns: the future waits for the storage. A charge that depends on the body, by
    /// [`settle_by`](crate::ThrottleBuilder::settle_by), is settled when the returned body has ended. A
    /// future dropped before that settles in the [background](crate::ThrottleBuilder::spawner), or not at
    /// all without one.
    pub async fn finish<B>(&self, permit: Permit<S, M>, response: Response<B>) -> Response<ResponseBody<B>> {
        let (mut head, body) = response.into_parts();
        let Completion { before, meter } = self.leave(permit, &mut head);
        if let Some(before) = before {
            before.await;
        }
        Response::from_parts(head, ResponseBody::of(body, meter))
    }
}

/// Returns the time since a check began, if observers want it.
fn since(began: Option<Instant>) -> Option<Duration> {
    began.map(|began| began.elapsed())
}
