//! The decision on a message: checks the throttle, waits, and passes, drops or denies.

use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_sink::Sink;
use traffik_core::storage::{AsyncStorage, BackendError, Reply};
use traffik_core::{Origin, Outcome, Strategy, Verdict};

use super::client_meter::CheckReply;
use super::deny::{MessageDenial, MessageOutcome};
use super::hold::{
    HeldMessage, HoldDeadline, MessageCheck, MessageWait, StorageAnswer, WaitReason, timed_out,
};
use super::{WsError, WsErrorAction, WsMessage, WsThrottle};
use crate::evaluate::{DelayedTurn, Ruling};
use crate::http::on_error::OUTAGE_WAIT;
use crate::middleware::background::spawn_or_return;
use crate::observe::RequestOutcome;

impl<W, S, M, T, E> WsThrottle<W, S, M, T>
where
    W: Stream<Item = Result<T, E>> + Sink<T, Error = E> + Unpin,
    S: Strategy,
    M: AsyncStorage<S> + 'static,
    T: WsMessage,
{
    /// Decides on a data message.
    pub(super) fn decide(&mut self, message: T, context: &mut Context<'_>) -> MessageOutcome<T, E> {
        let Some(meter) = &self.meter else { return MessageOutcome::Pass(message) };
        let cost = self.policy.cost.as_ref().map_or_else(|| meter.cost(), |cost| cost(&message));
        let began = meter.profile().begin();
        let (reply, enforced) = match meter.check(cost) {
            CheckReply::Disabled => return MessageOutcome::Pass(message),
            CheckReply::Limit(reply, enforced) => (reply, enforced),
        };
        // The usual case needs no state: admitted at once, by a storage in this process, without an observer.
        if began.is_none()
            && let Reply::Ready(Some(Ok(verdict))) = &reply
            && matches!(verdict.outcome(), Outcome::Allow { after: Duration::ZERO })
        {
            return MessageOutcome::Pass(message);
        }
        let meter = Arc::clone(meter);
        let check =
            MessageCheck { message, meter, cost, waited: Duration::ZERO, took: None, origin: Origin::Store };
        match reply {
            Reply::Ready(Some(answer)) => {
                self.resume(check, WaitReason::Storage(began, enforced), Some(answer), context)
            }
            pending => self.await_storage(check, pending, began, enforced),
        }
    }

    /// Waits for a remote storage. If the throttle is not enforced and has a spawner, the wait is in the
    /// background and the message passes.
    fn await_storage(
        &mut self,
        check: MessageCheck<S, M, T>,
        reply: Reply<S::Verdict>,
        began: Option<Instant>,
        enforced: bool,
    ) -> MessageOutcome<T, E> {
        if enforced {
            return self.hold(check, MessageWait::on_storage(WaitReason::Storage(began, enforced), reply));
        }
        // A throttle in shadow mode delays no message: only its observer needs the answer.
        let meter = Arc::clone(&check.meter);
        let report = spawn_or_return(check.meter.profile().spawner.as_ref(), async move {
            let answer = reply.await;
            let took = began.map(|began| began.elapsed());
            let seen = answer.as_ref().map_or(RequestOutcome::Failed, |verdict| {
                let outcome = verdict.outcome();
                Ruling::<()>::Pass.seen(outcome)
            });
            meter.report(seen, took, answer.as_ref().err(), Origin::Shadow);
        });
        match report {
            None => MessageOutcome::Pass(check.message),
            Some(report) => self.hold(check, MessageWait::on(WaitReason::Observer, report)),
        }
    }

    /// Continues with a message whose wait has ended.
    pub(super) fn resume(
        &mut self,
        mut check: MessageCheck<S, M, T>,
        waited: WaitReason<S>,
        answer: StorageAnswer<S::Verdict>,
        context: &mut Context<'_>,
    ) -> MessageOutcome<T, E> {
        match waited {
            // Leaving the queue lets the waiter behind move up.
            WaitReason::Turn(turn) => {
                let (turn, mut verdict) = *turn;
                turn.leave(&mut verdict);
                pass(check, RequestOutcome::Delayed)
            }
            WaitReason::Observer => MessageOutcome::Pass(check.message),
            WaitReason::Retry => {
                let began = check.meter.profile().begin();
                match check.meter.check(check.cost) {
                    CheckReply::Disabled => MessageOutcome::Pass(check.message),
                    CheckReply::Limit(Reply::Ready(Some(answer)), enforced) => {
                        self.resume(check, WaitReason::Storage(began, enforced), Some(answer), context)
                    }
                    CheckReply::Limit(pending, enforced) => {
                        self.await_storage(check, pending, began, enforced)
                    }
                }
            }
            WaitReason::ErrorAction(failure, remedy) => {
                let remedy = remedy.get().copied().unwrap_or(WsErrorAction::Throttle);
                self.apply_error_action(check, failure, remedy, context)
            }
            // The charge is gone, so the message is denied for the delay that its turn would have had.
            WaitReason::Refund(after, verdict) => {
                let outcome = Outcome::Deny { retry_after: after };
                self.deny(check, &MessageDenial { outcome, verdict: Some(&verdict), failure: None }, context)
            }
            WaitReason::Storage(began, enforced) => {
                // `None` means that the deadline passed before the storage answered.
                let answer = answer.unwrap_or_else(|| Err(timed_out()));
                check.took = began.map(|began| began.elapsed());
                check.origin = match &answer {
                    _ if !enforced => Origin::Shadow,
                    Ok(verdict) => verdict.origin(),
                    Err(_) => Origin::DegradedClosed,
                };
                match answer {
                    Ok(verdict) => self.settle(check, verdict, enforced, context),
                    Err(_) if !enforced => pass(check, RequestOutcome::Failed),
                    Err(failure) => self.failed(check, failure, context),
                }
            }
        }
    }

    /// Acts on the verdict of the storage.
    fn settle(
        &mut self,
        check: MessageCheck<S, M, T>,
        verdict: S::Verdict,
        enforced: bool,
        context: &mut Context<'_>,
    ) -> MessageOutcome<T, E> {
        let outcome = verdict.outcome();
        let mut turn = None;
        if enforced && matches!(outcome, Outcome::Allow { after } if !after.is_zero()) {
            let (clock, start) = (Arc::clone(&self.policy.now), (self.policy.now)());
            let watch = Box::new(move || clock().saturating_duration_since(start));
            let account = Arc::clone(&check.meter);
            turn = DelayedTurn::enter(account, check.meter.hit(check.cost), &verdict, watch);
        }
        // The delay is kept for the denial, since `Ruling::of` may take the turn.
        let after = turn.as_ref().map_or(Duration::ZERO, DelayedTurn::left);
        let wait = |_| turn.take_if(|turn| self.has_time(&check, turn.left()));
        match Ruling::of(outcome, enforced, wait) {
            Ruling::Pass if outcome.is_allowed() && !check.waited.is_zero() => {
                pass(check, RequestOutcome::Delayed)
            }
            Ruling::Pass => pass(check, Ruling::<()>::Pass.seen(outcome)),
            Ruling::Wait(turn) => {
                let sleep = (self.policy.sleep)(turn.left());
                self.hold(check, MessageWait::on(WaitReason::Turn(Box::new((turn, verdict))), sleep))
            }
            // The turn is too far away: the charge is refunded, so that another message can have it.
            Ruling::TurnAway(_) => match turn.and_then(DelayedTurn::give_up) {
                Some(refund) => self.hold(check, MessageWait::on(WaitReason::Refund(after, verdict), refund)),
                None => self.resume(check, WaitReason::Refund(after, verdict), None, context),
            },
            Ruling::Deny => {
                self.deny(check, &MessageDenial { outcome, verdict: Some(&verdict), failure: None }, context)
            }
        }
    }

    /// Finds the action for a failure, and waits for it if a function of the policy decides.
    fn failed(
        &mut self,
        check: MessageCheck<S, M, T>,
        failure: BackendError,
        context: &mut Context<'_>,
    ) -> MessageOutcome<T, E> {
        let remedy: Reply<WsErrorAction> = match &self.policy.on_error {
            Some(own) => own.remedy(|ask| ask(&failure)),
            None => check.meter.profile().on_error.remedy(|_| Reply::ready(Ok(WsErrorAction::Throttle))),
        };
        match remedy {
            Reply::Ready(Some(Ok(remedy))) => self.apply_error_action(check, failure, remedy, context),
            remedy => {
                // The cell carries the action out of the future. It stays empty if the deadline passes first:
                // then `Throttle` is the action.
                let answered = Arc::new(OnceLock::new());
                let answer = Arc::clone(&answered);
                let answered_later = Box::pin(async move {
                    let _ = answer.set(remedy.await.unwrap_or(WsErrorAction::Throttle));
                });
                self.hold(check, MessageWait::on(WaitReason::ErrorAction(failure, answered), answered_later))
            }
        }
    }

    /// Applies the action for a failure.
    fn apply_error_action(
        &mut self,
        mut check: MessageCheck<S, M, T>,
        failure: BackendError,
        remedy: WsErrorAction,
        context: &mut Context<'_>,
    ) -> MessageOutcome<T, E> {
        let wait = match remedy {
            WsErrorAction::Allow => {
                check.origin = Origin::DegradedOpen;
                check.report(RequestOutcome::Failed, Some(&failure));
                return MessageOutcome::Pass(check.message);
            }
            WsErrorAction::Raise => {
                check.report(RequestOutcome::Failed, Some(&failure));
                return MessageOutcome::Raise(WsError::Storage(failure));
            }
            WsErrorAction::Throttle => OUTAGE_WAIT,
            WsErrorAction::ThrottleFor(wait) => wait,
            WsErrorAction::Answer(never) => match never {},
        };
        let outcome = Outcome::Deny { retry_after: wait };
        self.deny(check, &MessageDenial { outcome, verdict: None, failure: Some(&failure) }, context)
    }

    /// Reports whether a message may wait for this long: `wait <= left` and `waited + wait <= max_delay`.
    pub(super) fn has_time(&mut self, check: &MessageCheck<S, M, T>, wait: Duration) -> bool {
        let left = self.patience.left((self.policy.now)());
        wait <= left && check.waited.saturating_add(wait) <= self.policy.max_delay
    }

    /// Holds a message.
    pub(super) fn hold(
        &mut self,
        check: MessageCheck<S, M, T>,
        wait: MessageWait<S>,
    ) -> MessageOutcome<T, E> {
        // A sleep ends at a known time, which `has_time` has checked; only the others need a deadline.
        let left = self.policy.max_delay.saturating_sub(check.waited);
        let until = if wait.is_unbounded() { self.deadline_in(left) } else { None };
        self.held = Some(Box::new(HeldMessage { check, wait, until }));
        if self.next.is_some() {
            self.stop_reading();
        }
        MessageOutcome::Wait
    }

    /// Pauses reading until the held message is done, and brings its deadline forward to what is left of the
    /// pause.
    pub(super) fn stop_reading(&mut self) {
        let now = (self.policy.now)();
        self.patience.stop(true, now);
        let left = self.patience.left(now);
        let sooner = |until: &HoldDeadline| until.end.saturating_duration_since(now) > left;
        if self.held.as_ref().and_then(|held| held.until.as_ref()).is_some_and(sooner) {
            let until = self.deadline_in(left);
            if let Some(held) = &mut self.held {
                held.until = until;
            }
        }
    }

    /// Returns the deadline after `wait`; `None` if the clock cannot represent it.
    fn deadline_in(&self, wait: Duration) -> Option<HoldDeadline> {
        let end = (self.policy.now)().checked_add(wait)?;
        Some(HoldDeadline { end, sleep: (self.policy.sleep)(wait) })
    }
}

/// Passes a message on, and reports it.
fn pass<S: Strategy, M: AsyncStorage<S> + 'static, T, E>(
    check: MessageCheck<S, M, T>,
    seen: RequestOutcome,
) -> MessageOutcome<T, E> {
    check.report(seen, None);
    MessageOutcome::Pass(check.message)
}
