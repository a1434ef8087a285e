//! One throttle in front of a service, or asked within one: the common case is decided on the way in, without
//! a heap.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::response::Parts;
use http::{Extensions, HeaderMap, Response};
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Reply};
use traffik_core::{Op, Origin, Outcome, Strategy, Verdict};

use super::answer::{self, Admitted, WaitOutcome, WaitStage};
use super::contract::{ErrorOutcome, Ruling, at_least};
use super::decide::decide;
use super::permit::Permit;
use super::planned::PlannedThrottle;
use super::set::{Candidate, MatchPolicy, PendingPart, find_out};
use crate::http::headers;
use crate::http::request::{RequestError, RequestParts};
use crate::http::response::SendWhen;
use crate::middleware::admission::{Action, Admission, Completion};
use crate::middleware::body::ResponseBody;
use crate::rules::{Applicability, Rank};
use crate::throttle::{Cause, MaybePlan, Plan, Rejection, SkipReason, Skipped, Throttle};

type Next<S, M> = Action<Permit<S, M>, WaitOutcome>;

/// The outcome, or the failure, for which a request does not pass.
type RefusalCause<'a> = Result<Outcome, &'a BackendError>;

impl<S: Strategy, M: AsyncStorage<S> + 'static> Admission for Throttle<S, M> {
    type Permit = Permit<S, M>;
    type Work = WaitOutcome;

    /// Allocates nothing if the storage is local, no function has to be awaited, and the request passes at
    /// once.
    fn enter(&self, request: RequestParts<'_>) -> Next<S, M> {
        match self.prepare(request, None) {
            MaybePlan::Ready(plan) => self.decide(request, plan, |_| {}),
            MaybePlan::Not(skipped) => self.skipped(request, skipped),
            MaybePlan::Later(planned) => {
                let throttle = self.clone();
                let part = PendingPart::Later(Box::pin(async move { throttle.pending(planned.await) }));
                let applies = Applicability::Yes(Rank::default());
                Action::Wait(Box::pin(find_out(vec![Candidate { applies, part }], MatchPolicy::All)))
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

    fn mark(&self, pass: &mut Permit<S, M>, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        pass.mark(self, extensions);
        pass.beside.take()
    }

    fn leave(&self, pass: Permit<S, M>, response: &mut Parts) -> Completion {
        match &pass.verdict {
            Some(_) if pass.origin == Origin::Shadow => {}
            Some(verdict) => self.0.profile.answers.write(verdict, &mut response.headers),
            None => self.0.profile.answers.format.write_origin(pass.origin, &mut response.headers),
        }
        pass.close(self, response)
    }
}

// EvaluationPart of their callers, so that a plan is not moved from one to the next: a tenth of what a throttle adds to
// a request.
impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
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

    /// Concludes from an answer that was there at once.
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

    /// Has the engine go on with a check that is under way.
    fn evaluate(&self, plan: Plan<S, M>, reply: Reply<S::Verdict>, began: Option<Instant>) -> Next<S, M> {
        let planned = PlannedThrottle::new(self.clone(), Arc::new(plan)).checking(reply, began);
        Action::Wait(Box::pin(WaitOutcome::decision(decide(vec![Box::new(planned)]), None)))
    }

    /// Converts an admission of the engine.
    fn admitted(&self, Admitted { parts, beside, not_decided }: Admitted) -> Permit<S, M> {
        let part = parts.into_iter().next().map(|part| part as Box<dyn Any>);
        let pass = match part.and_then(|part| part.downcast::<PlannedThrottle<S, M>>().ok()) {
            Some(planned) => {
                let PlannedThrottle { plan, said, .. } = *planned;
                said.map(|verdict| Permit::of(self, &plan, verdict))
            }
            None => None,
        };
        let origin = not_decided.map_or(Origin::Shadow, |not_decided| not_decided.origin);
        Permit { beside, ..pass.unwrap_or_else(|| Permit::uncounted(origin)) }
    }

    /// The storage, or a function of the request, has failed.
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

/// A throttle asked by a handler.
impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Does with a request what the middleware does. Admitted, after its delay if it has one, it comes with a
    /// pass, which is to be [handed in](Self::finish) with the response, and whose `verdict()` and
    /// `origin()` say what was decided. Waits for the storage, and for functions of the request; also for the
    /// storage of a shadow that has no [spawner](crate::ThrottleBuilder::spawner).
    ///
    /// The future holds nothing of the request's body, so a handler of axum's may await it. Beside an
    /// extractor of the body, such as `Json`, a handler takes the `http::request::Parts` and asks about
    /// `&parts`.
    ///
    /// # Errors
    ///
    /// Fails with the [`Rejection`] to be answered if the request does not pass.
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
        // The body of a request need not be `Sync`, so a future must not hold a reference to the whole.
        self.hit_at(request.into(), None)
    }

    /// The same at this cost, whatever the throttle says of it.
    ///
    /// # Errors
    ///
    /// Fails as [`hit`](Self::hit) does.
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
                Action::Pass(mut pass) => {
                    // What a service would be served beside.
                    if let Some(beside) = pass.beside.take() {
                        beside.await;
                    }
                    return Ok(pass);
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

    /// Tells the client where it stands in the head of the response to a request that was [hit](Self::hit),
    /// and settles what the response decides; what its body decides is settled when that has ended.
    pub async fn finish<B>(&self, pass: Permit<S, M>, response: Response<B>) -> Response<ResponseBody<B>> {
        let (mut head, body) = response.into_parts();
        let Completion { before, meter } = self.leave(pass, &mut head);
        if let Some(before) = before {
            before.await;
        }
        Response::from_parts(head, ResponseBody::of(body, meter))
    }
}

fn since(began: Option<Instant>) -> Option<Duration> {
    began.map(|began| began.elapsed())
}
