//! Several throttles as one: a request is charged to all of them or to none.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, HeaderMap, Response};
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Outcome, Strategy};

use crate::http::denial::{Denial, Handler};
use crate::http::headers::{Dialect, Limits};
use crate::http::request::RequestParts;
use crate::http::response::{self, Sent};
use crate::middleware::admission::{Gate, Left, Step};
use crate::rules::Matching;
use crate::throttle::Throttle;

mod decide;
mod member;

use decide::{Apart, Applies, Asked, Fate, find_out};
pub(crate) use decide::{Decided, decide};
use member::Member;
pub(crate) use member::Part;

/// Which of several throttles that match a request it is counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Which {
    /// All of them, as one limit.
    #[default]
    All,
    /// The one whose [rule](crate::Rule) is the most specific: of those that spell out as much, the one that was given
    /// first. Shadows are all counted by.
    MostSpecific,
}

/// Several throttles as one limit, of whatever types: all that match a request admit it, or none of them is charged.
///
/// * Those on a storage of this process are asked first without charging, and so is what is known in this process of others
///   ([`DenyCache`](traffik_backends::layer::DenyCache)): if one of them denies, no storage elsewhere is called, and nothing is
///   written.
/// * Then they are charged in turn, those on a storage elsewhere first. If one denies after all, what the others were
///   charged is given back: never is more admitted than any of them allows, but another request may meanwhile be told of
///   less than there is.
/// * Once they are asked, they are asked to the end: where one of them has a [background](crate::ThrottleBuilder::spawner), a
///   client that goes away meanwhile is charged by all of them or by none.
/// * A client is told to wait until none of them denies. The [handler](crate::ThrottleBuilder::on_throttled) is that of
///   the first one that denies, and so is what happens when a storage fails.
/// * [Shadows](crate::Enforcement) stand outside: they are charged only if all others admit, never told of, and refuse
///   nobody.
///
/// Takes a few allocations per request, unlike a throttle alone.
///
/// ```
/// use traffik_core::{Gcra, TokenBucket, rate};
/// use traffik_integrations::{Rule, Throttle, ThrottleLayer, Throttles};
///
/// let everything = Throttle::in_memory("all", TokenBucket::new(rate!("1000/h"))).build()?;
/// let logins = Throttle::in_memory("login", Gcra::new(rate!("5/min")))
///     .apply_to(Rule::new().path("/login"))
///     .build()?;
/// let layer = ThrottleLayer::new(Throttles::new().and(everything).and(logins));
/// # let _ = layer;
/// # Ok::<(), traffik_integrations::NameError>(())
/// ```
#[derive(Clone, Default)]
pub struct Throttles {
    members: Arc<Vec<Box<dyn Member>>>,
    which: Which,
}

impl fmt::Debug for Throttles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(|member| member.uid())).finish()
    }
}

impl Throttles {
    /// None yet: every request passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and one more.
    #[must_use]
    pub fn and<S: Strategy, M: AsyncStorage<S> + 'static>(mut self, throttle: Throttle<S, M>) -> Self {
        let throttle: Box<dyn Member> = Box::new(throttle);
        let members = self.members.iter().map(|member| member.boxed()).chain([throttle]);
        self.members = Arc::new(members.collect());
        self
    }

    /// The same, with a request counted by these of those that match.
    #[must_use]
    pub fn which(self, which: Which) -> Self {
        Self { which, ..self }
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.uid())
    }

    /// What is to be asked of those that may apply to a request.
    fn asked(&self, request: RequestParts<'_>) -> Vec<Asked> {
        let mut known = Default::default();
        let asked = self.members.iter().filter_map(|member| {
            let applies = match member.matching(request) {
                Matching::No => return None,
                Matching::Yes(rank) => Applies::Yes(rank),
                Matching::Later(open) => Applies::Later(open),
            };
            Some(Asked { applies, part: member.part(request, &mut known) })
        });
        asked.collect()
    }
}

/// What several throttles keep of a request that they let pass.
pub struct Passes {
    parts: Vec<Box<dyn Part>>,
    beside: Option<BoxFuture<'static, ()>>,
    /// What is told of throttles that did not decide.
    apart: Option<Apart>,
}

impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| part.uid())).finish()
    }
}

/// What several throttles have waited for.
pub struct Works(Waited);

enum Waited {
    Decision(Decided, Option<Apart>),
    Turn(Passes),
    Answer(Response<Bytes>),
}

impl fmt::Debug for Works {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Works")
    }
}

impl Gate for Throttles {
    type Pass = Passes;
    type Work = Works;

    fn enter(&self, request: RequestParts<'_>) -> Step<Passes, Works> {
        let (asked, which) = (self.asked(request), self.which);
        if asked.is_empty() {
            return Step::Pass(Passes { parts: Vec::new(), beside: None, apart: None });
        }
        Step::Wait(Box::pin(async move {
            let (decided, apart) = find_out(asked, which).await;
            Works(Waited::Decision(decided, apart))
        }))
    }

    fn resume(&self, request: RequestParts<'_>, work: Works) -> Step<Passes, Works> {
        match work.0 {
            Waited::Decision(decided, apart) => follow(request, decided, apart),
            Waited::Turn(passes) => Step::Pass(passes),
            Waited::Answer(response) => Step::Answer(response),
        }
    }

    fn mark(&self, pass: &mut Passes, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>> {
        pass.parts.iter_mut().for_each(|part| part.mark(extensions));
        pass.beside.take()
    }

    fn leave(&self, pass: Passes, response: &mut Parts) -> Left {
        let enforced = || pass.parts.iter().filter(|part| part.is_enforced());
        tell(enforced(), &mut response.headers);
        if let Some(apart) = pass.apart {
            apart.tell(enforced().next().is_some(), &mut response.headers);
        }
        for part in enforced() {
            part.add_own(Sent::Always, &mut response.headers);
        }
        pass.parts.into_iter().fold(Left::default(), |left, part| left.and(part.close(response)))
    }
}

/// What follows from what the throttles have come to.
fn follow(request: RequestParts<'_>, decided: Decided, mut apart: Option<Apart>) -> Step<Passes, Works> {
    match decided {
        Decided::Admitted { parts, sleep, beside } => {
            let passes = Passes { parts, beside, apart };
            match sleep {
                None => Step::Pass(passes),
                Some(sleep) => Step::Wait(Box::pin(async move {
                    sleep.await;
                    Works(Waited::Turn(passes))
                })),
            }
        }
        Decided::Denied { parts, first, outcome } => denied(request, &parts, first, outcome),
        Decided::Refused(refusal) => Step::Answer(refusal.response()),
        Decided::Failed { failed, others } => {
            let mut answers = Vec::new();
            for (failing, failure) in failed {
                match failing(Some(request), &failure) {
                    // A throttle that lets everybody pass when it fails is out of the matter.
                    Fate::Passes(open) => apart = Some(open.or(apart)),
                    Fate::Answered(answer) => answers.push(answer),
                }
            }
            match answers.into_iter().next() {
                Some(answer) => Step::Answer(answer),
                None => {
                    Step::Wait(Box::pin(async move { Works(Waited::Decision(decide(others).await, apart)) }))
                }
            }
        }
    }
}

fn denied(
    request: RequestParts<'_>,
    parts: &[Box<dyn Part>],
    first: usize,
    outcome: Outcome,
) -> Step<Passes, Works> {
    let Some(denying) = parts.get(first) else { return Step::Answer(response::unavailable(request, None)) };
    let mut limits = Limits::new();
    parts.iter().for_each(|part| part.limits(&mut limits));
    let mut told = HeaderMap::new();
    tell(parts.iter(), &mut told);
    let mut own = HeaderMap::new();
    parts.iter().for_each(|part| part.add_own(Sent::WhenDenied, &mut own));
    let answer = || {
        let mut response = response::denied(request, outcome, &limits);
        response.headers_mut().extend(told.clone());
        response
    };
    let (throttle, client) = (denying.uid(), denying.client());
    let denial = Denial { request, throttle, outcome, limits: &limits, client, answer: &answer };
    let finish = move |mut response: Response<Bytes>| {
        response.headers_mut().extend(own);
        response
    };
    match denying.handler() {
        None => Step::Answer(finish(denial.response())),
        Some(Handler::Now(handler)) => Step::Answer(finish(handler(&denial))),
        Some(Handler::Awaited(handler)) => {
            let response = handler(&denial);
            Step::Wait(Box::pin(async move { Works(Waited::Answer(finish(response.await))) }))
        }
    }
}

/// Tells what all limits of a dialect say as one list, the tightest first.
fn tell<'a>(parts: impl Iterator<Item = &'a Box<dyn Part>> + Clone, headers: &mut HeaderMap) {
    let mut told: Vec<Dialect> = Vec::new();
    for dialect in parts.clone().map(|part| part.dialect()) {
        if told.contains(&dialect) || dialect == Dialect::None {
            continue;
        }
        told.push(dialect);
        let mut limits = Limits::new();
        parts.clone().filter(|part| part.dialect() == dialect).for_each(|part| part.limits(&mut limits));
        dialect.write(&mut limits, headers);
    }
}
