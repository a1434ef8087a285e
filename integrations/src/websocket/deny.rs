//! The answer to a denied message: notices, replies, closes and errors.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use traffik_core::storage::{AsyncStorage, BackendError};
use traffik_core::{Outcome, Strategy};

use super::action::close_for;
use super::hold::{MessageCheck, MessageWait, WaitReason};
use super::throttle::Closing;
use super::{WsAction, WsAnswer, WsDenial, WsError, WsMessage, WsThrottle};
use crate::evaluate::at_least;
use crate::http::headers::Policies;
use crate::observe::RequestOutcome;

/// The time that a peer has to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of a message.
pub(super) enum MessageOutcome<T, E> {
    /// The message passes.
    Pass(T),
    /// The message is dropped; the stream yields this error.
    Raise(WsError<E>),
    /// The message is dropped.
    Drop,
    /// The message is held.
    Wait,
}

/// A denial that is not answered yet.
pub(super) struct MessageDenial<'a, V> {
    pub(super) outcome: Outcome,
    pub(super) verdict: Option<&'a V>,
    pub(super) failure: Option<&'a BackendError>,
}

impl<V> MessageDenial<'_, V> {
    /// Returns the outcome to report to the peer, with the throttle's least wait.
    fn reported_outcome(&self, min_wait: Duration) -> Outcome {
        at_least(self.outcome, min_wait)
    }

    const fn seen(&self) -> RequestOutcome {
        match (self.failure, self.outcome) {
            (Some(_), _) => RequestOutcome::Failed,
            (None, Outcome::Never) => RequestOutcome::Never,
            _ => RequestOutcome::Denied,
        }
    }

    fn error<E>(&self, min_wait: Duration) -> WsError<E> {
        match self.failure {
            Some(failure) => WsError::Storage(failure.clone()),
            None => WsError::Throttled(self.reported_outcome(min_wait)),
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
    /// Acts on a denied message by the policy's action.
    pub(super) fn deny(
        &mut self,
        check: MessageCheck<S, M, T>,
        denied: &MessageDenial<'_, S::Verdict>,
        context: &mut Context<'_>,
    ) -> MessageOutcome<T, E> {
        // The policy is shared, so that its functions can run while `self` is borrowed mutably.
        let policy = Arc::clone(&self.policy);
        let answer = match &policy.action {
            WsAction::Notice => WsAnswer::Notice,
            WsAction::Close => WsAnswer::close_for(denied.failure, &policy.close),
            // The last notice is sent also to a peer that had one in this window: it explains the close.
            WsAction::NoticeThenClose => {
                let (code, reason) = close_for(denied.failure, &policy.close);
                WsAnswer::ReplyThenClose(self.notice(&check, denied), code, reason)
            }
            WsAction::Delay => WsAnswer::Delay,
            WsAction::DelayOrClose => WsAnswer::DelayOrClose,
            WsAction::Raise => WsAnswer::Raise,
            WsAction::Ask(ask) => self.with_denial(&check, denied, |denial| ask(denial)),
        };
        let answer = match answer {
            WsAnswer::Delay | WsAnswer::DelayOrClose => match denied.outcome {
                // Each retry checks anew, so `waited` adds up the waits, and `has_time` bounds their sum.
                Outcome::Deny { retry_after } if self.has_time(&check, retry_after) => {
                    let sleep = (policy.sleep)(retry_after);
                    let waited = check.waited.saturating_add(retry_after);
                    return self
                        .hold(MessageCheck { waited, ..check }, MessageWait::on(WaitReason::Retry, sleep));
                }
                _ => match answer {
                    WsAnswer::DelayOrClose => WsAnswer::close_for(denied.failure, &policy.close),
                    _ => WsAnswer::Notice,
                },
            },
            other => other,
        };
        // A denied message that the function passes is reported as with a limit that is not enforced.
        let seen = if let WsAnswer::Pass = answer { RequestOutcome::WouldDeny } else { denied.seen() };
        check.report(seen, denied.failure);
        match answer {
            WsAnswer::Notice => self.notify(&check, denied, context),
            WsAnswer::Reply(reply) => drop(self.reply(reply, context)),
            WsAnswer::Close(code, reason) => self.close(None, code, reason),
            WsAnswer::ReplyThenClose(reply, code, reason) => self.close(Some(reply), code, reason),
            WsAnswer::Pass => return MessageOutcome::Pass(check.message),
            WsAnswer::Raise => return MessageOutcome::Raise(denied.error(check.meter.min_wait())),
            WsAnswer::Drop | WsAnswer::Delay | WsAnswer::DelayOrClose => {}
        }
        MessageOutcome::Drop
    }

    /// Sends the peer a notice, unless it had one in this window.
    fn notify(
        &mut self,
        check: &MessageCheck<S, M, T>,
        denied: &MessageDenial<'_, S::Verdict>,
        context: &mut Context<'_>,
    ) {
        let now = (self.policy.now)();
        if self.replies.is_silent(now) {
            return;
        }
        let notice = self.notice(check, denied);
        // A notice that could not be sent does not silence the next one.
        if self.reply(notice, context) {
            let outcome = denied.reported_outcome(check.meter.min_wait());
            self.replies.silence(now, self.policy.notices.silence(outcome, denied.verdict));
        }
    }

    /// Returns the policy's notice of a denial.
    fn notice(&self, check: &MessageCheck<S, M, T>, denied: &MessageDenial<'_, S::Verdict>) -> T {
        self.with_denial(check, denied, |denial| match &self.policy.notice {
            Some(notice) => notice(denial),
            None => T::text(denial.notice()),
        })
    }

    /// Calls `of` with a denial.
    fn with_denial<R>(
        &self,
        check: &MessageCheck<S, M, T>,
        denied: &MessageDenial<'_, S::Verdict>,
        of: impl FnOnce(&WsDenial<'_, T>) -> R,
    ) -> R {
        let throttle = &check.meter.client.throttle;
        let limits =
            denied.verdict.map_or_else(Policies::new, |verdict| throttle.0.profile.answers.limits(verdict));
        of(&WsDenial {
            message: &check.message,
            throttle: throttle.uid(),
            outcome: denied.reported_outcome(check.meter.min_wait()),
            limits: &limits,
            client: check.meter.client.key(),
            failure: denied.failure,
            notified: self.replies.is_silent((self.policy.now)()),
            extras: &self.policy.extras,
        })
    }

    /// Begins to close the connection, after the message `last` if there is one.
    fn close(&mut self, last: Option<T>, code: u16, mut reason: String) {
        // A control frame has 125 bytes of payload (RFC 6455, section 5.5), of which the code takes 2.
        let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end));
        reason.truncate(end.unwrap_or(0));
        let deadline = (self.policy.sleep)(CLOSE_TIMEOUT);
        self.closing = Some(Closing { last, message: Some(T::close(code, reason)), deadline });
    }
}
