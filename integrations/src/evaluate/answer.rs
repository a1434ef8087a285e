//! Turns the result of an evaluation into an action: pass the request, answer it, or wait.

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, HeaderMap, Response};
use traffik_core::storage::BoxFuture;
use traffik_core::{ErasedKey, Outcome};

use super::contract::{Disclosure, ErrorOutcome, Evaluation, EvaluationPart, NotDecided};
use super::decide::{await_turn, decide};
use crate::http::denial::{Denial, Handler};
use crate::http::headers::{self, HeaderFormat, Policies};
use crate::http::request::RequestParts;
use crate::http::response::{self, SendWhen};
use crate::middleware::admission::{Action, Completion};
use crate::throttle::{Cause, Profile};

/// The admission of a request by several throttles, kept until its response is there.
///
/// Middleware holds it between `enter` and `leave` of a [`ThrottleSet`](crate::ThrottleSet).
///
/// ```
/// use traffik::web::{Action, Admission, ThrottleSet};
///
/// let request = http::Request::new(());
/// assert!(matches!(ThrottleSet::new().enter((&request).into()), Action::Pass(_)));
/// ```
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "users never hold one")]
pub struct SetPermit {
    pub(crate) parts: Vec<Box<dyn EvaluationPart>>,
    pub(crate) beside: Option<BoxFuture<'static, ()>>,
    /// The reason why a throttle did not decide, if there is such a throttle.
    pub(crate) not_decided: Option<NotDecided>,
}

/// The result of a wait, from which [`Admission::resume`](crate::Admission::resume) continues.
///
/// ```
/// use traffik::web::{Action, Admission, Throttle, ThrottleSet};
/// use traffik::{TokenBucket, rate};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// let (set, request) = (ThrottleSet::new().and(throttle), http::Request::new(()));
/// assert!(matches!(set.enter((&request).into()), Action::Wait(_)));
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[expect(missing_debug_implementations, reason = "users never hold one")]
pub struct WaitOutcome(pub(super) WaitStage);

pub(super) enum WaitStage {
    Decision(Evaluation, Option<NotDecided>),
    /// The reactions of the throttles that failed, and the parts of all others.
    Remedies(Vec<ErrorOutcome>, Vec<Box<dyn EvaluationPart>>, Option<NotDecided>),
    Turn(SetPermit),
    Answer(Response<Bytes>),
}

impl WaitOutcome {
    pub(super) async fn decision(
        decided: impl Future<Output = Evaluation>,
        not_decided: Option<NotDecided>,
    ) -> Self {
        Self(WaitStage::Decision(decided.await, not_decided))
    }

    /// Returns the cause of a rejection; `None` for an admission, and for a stage after the decision.
    pub(super) fn cause(&self) -> Option<Cause> {
        let WaitStage::Decision(decided, _) = &self.0 else { return None };
        match decided {
            Evaluation::Denied { outcome, .. } => Some(Cause::Denied(*outcome)),
            Evaluation::Failed { failed, .. } => {
                failed.first().map(|(_, failure)| Cause::Failed(failure.clone()))
            }
            Evaluation::Refused(refusal) => Some(Cause::Refused(Some(refusal.clone()))),
            Evaluation::Admitted { .. } => None,
        }
    }
}

/// Continues with the result of a wait.
pub(crate) fn resume(request: RequestParts<'_>, waited: WaitOutcome) -> Action<SetPermit, WaitOutcome> {
    match waited.0 {
        WaitStage::Decision(decided, not_decided) => follow(request, decided, not_decided),
        WaitStage::Remedies(outcomes, others, not_decided) => recover(outcomes, others, not_decided),
        WaitStage::Turn(admitted) => Action::Pass(admitted),
        WaitStage::Answer(response) => Action::Answer(response),
    }
}

/// Acts on the result of an evaluation.
fn follow(
    request: RequestParts<'_>,
    decided: Evaluation,
    not_decided: Option<NotDecided>,
) -> Action<SetPermit, WaitOutcome> {
    match decided {
        Evaluation::Admitted { parts, timer, beside } => {
            let mut admitted = SetPermit { parts, beside, not_decided };
            match timer {
                None => Action::Pass(admitted),
                Some(timer) => Action::Wait(Box::pin(async move {
                    await_turn(&timer, &mut admitted.parts).await;
                    WaitOutcome(WaitStage::Turn(admitted))
                })),
            }
        }
        Evaluation::Denied { parts, first, outcome } => {
            let throttles: Vec<_> = parts.iter().map(|part| part.disclosure()).collect();
            let Some(denying) = throttles.get(first) else {
                return Action::Answer(response::unavailable(request.is_grpc(), None));
            };
            let mut limits = throttles.iter().flat_map(|it| it.limits.iter().copied()).collect();
            if let [_] = *throttles {
                headers::arrange(&mut limits);
            }
            let write_all = |headers: &mut HeaderMap| write_limits(&throttles, headers);
            let add_own = |headers: &mut HeaderMap| {
                throttles.iter().for_each(|it| it.profile.answers.add(SendWhen::WhenDenied, headers));
            };
            denied(request, denying.profile, denying.client, &limits, outcome, write_all, add_own)
        }
        Evaluation::Refused(refusal) => Action::Answer(refusal.response()),
        Evaluation::Failed { failed, others } => {
            let reactions = failed.into_iter().map(|(failing, failure)| failing(Some(request), &failure));
            let outcomes: Vec<_> = reactions.collect();
            if !outcomes.iter().any(|outcome| matches!(outcome, ErrorOutcome::Later(_))) {
                return recover(outcomes, others, not_decided);
            }
            Action::Wait(Box::pin(async move {
                let mut known = Vec::with_capacity(outcomes.len());
                for outcome in outcomes {
                    known.push(outcome.get().await);
                }
                WaitOutcome(WaitStage::Remedies(known, others, not_decided))
            }))
        }
    }
}

/// Continues after some throttles have failed: answers the request, or checks it with the other throttles.
fn recover(
    outcomes: Vec<ErrorOutcome>,
    others: Vec<Box<dyn EvaluationPart>>,
    mut not_decided: Option<NotDecided>,
) -> Action<SetPermit, WaitOutcome> {
    let mut answer = None;
    for outcome in outcomes {
        match outcome {
            // A throttle whose `OnError` lets the request pass takes no further part.
            ErrorOutcome::Passes(open) => not_decided = Some(open.or(not_decided)),
            ErrorOutcome::Answered(first) => drop(answer.get_or_insert(first)),
            // Never here: `follow` awaits these first.
            ErrorOutcome::Later(_) => {}
        }
    }
    match answer {
        Some(answer) => Action::Answer(answer),
        None => Action::Wait(Box::pin(WaitOutcome::decision(decide(others), not_decided))),
    }
}

/// Answers a request that a throttle denies, with the limits of all throttles of the evaluation.
#[inline(always)]
pub(crate) fn denied<P>(
    request: RequestParts<'_>,
    profile: &Profile,
    client: &dyn ErasedKey,
    limits: &Policies<'_>,
    outcome: Outcome,
    write: impl Fn(&mut HeaderMap),
    add_own: impl Fn(&mut HeaderMap),
) -> Action<P, WaitOutcome> {
    let answer = || {
        let mut response = response::denied(request.is_grpc(), outcome, limits);
        write(response.headers_mut());
        response
    };
    let Some(handler) = &profile.handler else {
        let mut response = answer();
        add_own(response.headers_mut());
        return Action::Answer(response);
    };
    let denial = Denial { request, throttle: &profile.uid, outcome, limits, client, answer: &answer };
    match handler {
        Handler::Now(handler) => {
            let mut response = handler(&denial);
            add_own(response.headers_mut());
            Action::Answer(response)
        }
        Handler::Awaited(handler) => {
            let mut own = HeaderMap::new();
            add_own(&mut own);
            let response = handler(&denial);
            Action::Wait(Box::pin(async move {
                let mut response = response.await;
                response.headers_mut().extend(own);
                WaitOutcome(WaitStage::Answer(response))
            }))
        }
    }
}

/// Writes the limits of all throttles of one header format as one list, the tightest first.
fn write_limits(throttles: &[Disclosure<'_>], headers: &mut HeaderMap) {
    let mut written: Vec<HeaderFormat> = Vec::new();
    for format in throttles.iter().map(|it| it.profile.answers.format) {
        if written.contains(&format) || format == HeaderFormat::None {
            continue;
        }
        written.push(format);
        let alike = throttles.iter().filter(|it| it.profile.answers.format == format);
        format.write(&mut alike.flat_map(|it| it.limits.iter().copied()).collect(), headers);
    }
}

impl SetPermit {
    /// Writes the identity and the status of the client into the request's extensions. Returns the future to
    /// poll while the service handles the request, such as the check of a remote shadow.
    pub(crate) fn mark(&mut self, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        self.parts.iter_mut().for_each(|part| part.mark(extensions));
        self.beside.take()
    }

    /// Writes the rate-limit headers, and settles charges that depend on the response.
    pub(crate) fn leave(self, response: &mut Parts) -> Completion {
        let enforced = self.parts.iter().filter(|part| part.is_enforced());
        let enforced: Vec<_> = enforced.map(|part| part.disclosure()).collect();
        write_limits(&enforced, &mut response.headers);
        if let Some(not_decided) = self.not_decided {
            not_decided.write(!enforced.is_empty(), &mut response.headers);
        }
        for it in &enforced {
            it.profile.answers.add(SendWhen::Always, &mut response.headers);
        }
        drop(enforced);
        self.parts.into_iter().fold(Completion::default(), |left, part| left.and(part.close(response)))
    }
}
