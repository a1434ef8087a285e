//! A request on its way through a throttle: decided, answered or passed on, and told where it stands.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, Response};
use traffik_core::storage::{AsyncStorage, BoxFuture, Failure, Reply};
use traffik_core::{Cost, ErasedKey, Op, Origin, Outcome, Strategy, Verdict};

use crate::http::denial::{Denial, Handler};
use crate::http::headers::{self, Limits};
use crate::http::on_error::{Remedy, Trouble};
use crate::http::request::Stop;
use crate::http::response::{self, Sent};
use crate::identify::{Identity, RequestParts};
use crate::middleware::admission::{Gate, Left, Step};
use crate::observe::{Event, Seen};
use crate::throttle::after::After;
use crate::throttle::prepare::{Known, Plan, Planned, Prepared, Unasked, Why};
use crate::throttle::{Inner, Throttle};

/// What a throttle keeps of a request that it lets pass.
pub struct Pass<S: Strategy, M> {
    verdict: Option<S::Verdict>,
    origin: Origin,
    /// What is to go on while the request is served.
    pub(crate) beside: Option<BoxFuture<'static, ()>>,
    /// What is asked about once more later on; of the usual request nothing is.
    plan: Option<Arc<Plan<S, M>>>,
}

impl<S: Strategy, M> Pass<S, M> {
    const fn uncounted(origin: Origin) -> Self {
        Self { verdict: None, origin, beside: None, plan: None }
    }

    /// What was decided; `None` if the request was not counted.
    #[must_use]
    pub const fn verdict(&self) -> Option<&S::Verdict> {
        self.verdict.as_ref()
    }

    /// Where the decision comes from.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl<S: Strategy, M> fmt::Debug for Pass<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("verdict", &self.verdict)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// What a throttle has waited for.
pub struct Work<S: Strategy, M>(Waited<S, M>);

enum Waited<S: Strategy, M> {
    /// Functions of the request.
    Functions(Planned<S, M>),
    /// The storage.
    Storage(Plan<S, M>, Result<S::Verdict, Failure>, Option<Duration>),
    /// The request's turn.
    Turn(Pass<S, M>),
    /// An answer to it.
    Answer(Response<Bytes>),
}

impl<S: Strategy, M> fmt::Debug for Work<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Waited::Functions(_) => "Work(functions)",
            Waited::Storage(..) => "Work(storage)",
            Waited::Turn(_) => "Work(turn)",
            Waited::Answer(_) => "Work(answer)",
        })
    }
}

type Next<S, M> = Step<Pass<S, M>, Work<S, M>>;

impl<S: Strategy, M: AsyncStorage<S> + 'static> Gate for Throttle<S, M> {
    type Pass = Pass<S, M>;
    type Work = Work<S, M>;

    /// Allocates nothing if the storage is local, no function has to be awaited, and the request passes at once.
    fn enter(&self, request: RequestParts<'_>) -> Next<S, M> {
        match self.prepare(request, None) {
            Prepared::Ready(plan) => self.decide(request, plan),
            Prepared::Not(unasked) => self.unasked(request, unasked),
            Prepared::Later(answer) => {
                Step::Wait(Box::pin(async move { Work(Waited::Functions(answer.await)) }))
            }
        }
    }

    fn resume(&self, request: RequestParts<'_>, work: Work<S, M>) -> Next<S, M> {
        match work.0 {
            Waited::Functions(Ok(plan)) => self.decide(request, plan),
            Waited::Functions(Err(unasked)) => self.unasked(request, unasked),
            Waited::Storage(plan, answer, took) => self.settle(request, plan, answer, took),
            Waited::Turn(pass) => Step::Pass(pass),
            Waited::Answer(response) => Step::Answer(response),
        }
    }

    fn mark(&self, pass: &mut Pass<S, M>, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        if let (Some(cache), Some(plan)) = (self.0.cache, &pass.plan) {
            let identity = Identity::Key(plan.client.clone());
            extensions.get_or_insert_default::<Known>().add(cache, identity);
        }
        if let (Some(expose), Some(plan), Some(verdict)) = (self.0.expose, &pass.plan, &pass.verdict) {
            expose(self, plan, verdict, pass.origin, extensions);
        }
        pass.beside.take()
    }

    fn leave(&self, pass: Pass<S, M>, response: &mut Parts) -> Left {
        match &pass.verdict {
            Some(_) if pass.origin == Origin::Shadow => {}
            Some(verdict) => self.0.answers.tell(verdict, &mut response.headers),
            None => self.0.answers.dialect.tell_origin(pass.origin, &mut response.headers),
        }
        self.close(pass, response)
    }
}

// Part of their callers, so that a plan is not moved from one to the next: a tenth of what a throttle adds to a request.
impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    #[inline(always)]
    fn decide(&self, request: RequestParts<'_>, plan: Plan<S, M>) -> Next<S, M> {
        let began = self.0.begin();
        match self.apply(&plan, &Op::Check(plan.hit)) {
            Reply::Ready(Some(answer)) => self.settle(request, plan, answer, since(began)),
            reply if plan.enforced => Step::Wait(Box::pin(async move {
                let answer = reply.await;
                Work(Waited::Storage(plan, answer, since(began)))
            })),
            // A shadow does not keep anybody waiting.
            reply => {
                let throttle = self.clone();
                let mut pass = Pass::uncounted(Origin::Shadow);
                pass.beside = self.0.aside(Box::pin(async move {
                    let answer = reply.await;
                    throttle.0.heard(&plan, answer.as_ref(), since(began));
                }));
                Step::Pass(pass)
            }
        }
    }

    /// What follows from the storage's answer.
    #[inline(always)]
    fn settle(
        &self,
        request: RequestParts<'_>,
        plan: Plan<S, M>,
        answer: Result<S::Verdict, Failure>,
        took: Option<Duration>,
    ) -> Next<S, M> {
        let verdict = match answer {
            Ok(verdict) => verdict,
            Err(failure) if !plan.enforced => {
                self.0.heard(&plan, Err(&failure), took);
                return Step::Pass(Pass::uncounted(Origin::Shadow));
            }
            Err(failure) => return self.failed(request, Some(&plan), &failure, took),
        };
        self.0.watch(&plan, &verdict, took);
        let outcome = verdict.outcome();
        match outcome {
            Outcome::Allow { after } if after.is_zero() || !plan.enforced => {
                Step::Pass(self.pass(plan, verdict))
            }
            Outcome::Allow { after } => match &self.0.delay {
                Some(delay) => {
                    let (sleep, pass) = (delay(after), self.pass(plan, verdict));
                    Step::Wait(Box::pin(async move {
                        sleep.await;
                        Work(Waited::Turn(pass))
                    }))
                }
                None => self.unable_to_wait(request, plan, &verdict),
            },
            _ if !plan.enforced => Step::Pass(self.pass(plan, verdict)),
            _ => self.denied(request, &plan, &verdict),
        }
    }

    /// An admission, with what is asked for later on.
    #[inline(always)]
    fn pass(&self, plan: Plan<S, M>, verdict: S::Verdict) -> Pass<S, M> {
        let origin = plan.origin(&verdict);
        let plan = self.0.needs_more().then(|| Arc::new(plan));
        Pass { verdict: Some(verdict), origin, beside: None, plan }
    }

    /// The same, of a plan that others hold as well.
    pub(crate) fn pass_of(&self, plan: &Arc<Plan<S, M>>, verdict: S::Verdict) -> Pass<S, M> {
        let origin = plan.origin(&verdict);
        let plan = self.0.needs_more().then(|| Arc::clone(plan));
        Pass { verdict: Some(verdict), origin, beside: None, plan }
    }

    /// Settles what the response decides, of a request that was charged.
    pub(crate) fn close(&self, pass: Pass<S, M>, response: &Parts) -> Left {
        match (pass.plan, &pass.verdict) {
            (Some(plan), Some(verdict)) if verdict.outcome().is_allowed() => {
                self.0.after.left(self, plan, verdict.receipt(), response)
            }
            _ => Left::default(),
        }
    }

    /// There is no runtime to wait on: the client is told to wait instead, and its place given back.
    fn unable_to_wait(
        &self,
        request: RequestParts<'_>,
        plan: Plan<S, M>,
        verdict: &S::Verdict,
    ) -> Next<S, M> {
        let told = self.told(self.apply(&plan, &Op::Refund(plan.hit, verdict.receipt())));
        match (told, self.denied(request, &plan, verdict)) {
            (Some(told), Step::Answer(response)) if self.0.spawner.is_none() => {
                Step::Wait(Box::pin(async move {
                    told.await;
                    Work(Waited::Answer(response))
                }))
            }
            (_, next) => next,
        }
    }

    fn denied(&self, request: RequestParts<'_>, plan: &Plan<S, M>, verdict: &S::Verdict) -> Next<S, M> {
        let it = &*self.0;
        let mut limits = it.answers.limits(verdict);
        let outcome = at_least(verdict.outcome(), plan.settings.min_wait);
        headers::arrange(&mut limits);
        let answer = || {
            let mut response = response::denied(request, outcome, &limits);
            it.answers.dialect.put(&limits, response.headers_mut());
            response
        };
        let Some(handler) = &it.handler else {
            let mut response = answer();
            it.add_own_headers(&mut response);
            return Step::Answer(response);
        };
        let denial = Denial {
            request,
            throttle: &it.uid,
            outcome,
            limits: &limits,
            client: &plan.client,
            answer: &answer,
        };
        match handler {
            Handler::Now(handler) => {
                let mut response = handler(&denial);
                it.add_own_headers(&mut response);
                Step::Answer(response)
            }
            Handler::Awaited(handler) => {
                let (response, throttle) = (handler(&denial), self.clone());
                Step::Wait(Box::pin(async move {
                    let mut response = response.await;
                    throttle.0.add_own_headers(&mut response);
                    Work(Waited::Answer(response))
                }))
            }
        }
    }

    /// The storage, or a function of the request, has failed.
    fn failed(
        &self,
        request: RequestParts<'_>,
        plan: Option<&Plan<S, M>>,
        failure: &Failure,
        took: Option<Duration>,
    ) -> Next<S, M> {
        match self.remedied(request, plan, failure, took) {
            None => Step::Pass(Pass::uncounted(Origin::DegradedOpen)),
            Some(response) => Step::Answer(response),
        }
    }

    /// What a request is answered that cannot be decided upon, unless it is to pass.
    pub(crate) fn remedied(
        &self,
        request: RequestParts<'_>,
        plan: Option<&Plan<S, M>>,
        failure: &Failure,
        took: Option<Duration>,
    ) -> Option<Response<Bytes>> {
        let remedy = self.remedy(request, plan, failure);
        let origin = remedy.origin();
        self.0.fell(plan, failure, took, origin);
        let mut response = response::failed(request, remedy, failure)?;
        self.0.answers.dialect.tell_origin(origin, response.headers_mut());
        Some(response)
    }

    fn remedy(&self, request: RequestParts<'_>, plan: Option<&Plan<S, M>>, failure: &Failure) -> Remedy {
        let function = match self.0.on_error.remedy() {
            Ok(remedy) => return remedy,
            Err(function) => function,
        };
        let fresh = plan.and_then(|plan| self.fresh(plan));
        let limits = fresh.as_ref().map_or_else(Limits::new, |fresh| self.0.answers.limits(fresh));
        function(&Trouble {
            request,
            throttle: &self.0.uid,
            failure,
            client: plan.map(|plan| &plan.client as &dyn ErasedKey),
            cost: plan.map(|plan| plan.hit.cost.largest()),
            limits: &limits,
        })
    }

    fn unasked(&self, request: RequestParts<'_>, unasked: Unasked) -> Next<S, M> {
        self.0.watch_unasked(&unasked);
        match unasked.why {
            _ if !unasked.enforced => Step::Pass(Pass::uncounted(Origin::Shadow)),
            Why::Skip(origin) => Step::Pass(Pass::uncounted(origin)),
            Why::Stop(Stop::Failed(failure)) => self.failed(request, None, &failure, None),
            Why::Stop(Stop::Refused(refusal)) => Step::Answer(refusal.response()),
        }
    }
}

impl<S: Strategy, M> Inner<S, M> {
    /// Whether a plan is asked for once more after the request was let pass.
    const fn needs_more(&self) -> bool {
        self.cache.is_some() || self.expose.is_some() || !matches!(self.after, After::Nothing)
    }

    /// The time at which a check begins, if somebody wants to hear how long it takes.
    pub(crate) fn begin(&self) -> Option<Instant> {
        (!self.observers.is_empty()).then(Instant::now)
    }

    /// Tells of a check.
    pub(crate) fn watch(&self, plan: &Plan<S, M>, verdict: &S::Verdict, took: Option<Duration>) {
        if self.observers.is_empty() {
            return;
        }
        let result = match verdict.outcome() {
            Outcome::Allow { after } if after.is_zero() || !plan.enforced => Seen::Allowed,
            Outcome::Allow { .. } if self.delay.is_some() => Seen::Delayed,
            _ if !plan.enforced => Seen::WouldDeny,
            Outcome::Never => Seen::Never,
            _ => Seen::Denied,
        };
        let (client, origin) = (Some(&plan.client as &dyn ErasedKey), Some(plan.origin(verdict)));
        self.notice(&Event { client, took, origin, ..self.event(result) });
    }

    /// Tells of a request about which nothing was asked; of a failure only if nobody is asked what to do.
    pub(crate) fn watch_unasked(&self, unasked: &Unasked) {
        let (shadow, exempt) = (Some(Origin::Shadow), Some(Origin::Exempt));
        match &unasked.why {
            Why::Skip(Origin::Exempt) => self.notice(&Event { origin: exempt, ..self.event(Seen::Exempt) }),
            Why::Skip(_) => {}
            Why::Stop(Stop::Refused(_)) => {
                let origin = shadow.filter(|_| !unasked.enforced);
                self.notice(&Event { origin, ..self.event(Seen::Refused) });
            }
            Why::Stop(Stop::Failed(failure)) if !unasked.enforced => {
                self.fell(None, failure, None, Origin::Shadow);
            }
            Why::Stop(Stop::Failed(_)) => {}
        }
    }

    /// Tells of a check about which nobody is asked what to do if it fails.
    pub(crate) fn heard(
        &self,
        plan: &Plan<S, M>,
        answer: Result<&S::Verdict, &Failure>,
        took: Option<Duration>,
    ) {
        let origin = if plan.enforced { Origin::DegradedClosed } else { Origin::Shadow };
        match answer {
            Ok(verdict) => self.watch(plan, verdict, took),
            Err(failure) => self.fell(Some(plan), failure, took, origin),
        }
    }

    /// Tells that nothing could decide, and where what becomes of the request comes from.
    pub(crate) fn fell(
        &self,
        plan: Option<&Plan<S, M>>,
        failure: &Failure,
        took: Option<Duration>,
        origin: Origin,
    ) {
        let (client, failure) = (plan.map(|plan| &plan.client as &dyn ErasedKey), Some(failure));
        self.notice(&Event { client, took, failure, origin: Some(origin), ..self.event(Seen::Failed) });
    }

    /// Runs something without making anybody wait: in the background, or else while the request is served.
    pub(crate) fn aside(&self, future: BoxFuture<'static, ()>) -> Option<BoxFuture<'static, ()>> {
        match &self.spawner {
            Some(spawn) => {
                spawn(future);
                None
            }
            None => Some(future),
        }
    }

    fn add_own_headers(&self, response: &mut Response<Bytes>) {
        self.answers.add(Sent::WhenDenied, response.headers_mut());
    }
}

fn since(began: Option<Instant>) -> Option<Duration> {
    began.map(|began| began.elapsed())
}

/// A denial with a wait of at least this.
pub(crate) fn at_least(outcome: Outcome, min_wait: Duration) -> Outcome {
    match outcome {
        Outcome::Deny { retry_after } => Outcome::Deny { retry_after: retry_after.max(min_wait) },
        Outcome::Allow { after } => Outcome::Deny { retry_after: after.max(min_wait) },
        Outcome::Never => Outcome::Never,
    }
}
