//! A message that waits: for the storage, for its turn or for a function of the policy.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, ErrorKind, Reply};
use traffik_core::{Origin, Strategy};

use super::WsErrorAction;
use super::client_meter::ClientMeter;
use super::policy::SleepFn;
use crate::evaluate::DelayedTurn;
use crate::observe::RequestOutcome;

/// A message that waits.
pub(super) struct HeldMessage<S: Strategy, M, T> {
    pub(super) check: MessageCheck<S, M, T>,
    pub(super) wait: MessageWait<S>,
    /// The deadline, for a wait of unknown length.
    pub(super) until: Option<HoldDeadline>,
}

/// A deadline, as a time and as a sleep until then.
pub(super) struct HoldDeadline {
    pub(super) end: Instant,
    pub(super) sleep: BoxFuture<'static, ()>,
}

impl<S: Strategy, M, T> HeldMessage<S, M, T> {
    /// Polls the wait. Returns the storage's answer if the wait was for one; `None` for any other wait, and
    /// if the deadline has passed. Sleeps anew for a turn that has moved up.
    pub(super) fn poll(
        &mut self,
        sleep: &SleepFn,
        context: &mut Context<'_>,
    ) -> Poll<StorageAnswer<S::Verdict>> {
        // A waiter in front may have given up: the sleep was set for the old turn.
        if let WaitReason::Turn(turn) = &mut self.wait.reason
            && turn.0.poll_sooner(context).is_ready()
        {
            // The new sleep is polled below, and so registers the waker.
            self.wait.on = WaitFuture::Other(sleep(turn.0.left()));
        }
        let answer = match &mut self.wait.on {
            WaitFuture::Storage(reply) => Pin::new(reply).poll(context).map(Some),
            WaitFuture::Other(future) => future.as_mut().poll(context).map(|()| None),
        };
        // The answer is polled first: one that is there in time counts, also at the deadline.
        match &mut self.until {
            Some(until) if answer.is_pending() => until.sleep.as_mut().poll(context).map(|()| None),
            _ => answer,
        }
    }
}

/// The answer of a storage, if the wait was for one.
pub(super) type StorageAnswer<V> = Option<Result<V, BackendError>>;

/// A message that is being checked.
pub(super) struct MessageCheck<S: Strategy, M, T> {
    pub(super) message: T,
    /// The client that the message is counted for; `set_client` changes only later messages.
    pub(super) meter: Arc<ClientMeter<S, M>>,
    pub(super) cost: S::Cost,
    /// The time that the message has waited for its turn.
    pub(super) waited: Duration,
    /// The time that the storage took.
    pub(super) took: Option<Duration>,
    /// The origin of the decision.
    pub(super) origin: Origin,
}

impl<S: Strategy, M: AsyncStorage<S> + 'static, T> MessageCheck<S, M, T> {
    /// Reports the outcome of the message to the observers.
    pub(super) fn report(&self, result: RequestOutcome, failure: Option<&BackendError>) {
        self.meter.report(result, self.took, failure, self.origin);
    }
}

/// A wait of a message: its purpose, and the future that ends it.
pub(super) struct MessageWait<S: Strategy> {
    pub(super) reason: WaitReason<S>,
    on: WaitFuture<S::Verdict>,
}

/// The purpose of a wait.
pub(super) enum WaitReason<S: Strategy> {
    /// The answer of the storage. Has the start of the check, if observers want its duration, and whether the
    /// limit is enforced.
    Storage(Option<Instant>, bool),
    /// The turn of a message that was admitted with this verdict.
    Turn(Box<(DelayedTurn<S>, S::Verdict)>),
    /// The report to observers, which no spawner runs in the background.
    Observer,
    /// The time at which to check again.
    Retry,
    /// The answer of the policy's function about this failure, and the cell for it.
    ErrorAction(BackendError, Arc<OnceLock<WsErrorAction>>),
    /// The refund of an admission whose turn is too far away.
    Refund(Duration, S::Verdict),
}

/// The future that ends a wait.
enum WaitFuture<V> {
    Storage(Reply<V>),
    Other(BoxFuture<'static, ()>),
}

impl<S: Strategy> MessageWait<S> {
    pub(super) const fn on_storage(reason: WaitReason<S>, reply: Reply<S::Verdict>) -> Self {
        Self { reason, on: WaitFuture::Storage(reply) }
    }

    pub(super) const fn on(reason: WaitReason<S>, future: BoxFuture<'static, ()>) -> Self {
        Self { reason, on: WaitFuture::Other(future) }
    }

    /// Reports whether the length of the wait is unknown, so that a deadline has to bound it.
    pub(super) const fn is_unbounded(&self) -> bool {
        // A turn and a retry are sleeps, whose length was checked against `max_delay` when they began.
        matches!(
            self.reason,
            WaitReason::Storage(..)
                | WaitReason::Observer
                | WaitReason::Refund(..)
                | WaitReason::ErrorAction(..)
        )
    }
}

/// Returns the failure of a storage that has not answered by the deadline.
pub(super) fn timed_out() -> BackendError {
    BackendError::new(
        ErrorKind::Timeout,
        "the storage did not answer within the time that a message may wait",
    )
}
