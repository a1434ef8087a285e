//! One of several throttles, of whatever type.

use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{Extensions, HeaderMap};
use traffik_core::storage::{AsyncStorage, BoxFuture, Failure};
use traffik_core::{Decision, ErasedKey, Op, Origin, Outcome, Strategy, Verdict};

use crate::evaluate::all::decide::{Apart, Failing, Fate, Pending};
use crate::evaluate::one::{Pass, at_least};
use crate::http::denial::Handler;
use crate::http::headers::{Dialect, Limits};
use crate::http::request::RequestParts;
use crate::http::response::Sent;
use crate::identify::Identity;
use crate::middleware::admission::{Gate, Left};
use crate::rules::Matching;
use crate::throttle::{Known, Plan, Planned, Prepared, Spawn, Throttle, Why};

/// A throttle of whatever type.
pub(crate) trait Member: Send + Sync {
    fn uid(&self) -> &str;
    fn boxed(&self) -> Box<dyn Member>;
    fn matching(&self, request: RequestParts<'_>) -> Matching;

    /// What is to be asked of it about a request that it applies to.
    fn part(&self, request: RequestParts<'_>, known: &mut Known) -> Pending;
}

/// What one throttle has to do with one request, and what it says.
pub(crate) trait Part: Send {
    fn uid(&self) -> &str;
    fn is_local(&self) -> bool;
    fn is_enforced(&self) -> bool;
    fn client(&self) -> &dyn ErasedKey;
    fn handler(&self) -> Option<&Handler>;
    /// What is done when it has failed.
    fn failing(&self) -> Failing;
    /// What runs something in the background, if it has that.
    fn spawner(&self) -> Option<Arc<Spawn>>;
    /// Sleeps on its runtime, if it has one.
    fn sleep(&self, wait: Duration) -> Option<BoxFuture<'static, ()>>;

    /// Whether it is known without asking its storage that it denies; noted as what it said.
    fn is_denied_already(&mut self) -> bool;
    /// What it would say, charging nothing.
    fn peek(&mut self) -> BoxFuture<'_, Result<Outcome, Failure>>;
    /// What it says; charged if it admits.
    fn check(&mut self) -> BoxFuture<'_, Result<Outcome, Failure>>;
    /// Whether it was charged, and nothing given back.
    fn is_charged(&self) -> bool;
    /// Gives back what was charged, if something was.
    fn give_back(&mut self) -> BoxFuture<'_, ()>;
    /// What there is without the request.
    fn rest(&mut self) -> BoxFuture<'_, ()>;
    /// What it said last, with at least the wait that is to be told.
    fn outcome(&self) -> Option<Outcome>;
    /// Tells observers what it said.
    fn watch(&self);
    /// Tells observers that it has failed, about which nobody is asked what to do.
    fn watch_failure(&self, failure: &Failure);
    /// Asks without making anybody wait, if there is somebody to see to it; else gives what is to be seen to.
    fn aside(self: Box<Self>) -> Option<BoxFuture<'static, ()>>;

    /// What its limits said last, with their names.
    fn limits<'a>(&'a self, limits: &mut Limits<'a>);
    fn dialect(&self) -> Dialect;
    fn add_own(&self, reason: Sent, headers: &mut HeaderMap);
    fn mark(&mut self, extensions: &mut Extensions);
    fn close(self: Box<Self>, response: &mut Parts) -> Left;
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Member for Throttle<S, M> {
    fn uid(&self) -> &str {
        Throttle::uid(self)
    }

    fn boxed(&self) -> Box<dyn Member> {
        Box::new(self.clone())
    }

    fn matching(&self, request: RequestParts<'_>) -> Matching {
        self.0.rules.matching(request)
    }

    fn part(&self, request: RequestParts<'_>, known: &mut Known) -> Pending {
        let prepared = self.plan(request, Some(known));
        if let (Prepared::Ready(plan), Some(cache)) = (&prepared, self.0.cache) {
            known.add(cache, Identity::Key(plan.client.clone()));
        }
        let throttle = self.clone();
        match prepared {
            Prepared::Later(planned) => {
                Pending::Later(Box::pin(async move { throttle.pending(planned.await) }))
            }
            Prepared::Ready(plan) => throttle.pending(Ok(plan)),
            Prepared::Not(unasked) => throttle.pending(Err(unasked)),
        }
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    fn pending(self, planned: Planned<S, M>) -> Pending {
        let unasked = match planned {
            Ok(plan) => return Pending::Ready(self.part_of(Arc::new(plan))),
            Err(unasked) => unasked,
        };
        self.0.watch_unasked(&unasked);
        match unasked.why {
            // A shadow's client is counted by others as if there were none.
            _ if !unasked.enforced => Pending::Absent,
            Why::Skip(origin @ Origin::Exempt) => {
                Pending::Exempt(Apart { dialect: self.0.answers.dialect, origin })
            }
            Why::Skip(_) => Pending::Absent,
            Why::Stop(stop) => Pending::Stop(stop, self.failing(None, None)),
        }
    }

    /// What this throttle has to do with what is planned.
    pub(crate) fn part_of(&self, plan: Arc<Plan<S, M>>) -> Box<dyn Part> {
        Box::new(One { throttle: self.clone(), plan, said: None, charged: false, took: None, pass: None })
    }

    fn failing(&self, plan: Option<Arc<Plan<S, M>>>, took: Option<Duration>) -> Failing {
        let throttle = self.clone();
        let dialect = throttle.0.answers.dialect;
        Box::new(move |request, failure| match request {
            Some(request) => match throttle.remedied(request, plan.as_deref(), failure, took) {
                Some(response) => Fate::Answered(response),
                None => Fate::Passes(Apart { dialect, origin: Origin::DegradedOpen }),
            },
            None => {
                let origin = Origin::DegradedClosed;
                throttle.0.fell(plan.as_deref(), failure, took, origin);
                Fate::Passes(Apart { dialect, origin })
            }
        })
    }
}

/// A throttle and what is to be asked of it.
struct One<S: Strategy, M> {
    throttle: Throttle<S, M>,
    plan: Arc<Plan<S, M>>,
    /// What it said last.
    said: Option<S::Verdict>,
    charged: bool,
    took: Option<Duration>,
    /// What is left to do once the request is served.
    pass: Option<Pass<S, M>>,
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> One<S, M> {
    async fn ask(&mut self, op: Op<S>) -> Result<Outcome, Failure> {
        let verdict = self.throttle.apply(&self.plan, &op).await?;
        let outcome = verdict.outcome();
        self.said = Some(verdict);
        Ok(outcome)
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Part for One<S, M> {
    fn uid(&self) -> &str {
        self.throttle.uid()
    }

    fn is_local(&self) -> bool {
        self.throttle.is_local(&self.plan)
    }

    fn is_enforced(&self) -> bool {
        self.plan.enforced
    }

    fn client(&self) -> &dyn ErasedKey {
        &self.plan.client
    }

    fn handler(&self) -> Option<&Handler> {
        self.throttle.0.handler.as_ref()
    }

    fn failing(&self) -> Failing {
        self.throttle.failing(Some(Arc::clone(&self.plan)), self.took)
    }

    fn spawner(&self) -> Option<Arc<Spawn>> {
        self.throttle.0.spawner.clone()
    }

    fn sleep(&self, wait: Duration) -> Option<BoxFuture<'static, ()>> {
        self.throttle.0.delay.as_ref().map(|delay| delay(wait))
    }

    fn is_denied_already(&mut self) -> bool {
        self.said = self.throttle.known_denial(&self.plan);
        self.said.is_some()
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Outcome, Failure>> {
        Box::pin(self.ask(Op::Peek(self.plan.hit)))
    }

    fn check(&mut self) -> BoxFuture<'_, Result<Outcome, Failure>> {
        Box::pin(async {
            let began = self.throttle.0.begin();
            let answer = self.ask(Op::Check(self.plan.hit)).await;
            self.took = began.map(|began| began.elapsed());
            let outcome = answer?;
            self.charged = outcome.is_allowed();
            Ok(outcome)
        })
    }

    fn is_charged(&self) -> bool {
        self.charged
    }

    fn give_back(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let Some(verdict) = self.said.as_ref().filter(|_| self.charged) else { return };
            let receipt = verdict.receipt();
            self.charged = false;
            // What cannot be given back stays charged.
            let _ = self.ask(Op::Refund(self.plan.hit, receipt)).await;
        })
    }

    fn rest(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _ = self.ask(Op::Peek(self.plan.hit.free())).await;
        })
    }

    fn outcome(&self) -> Option<Outcome> {
        let outcome = self.said.as_ref()?.outcome();
        Some(if outcome.is_allowed() { outcome } else { at_least(outcome, self.plan.settings.min_wait) })
    }

    fn watch(&self) {
        if let Some(verdict) = &self.said {
            self.throttle.0.watch(&self.plan, verdict, self.took);
        }
    }

    fn watch_failure(&self, failure: &Failure) {
        self.throttle.0.heard(&self.plan, Err(failure), self.took);
    }

    fn aside(mut self: Box<Self>) -> Option<BoxFuture<'static, ()>> {
        let throttle = self.throttle.clone();
        throttle.0.aside(Box::pin(async move {
            match self.check().await {
                Ok(_) => self.watch(),
                Err(failure) => self.watch_failure(&failure),
            }
        }))
    }

    fn limits<'a>(&'a self, limits: &mut Limits<'a>) {
        let Some(verdict) = &self.said else { return };
        let mut at = 0;
        verdict.each(&mut |decision: &Decision| {
            limits.push(self.throttle.0.answers.told(at, decision));
            at += 1;
        });
    }

    fn dialect(&self) -> Dialect {
        self.throttle.0.answers.dialect
    }

    fn add_own(&self, reason: Sent, headers: &mut HeaderMap) {
        self.throttle.0.answers.add(reason, headers);
    }

    fn mark(&mut self, extensions: &mut Extensions) {
        let Some(verdict) = self.said.clone() else { return };
        let mut pass = self.throttle.pass_of(&self.plan, verdict);
        let _ = self.throttle.mark(&mut pass, extensions);
        self.pass = Some(pass);
    }

    fn close(self: Box<Self>, response: &mut Parts) -> Left {
        match self.pass {
            Some(pass) => self.throttle.close(pass, response),
            None => Left::default(),
        }
    }
}
