//! From what throttles have come to, to what becomes of the request: it passes, is answered, or waits.

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, HeaderMap, Response};
use traffik_core::Outcome;
use traffik_core::storage::BoxFuture;

use super::contract::{Decided, ErrorOutcome, NotDecided, Part};
use super::decide::decide;
use crate::http::denial::{Denial, Handler};
use crate::http::headers::{self, Dialect, Limits};
use crate::http::request::RequestParts;
use crate::http::response::{self, Sent};
use crate::middleware::admission::{Left, Step};

/// What is kept of a request that several throttles let pass.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "machinery, which nobody names")]
pub struct Admitted {
    pub(crate) parts: Vec<Box<dyn Part>>,
    pub(crate) beside: Option<BoxFuture<'static, ()>>,
    /// What is told of throttles that did not decide.
    pub(crate) not_decided: Option<NotDecided>,
}

/// What was waited for.
#[expect(missing_debug_implementations, reason = "machinery, which nobody names")]
pub struct Waited(pub(super) WaitedFor);

pub(super) enum WaitedFor {
    Decision(Decided, Option<NotDecided>),
    Turn(Admitted),
    Answer(Response<Bytes>),
}

impl Waited {
    pub(super) async fn decision(
        decided: impl Future<Output = Decided>,
        not_decided: Option<NotDecided>,
    ) -> Self {
        Self(WaitedFor::Decision(decided.await, not_decided))
    }

    pub(super) async fn answer(response: impl Future<Output = Response<Bytes>>) -> Self {
        Self(WaitedFor::Answer(response.await))
    }
}

/// Goes on with what was waited for.
pub(crate) fn resume(request: RequestParts<'_>, waited: Waited) -> Step<Admitted, Waited> {
    match waited.0 {
        WaitedFor::Decision(decided, not_decided) => follow(request, decided, not_decided),
        WaitedFor::Turn(admitted) => Step::Pass(admitted),
        WaitedFor::Answer(response) => Step::Answer(response),
    }
}

fn follow(
    request: RequestParts<'_>,
    decided: Decided,
    mut not_decided: Option<NotDecided>,
) -> Step<Admitted, Waited> {
    match decided {
        Decided::Admitted { parts, sleep, beside } => {
            let admitted = Admitted { parts, beside, not_decided };
            match sleep {
                None => Step::Pass(admitted),
                Some(sleep) => Step::Wait(Box::pin(async move {
                    sleep.await;
                    Waited(WaitedFor::Turn(admitted))
                })),
            }
        }
        Decided::Denied { parts, first, outcome } => {
            let Some(denying) = parts.get(first) else {
                return Step::Answer(response::unavailable(request, None));
            };
            match denied(request, parts.iter().map(|part| &**part), &**denying, outcome) {
                Answer::Now(response) => Step::Answer(response),
                Answer::Later(response) => Step::Wait(Box::pin(Waited::answer(response))),
            }
        }
        Decided::Refused(refusal) => Step::Answer(refusal.response()),
        Decided::Failed { failed, others } => {
            let mut answer = None;
            for (failing, failure) in failed {
                match failing(Some(request), &failure) {
                    // A throttle that lets everybody pass when it fails is out of the matter.
                    ErrorOutcome::Passes(open) => not_decided = Some(open.or(not_decided)),
                    ErrorOutcome::Answered(first) => drop(answer.get_or_insert(first)),
                }
            }
            match answer {
                Some(answer) => Step::Answer(answer),
                None => Step::Wait(Box::pin(Waited::decision(decide(others), not_decided))),
            }
        }
    }
}

/// The answer to a denial.
pub(crate) enum Answer {
    Now(Response<Bytes>),
    /// A function of the program's is to be awaited for it.
    Later(BoxFuture<'static, Response<Bytes>>),
}

/// The answer to a request that `denying`, one of `parts`, denies.
pub(crate) fn denied<'a>(
    request: RequestParts<'_>,
    parts: impl Iterator<Item = &'a dyn Part> + Clone,
    denying: &dyn Part,
    outcome: Outcome,
) -> Answer {
    let mut limits = Limits::new();
    parts.clone().for_each(|part| limits.extend(part.limits()));
    let is_alone = parts.clone().nth(1).is_none();
    if is_alone {
        headers::arrange(&mut limits);
    }
    let answer = || {
        let mut response = response::denied(request, outcome, &limits);
        let headers = response.headers_mut();
        if is_alone {
            denying.profile().answers.dialect.put(&limits, headers)
        } else {
            tell(parts.clone(), headers)
        }
        response
    };
    let profile = denying.profile();
    let (throttle, client) = (profile.uid.as_str(), denying.client());
    let denial = Denial { request, throttle, outcome, limits: &limits, client, answer: &answer };
    let add_own = |headers: &mut HeaderMap| {
        parts.clone().for_each(|part| part.profile().answers.add(Sent::WhenDenied, headers));
    };
    let mut response = match &profile.handler {
        None => answer(),
        Some(Handler::Now(handler)) => handler(&denial),
        Some(Handler::Awaited(handler)) => {
            let mut own = HeaderMap::new();
            add_own(&mut own);
            let response = handler(&denial);
            return Answer::Later(Box::pin(async move {
                let mut response = response.await;
                response.headers_mut().extend(own);
                response
            }));
        }
    };
    add_own(response.headers_mut());
    Answer::Now(response)
}

/// Tells what all limits of a dialect say as one list, the tightest first.
fn tell<'a>(parts: impl Iterator<Item = &'a dyn Part> + Clone, headers: &mut HeaderMap) {
    let mut told: Vec<Dialect> = Vec::new();
    let dialect = |part: &dyn Part| part.profile().answers.dialect;
    for this in parts.clone().map(dialect) {
        if told.contains(&this) || this == Dialect::None {
            continue;
        }
        told.push(this);
        let mut limits = Limits::new();
        parts.clone().filter(|part| dialect(*part) == this).for_each(|part| limits.extend(part.limits()));
        this.write(&mut limits, headers);
    }
}

impl Admitted {
    /// Notes on the request what the service behind may want to know; gives what is to go on while it is served.
    pub(crate) fn mark(&mut self, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        self.parts.iter_mut().for_each(|part| part.mark(extensions));
        self.beside.take()
    }

    /// Tells the client where it stands, and settles what the response decides.
    pub(crate) fn leave(self, response: &mut Parts) -> Left {
        let enforced = || self.parts.iter().map(|part| &**part).filter(|part| part.is_enforced());
        tell(enforced(), &mut response.headers);
        if let Some(not_decided) = self.not_decided {
            not_decided.tell(enforced().next().is_some(), &mut response.headers);
        }
        for part in enforced() {
            part.profile().answers.add(Sent::Always, &mut response.headers);
        }
        self.parts.into_iter().fold(Left::default(), |left, part| left.and(part.close(response)))
    }
}
