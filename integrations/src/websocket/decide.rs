//! From a message to what becomes of it.

use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_sink::Sink;
use traffik_core::storage::{AsyncStorage, Failure, Reply};
use traffik_core::{Outcome, Strategy, Verdict};

use super::hold::{Asking, Held, Wait, Waited};
use super::meter::Asked;
use super::throttle::Closing;
use super::{WsAction, WsAnswer, WsBeyond, WsDenial, WsError, WsMessage, WsRemedy, WsThrottle};
use crate::headers::Limits;
use crate::observe::Seen;
use crate::throttle::at_least;

/// How long a message is told to wait when the storage fails.
const OUTAGE: Duration = Duration::from_secs(1);

/// How long a peer may take to agree that the connection is closed.
const FAREWELL: Duration = Duration::from_secs(5);

/// What becomes of a message.
pub(super) enum Next<T, E> {
    /// It passes.
    Pass(T),
    /// It is dropped, and the reader is told.
    Raise(WsError<E>),
    /// It is dropped.
    Drop,
    /// It waits.
    Wait,
}

/// A denial on its way to being answered.
struct Denied<'a, V> {
    outcome: Outcome,
    verdict: Option<&'a V>,
    failure: Option<&'a Failure>,
}

impl<V> Denied<'_, V> {
    /// What is told of it.
    fn told(&self, min_wait: Duration) -> Outcome {
        at_least(self.outcome, min_wait)
    }

    const fn seen(&self) -> Seen {
        match (self.failure, self.outcome) {
            (Some(_), _) => Seen::Failed,
            (None, Outcome::Never) => Seen::Never,
            _ => Seen::Denied,
        }
    }

    fn raised<E>(&self, min_wait: Duration) -> WsError<E> {
        match self.failure {
            Some(failure) => WsError::Storage(failure.clone()),
            None => WsError::Throttled(self.told(min_wait)),
        }
    }
}

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
        let began = meter.begin();
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
        let asking = Asking { message, meter, cost, waited: Duration::ZERO, took: None };
        match reply {
            Reply::Ready(Some(answer)) => {
                self.resume(asking, Waited::Storage(answer, began, enforced), context)
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
            return self.hold(asking, Wait::Storage(reply, began, enforced));
        }
        let meter = Arc::clone(&asking.meter);
        let told = asking.meter.client.throttle.0.aside(Box::pin(async move {
            let answer = reply.await;
            let took = began.map(|began| began.elapsed());
            match answer.as_ref().map(|verdict| verdict.outcome().is_allowed()) {
                Ok(is_allowed) => {
                    meter.tell(if is_allowed { Seen::Allowed } else { Seen::WouldDeny }, took, None);
                }
                Err(failure) => meter.tell(Seen::Failed, took, Some(failure)),
            }
        }));
        match told {
            None => Next::Pass(asking.message),
            Some(told) => self.hold(asking, Wait::Beside(told)),
        }
    }

    /// Goes on with a message once what it waited for is there.
    pub(super) fn resume(
        &mut self,
        mut asking: Asking<S, M, T>,
        waited: Waited<S::Verdict>,
        context: &mut Context<'_>,
    ) -> Next<T, E> {
        match waited {
            Waited::Turn => pass(asking, Seen::Delayed),
            Waited::Beside => Next::Pass(asking.message),
            Waited::Again => {
                let began = asking.meter.begin();
                match asking.meter.check(asking.cost) {
                    Asked::Nothing => Next::Pass(asking.message),
                    Asked::Limit(Reply::Ready(Some(answer)), enforced) => {
                        self.resume(asking, Waited::Storage(answer, began, enforced), context)
                    }
                    Asked::Limit(pending, enforced) => self.await_storage(asking, pending, began, enforced),
                }
            }
            Waited::Refund(after, verdict) => {
                let outcome = Outcome::Deny { retry_after: after };
                self.deny(asking, &Denied { outcome, verdict: Some(&verdict), failure: None }, context)
            }
            Waited::Storage(answer, began, enforced) => {
                asking.took = began.map(|began| began.elapsed());
                match answer {
                    Ok(verdict) => self.settle(asking, verdict, enforced, context),
                    Err(_) if !enforced => pass(asking, Seen::Failed),
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
        match verdict.outcome() {
            Outcome::Allow { after } if after.is_zero() || !enforced => {
                let seen = if asking.waited.is_zero() { Seen::Allowed } else { Seen::Delayed };
                pass(asking, seen)
            }
            _ if !enforced => pass(asking, Seen::WouldDeny),
            Outcome::Allow { after } if self.has_time(&asking, after) => {
                let sleep = (self.policy.sleep)(after);
                self.hold(asking, Wait::Turn(sleep))
            }
            // Its turn is too far away: another one may have it.
            Outcome::Allow { after } => match asking.meter.refund(asking.cost, &verdict) {
                Asked::Limit(pending @ Reply::Pending(_), _) => {
                    self.hold(asking, Wait::Refund(pending, after, verdict))
                }
                _ => self.resume(asking, Waited::Refund(after, verdict), context),
            },
            outcome => {
                self.deny(asking, &Denied { outcome, verdict: Some(&verdict), failure: None }, context)
            }
        }
    }

    fn failed(&mut self, asking: Asking<S, M, T>, failure: Failure, context: &mut Context<'_>) -> Next<T, E> {
        match self.policy.on_error.remedy(&failure) {
            WsRemedy::Allow => {
                asking.meter.tell(Seen::Failed, asking.took, Some(&failure));
                Next::Pass(asking.message)
            }
            WsRemedy::Raise => {
                asking.meter.tell(Seen::Failed, asking.took, Some(&failure));
                Next::Raise(WsError::Storage(failure))
            }
            WsRemedy::Throttle => {
                let outcome = Outcome::Deny { retry_after: OUTAGE };
                self.deny(asking, &Denied { outcome, verdict: None, failure: Some(&failure) }, context)
            }
        }
    }

    fn deny(
        &mut self,
        asking: Asking<S, M, T>,
        denied: &Denied<'_, S::Verdict>,
        context: &mut Context<'_>,
    ) -> Next<T, E> {
        let policy = Arc::clone(&self.policy);
        let answer = match &policy.action {
            WsAction::Notice => WsAnswer::Notice,
            WsAction::Close => WsAnswer::close_for(denied.failure, &policy.close),
            WsAction::Delay(beyond) => WsAnswer::Delay(*beyond),
            WsAction::Raise => WsAnswer::Raise,
            WsAction::Ask(ask) => self.told(&asking, denied, |denial| ask(denial)),
        };
        let answer = match answer {
            WsAnswer::Delay(beyond) => match denied.outcome {
                Outcome::Deny { retry_after } if self.has_time(&asking, retry_after) => {
                    let sleep = (policy.sleep)(retry_after);
                    let waited = asking.waited.saturating_add(retry_after);
                    return self.hold(Asking { waited, ..asking }, Wait::Again(sleep));
                }
                _ if beyond == WsBeyond::Close => WsAnswer::close_for(denied.failure, &policy.close),
                _ => WsAnswer::Notice,
            },
            other => other,
        };
        let seen = if let WsAnswer::Pass = answer { Seen::WouldDeny } else { denied.seen() };
        asking.meter.tell(seen, asking.took, denied.failure);
        match answer {
            WsAnswer::Notice => self.notify(&asking, denied, context),
            WsAnswer::Reply(reply) => drop(self.reply(reply, context)),
            WsAnswer::Close(code, reason) => self.close(code, reason),
            WsAnswer::Pass => return Next::Pass(asking.message),
            WsAnswer::Raise => return Next::Raise(denied.raised(asking.meter.min_wait())),
            WsAnswer::Drop | WsAnswer::Delay(_) => {}
        }
        Next::Drop
    }

    /// Tells the peer that a message was dropped, unless it knows.
    fn notify(
        &mut self,
        asking: &Asking<S, M, T>,
        denied: &Denied<'_, S::Verdict>,
        context: &mut Context<'_>,
    ) {
        let now = (self.policy.now)();
        if self.replies.is_silent(now) {
            return;
        }
        let policy = Arc::clone(&self.policy);
        let notice = self.told(asking, denied, |denial| match &policy.notice {
            Some(notice) => notice(denial),
            None => T::text(denial.notice()),
        });
        if self.reply(notice, context) {
            let outcome = denied.told(asking.meter.min_wait());
            self.replies.silence(now, policy.notices.silence(outcome, denied.verdict));
        }
    }

    /// Asks `of` about a denial.
    fn told<R>(
        &self,
        asking: &Asking<S, M, T>,
        denied: &Denied<'_, S::Verdict>,
        of: impl FnOnce(&WsDenial<'_, T>) -> R,
    ) -> R {
        let throttle = &asking.meter.client.throttle;
        let limits = denied.verdict.map_or_else(Limits::new, |verdict| throttle.0.answers.limits(verdict));
        of(&WsDenial {
            message: &asking.message,
            throttle: throttle.uid(),
            outcome: denied.told(asking.meter.min_wait()),
            limits: &limits,
            client: asking.meter.client.key(),
            failure: denied.failure,
            told: self.replies.is_silent((self.policy.now)()),
            extras: &self.policy.extras,
        })
    }

    /// Whether a message may wait for so long.
    fn has_time(&mut self, asking: &Asking<S, M, T>, wait: Duration) -> bool {
        let left = self.patience.left((self.policy.now)());
        wait <= left && asking.waited.saturating_add(wait) <= self.policy.at_most
    }

    fn hold(&mut self, asked: Asking<S, M, T>, wait: Wait<S::Verdict>) -> Next<T, E> {
        self.held = Some(Box::new(Held { asked, wait }));
        Next::Wait
    }

    /// Begins to close the connection.
    fn close(&mut self, code: u16, mut reason: String) {
        // What is left of the 125 bytes of a control frame beside the code.
        reason.truncate(reason.floor_char_boundary(123));
        let deadline = (self.policy.sleep)(FAREWELL);
        self.closing = Some(Closing { message: Some(T::close(code, reason)), deadline });
    }
}

/// Passes a message on.
fn pass<S: Strategy, M: AsyncStorage<S> + 'static, T, E>(asking: Asking<S, M, T>, seen: Seen) -> Next<T, E> {
    asking.meter.tell(seen, asking.took, None);
    Next::Pass(asking.message)
}
