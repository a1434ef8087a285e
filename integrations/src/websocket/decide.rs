//! From a message to what becomes of it.

use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_sink::Sink;
use traffik_core::storage::{AsyncStorage, BackendError, Reply};
use traffik_core::{Origin, Outcome, Strategy, Verdict};

use super::deny::{Denied, Next};
use super::hold::{Answer, Asking, For, Held, Until, Wait, late};
use super::meter::Asked;
use super::{WsError, WsErrorAction, WsMessage, WsThrottle};
use crate::evaluate::{DelayedTurn, Ruling};
use crate::http::on_error::OUTAGE;
use crate::middleware::background::aside;
use crate::observe::RequestOutcome;

impl<W, S, M, T, E> WsThrottle<W, S, M, T>
where
    W: Stream<Item = Result<T, E>> + Sink<T, Error = E> + Unpin,
    S: Strategy,
    M: AsyncStorage<S> + 'static,
    T: WsMessage,
{
    /// Decides on a message of data.
    pub(super) fn decide(&mut self, message: T, context: &mut Context<'_>) -> Next<T, E> {
        let Some(meter) = &self.meter else { return Next::Pass(message) };
        let cost = self.policy.cost.as_ref().map_or_else(|| meter.cost(), |cost| cost(&message));
        let began = meter.profile().begin();
        let (reply, enforced) = match meter.check(cost) {
            Asked::Nothing => return Next::Pass(message),
            Asked::Limit(reply, enforced) => (reply, enforced),
        };
        // What is done most often, without more.
        if began.is_none()
            && let Reply::Ready(Some(Ok(verdict))) = &reply
            && matches!(verdict.outcome(), Outcome::Allow { after: Duration::ZERO })
        {
            return Next::Pass(message);
        }
        let meter = Arc::clone(meter);
        let asking =
            Asking { message, meter, cost, waited: Duration::ZERO, took: None, origin: Origin::Store };
        match reply {
            Reply::Ready(Some(answer)) => {
                self.resume(asking, For::Storage(began, enforced), Some(answer), context)
            }
            pending => self.await_storage(asking, pending, began, enforced),
        }
    }

    /// Waits for a storage elsewhere; for a shadow's only if nobody else can.
    fn await_storage(
        &mut self,
        asking: Asking<S, M, T>,
        reply: Reply<S::Verdict>,
        began: Option<Instant>,
        enforced: bool,
    ) -> Next<T, E> {
        if enforced {
            return self.hold(asking, Wait::on_storage(For::Storage(began, enforced), reply));
        }
        let meter = Arc::clone(&asking.meter);
        let told = aside(asking.meter.profile().spawner.as_ref(), async move {
            let answer = reply.await;
            let took = began.map(|began| began.elapsed());
            let seen = answer.as_ref().map_or(RequestOutcome::Failed, |verdict| {
                let outcome = verdict.outcome();
                Ruling::<()>::Pass.seen(outcome)
            });
            meter.tell(seen, took, answer.as_ref().err(), Origin::Shadow);
        });
        match told {
            None => Next::Pass(asking.message),
            Some(told) => self.hold(asking, Wait::on(For::Beside, told)),
        }
    }

    /// Goes on with a message once what it waited for is there.
    pub(super) fn resume(
        &mut self,
        mut asking: Asking<S, M, T>,
        waited: For<S>,
        answer: Answer<S::Verdict>,
        context: &mut Context<'_>,
    ) -> Next<T, E> {
        match waited {
            For::Turn(turn) => {
                let (turn, mut verdict) = *turn;
                turn.leave(&mut verdict);
                pass(asking, RequestOutcome::Delayed)
            }
            For::Beside => Next::Pass(asking.message),
            For::Again => {
                let began = asking.meter.profile().begin();
                match asking.meter.check(asking.cost) {
                    Asked::Nothing => Next::Pass(asking.message),
                    Asked::Limit(Reply::Ready(Some(answer)), enforced) => {
                        self.resume(asking, For::Storage(began, enforced), Some(answer), context)
                    }
                    Asked::Limit(pending, enforced) => self.await_storage(asking, pending, began, enforced),
                }
            }
            For::Remedy(failure, remedy) => {
                let remedy = remedy.get().copied().unwrap_or(WsErrorAction::Throttle);
                self.remedied(asking, failure, remedy, context)
            }
            For::Refund(after, verdict) => {
                let outcome = Outcome::Deny { retry_after: after };
                self.deny(asking, &Denied { outcome, verdict: Some(&verdict), failure: None }, context)
            }
            For::Storage(began, enforced) => {
                let answer = answer.unwrap_or_else(|| Err(late()));
                asking.took = began.map(|began| began.elapsed());
                asking.origin = match &answer {
                    _ if !enforced => Origin::Shadow,
                    Ok(verdict) => verdict.origin(),
                    Err(_) => Origin::DegradedClosed,
                };
                match answer {
                    Ok(verdict) => self.settle(asking, verdict, enforced, context),
                    Err(_) if !enforced => pass(asking, RequestOutcome::Failed),
                    Err(failure) => self.failed(asking, failure, context),
                }
            }
        }
    }

    /// What follows from the storage's answer.
    fn settle(
        &mut self,
        asking: Asking<S, M, T>,
        verdict: S::Verdict,
        enforced: bool,
        context: &mut Context<'_>,
    ) -> Next<T, E> {
        let outcome = verdict.outcome();
        let mut turn = None;
        if enforced && matches!(outcome, Outcome::Allow { after } if !after.is_zero()) {
            let (clock, start) = (Arc::clone(&self.policy.now), (self.policy.now)());
            let watch = Box::new(move || clock().saturating_duration_since(start));
            let account = Arc::clone(&asking.meter);
            turn = DelayedTurn::enter(account, asking.meter.hit(asking.cost), &verdict, watch);
        }
        let after = turn.as_ref().map_or(Duration::ZERO, DelayedTurn::left);
        let wait = |_| turn.take_if(|turn| self.has_time(&asking, turn.left()));
        match Ruling::of(outcome, enforced, wait) {
            Ruling::Pass if outcome.is_allowed() && !asking.waited.is_zero() => {
                pass(asking, RequestOutcome::Delayed)
            }
            Ruling::Pass => pass(asking, Ruling::<()>::Pass.seen(outcome)),
            Ruling::Wait(turn) => {
                let sleep = (self.policy.sleep)(turn.left());
                self.hold(asking, Wait::on(For::Turn(Box::new((turn, verdict))), sleep))
            }
            // Its turn is too far away: another one may have it.
            Ruling::TurnAway(_) => match turn.and_then(DelayedTurn::give_up) {
                Some(refund) => self.hold(asking, Wait::on(For::Refund(after, verdict), refund)),
                None => self.resume(asking, For::Refund(after, verdict), None, context),
            },
            Ruling::Deny => {
                self.deny(asking, &Denied { outcome, verdict: Some(&verdict), failure: None }, context)
            }
        }
    }

    fn failed(
        &mut self,
        asking: Asking<S, M, T>,
        failure: BackendError,
        context: &mut Context<'_>,
    ) -> Next<T, E> {
        let remedy: Reply<WsErrorAction> = match &self.policy.on_error {
            Some(own) => own.remedy(|ask| ask(&failure)),
            None => asking.meter.profile().on_error.remedy(|_| Reply::ready(Ok(WsErrorAction::Throttle))),
        };
        match remedy {
            Reply::Ready(Some(Ok(remedy))) => self.remedied(asking, failure, remedy, context),
            remedy => {
                let answered = Arc::new(OnceLock::new());
                let answer = Arc::clone(&answered);
                let asked = Box::pin(async move {
                    let _ = answer.set(remedy.await.unwrap_or(WsErrorAction::Throttle));
                });
                self.hold(asking, Wait::on(For::Remedy(failure, answered), asked))
            }
        }
    }

    /// Does about a failure what was decided.
    fn remedied(
        &mut self,
        mut asking: Asking<S, M, T>,
        failure: BackendError,
        remedy: WsErrorAction,
        context: &mut Context<'_>,
    ) -> Next<T, E> {
        let wait = match remedy {
            WsErrorAction::Allow => {
                asking.origin = Origin::DegradedOpen;
                asking.tell(RequestOutcome::Failed, Some(&failure));
                return Next::Pass(asking.message);
            }
            WsErrorAction::Raise => {
                asking.tell(RequestOutcome::Failed, Some(&failure));
                return Next::Raise(WsError::Storage(failure));
            }
            WsErrorAction::Throttle => OUTAGE,
            WsErrorAction::ThrottleFor(wait) => wait,
            WsErrorAction::Answer(never) => match never {},
        };
        let outcome = Outcome::Deny { retry_after: wait };
        self.deny(asking, &Denied { outcome, verdict: None, failure: Some(&failure) }, context)
    }

    /// Whether a message may wait for so long.
    pub(super) fn has_time(&mut self, asking: &Asking<S, M, T>, wait: Duration) -> bool {
        let left = self.patience.left((self.policy.now)());
        wait <= left && asking.waited.saturating_add(wait) <= self.policy.max_delay
    }

    /// Has a message wait.
    pub(super) fn hold(&mut self, asked: Asking<S, M, T>, wait: Wait<S>) -> Next<T, E> {
        let left = self.policy.max_delay.saturating_sub(asked.waited);
        let until = if wait.is_open_ended() { self.until(left) } else { None };
        self.held = Some(Box::new(Held { asked, wait, until }));
        if self.next.is_some() {
            self.stop_reading();
        }
        Next::Wait
    }

    /// Nothing is read until the message is no longer held, for as long as there is patience.
    pub(super) fn stop_reading(&mut self) {
        let now = (self.policy.now)();
        self.patience.stop(true, now);
        let left = self.patience.left(now);
        let sooner = |until: &Until| until.end.saturating_duration_since(now) > left;
        if self.held.as_ref().and_then(|held| held.until.as_ref()).is_some_and(sooner) {
            let until = self.until(left);
            if let Some(held) = &mut self.held {
                held.until = until;
            }
        }
    }

    /// None, for a time that never comes.
    fn until(&self, wait: Duration) -> Option<Until> {
        let end = (self.policy.now)().checked_add(wait)?;
        Some(Until { end, sleep: (self.policy.sleep)(wait) })
    }
}

/// Passes a message on.
fn pass<S: Strategy, M: AsyncStorage<S> + 'static, T, E>(
    asking: Asking<S, M, T>,
    seen: RequestOutcome,
) -> Next<T, E> {
    asking.tell(seen, None);
    Next::Pass(asking.message)
}
