//! From a denial to what the peer and the reader see of it.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use traffik_core::storage::{AsyncStorage, BackendError};
use traffik_core::{Outcome, Strategy};

use super::action::close_for;
use super::hold::{Asking, For, Wait};
use super::throttle::Closing;
use super::{WsAction, WsAnswer, WsDenial, WsError, WsMessage, WsThrottle};
use crate::evaluate::at_least;
use crate::http::headers::Policies;
use crate::observe::RequestOutcome;

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
pub(super) struct Denied<'a, V> {
    pub(super) outcome: Outcome,
    pub(super) verdict: Option<&'a V>,
    pub(super) failure: Option<&'a BackendError>,
}

impl<V> Denied<'_, V> {
    /// What is told of it.
    fn told(&self, min_wait: Duration) -> Outcome {
        at_least(self.outcome, min_wait)
    }

    const fn seen(&self) -> RequestOutcome {
        match (self.failure, self.outcome) {
            (Some(_), _) => RequestOutcome::Failed,
            (None, Outcome::Never) => RequestOutcome::Never,
            _ => RequestOutcome::Denied,
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
    /// Does with a message that is denied what the policy says.
    pub(super) fn deny(
        &mut self,
        asking: Asking<S, M, T>,
        denied: &Denied<'_, S::Verdict>,
        context: &mut Context<'_>,
    ) -> Next<T, E> {
        let policy = Arc::clone(&self.policy);
        let answer = match &policy.action {
            WsAction::Notice => WsAnswer::Notice,
            WsAction::Close => WsAnswer::close_for(denied.failure, &policy.close),
            WsAction::NoticeThenClose => {
                let (code, reason) = close_for(denied.failure, &policy.close);
                WsAnswer::ReplyThenClose(self.notice(&asking, denied), code, reason)
            }
            WsAction::Delay => WsAnswer::Delay,
            WsAction::DelayOrClose => WsAnswer::DelayOrClose,
            WsAction::Raise => WsAnswer::Raise,
            WsAction::Ask(ask) => self.told(&asking, denied, |denial| ask(denial)),
        };
        let answer = match answer {
            WsAnswer::Delay | WsAnswer::DelayOrClose => match denied.outcome {
                Outcome::Deny { retry_after } if self.has_time(&asking, retry_after) => {
                    let sleep = (policy.sleep)(retry_after);
                    let waited = asking.waited.saturating_add(retry_after);
                    return self.hold(Asking { waited, ..asking }, Wait::on(For::Again, sleep));
                }
                _ => match answer {
                    WsAnswer::DelayOrClose => WsAnswer::close_for(denied.failure, &policy.close),
                    _ => WsAnswer::Notice,
                },
            },
            other => other,
        };
        let seen = if let WsAnswer::Pass = answer { RequestOutcome::WouldDeny } else { denied.seen() };
        asking.tell(seen, denied.failure);
        match answer {
            WsAnswer::Notice => self.notify(&asking, denied, context),
            WsAnswer::Reply(reply) => drop(self.reply(reply, context)),
            WsAnswer::Close(code, reason) => self.close(None, code, reason),
            WsAnswer::ReplyThenClose(reply, code, reason) => self.close(Some(reply), code, reason),
            WsAnswer::Pass => return Next::Pass(asking.message),
            WsAnswer::Raise => return Next::Raise(denied.raised(asking.meter.min_wait())),
            WsAnswer::Drop | WsAnswer::Delay | WsAnswer::DelayOrClose => {}
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
        let notice = self.notice(asking, denied);
        if self.reply(notice, context) {
            let outcome = denied.told(asking.meter.min_wait());
            self.replies.silence(now, self.policy.notices.silence(outcome, denied.verdict));
        }
    }

    /// The policy's notice of a denial.
    fn notice(&self, asking: &Asking<S, M, T>, denied: &Denied<'_, S::Verdict>) -> T {
        self.told(asking, denied, |denial| match &self.policy.notice {
            Some(notice) => notice(denial),
            None => T::text(denial.notice()),
        })
    }

    /// Asks `of` about a denial.
    fn told<R>(
        &self,
        asking: &Asking<S, M, T>,
        denied: &Denied<'_, S::Verdict>,
        of: impl FnOnce(&WsDenial<'_, T>) -> R,
    ) -> R {
        let throttle = &asking.meter.client.throttle;
        let limits =
            denied.verdict.map_or_else(Policies::new, |verdict| throttle.0.profile.answers.limits(verdict));
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

    /// Begins to close the connection, after a last word if there is one.
    fn close(&mut self, last: Option<T>, code: u16, mut reason: String) {
        // What is left of the 125 bytes of a control frame beside the code.
        let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end));
        reason.truncate(end.unwrap_or(0));
        let deadline = (self.policy.sleep)(FAREWELL);
        self.closing = Some(Closing { last, message: Some(T::close(code, reason)), deadline });
    }
}
