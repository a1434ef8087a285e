//! A message that waits.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, ErrorKind, Reply};
use traffik_core::{Origin, Strategy};

use super::WsErrorAction;
use super::meter::Meter;
use super::policy::Sleep;
use crate::evaluate::DelayedTurn;
use crate::observe::RequestOutcome;

/// A message that waits, and all that is known of it.
pub(super) struct Held<S: Strategy, M, T> {
    pub(super) asked: Asking<S, M, T>,
    pub(super) wait: Wait<S>,
    /// Until when at most, if nobody knows how long it takes.
    pub(super) until: Option<Until>,
}

/// A deadline, and when it was.
pub(super) struct Until {
    pub(super) end: Instant,
    pub(super) sleep: BoxFuture<'static, ()>,
}

impl<S: Strategy, M, T> Held<S, M, T> {
    /// What the storage answered, if it was waited for; nothing if time is over. A turn that is sooner than
    /// it was is slept for anew.
    pub(super) fn poll(&mut self, sleep: &Sleep, context: &mut Context<'_>) -> Poll<Answer<S::Verdict>> {
        if let For::Turn(turn) = &mut self.wait.for_what
            && turn.0.poll_sooner(context).is_ready()
        {
            self.wait.on = On::Other(sleep(turn.0.left()));
        }
        let answer = match &mut self.wait.on {
            On::Storage(reply) => Pin::new(reply).poll(context).map(Some),
            On::Other(future) => future.as_mut().poll(context).map(|()| None),
        };
        match &mut self.until {
            Some(until) if answer.is_pending() => until.sleep.as_mut().poll(context).map(|()| None),
            _ => answer,
        }
    }
}

/// The answer of a storage, if there is one.
pub(super) type Answer<V> = Option<Result<V, BackendError>>;

/// A message that is asked about.
pub(super) struct Asking<S: Strategy, M, T> {
    pub(super) message: T,
    /// For whom; it stays so if somebody else is counted for what comes after.
    pub(super) meter: Arc<Meter<S, M>>,
    pub(super) cost: S::Cost,
    /// For how long it has waited for its turn.
    pub(super) waited: Duration,
    /// How long the storage took.
    pub(super) took: Option<Duration>,
    /// Where what is decided comes from.
    pub(super) origin: Origin,
}

impl<S: Strategy, M: AsyncStorage<S> + 'static, T> Asking<S, M, T> {
    /// Tells what became of it.
    pub(super) fn tell(&self, result: RequestOutcome, failure: Option<&BackendError>) {
        self.meter.tell(result, self.took, failure, self.origin);
    }
}

/// A wait of a message: its purpose, and the future that ends it.
pub(super) struct Wait<S: Strategy> {
    pub(super) for_what: For<S>,
    on: On<S::Verdict>,
}

/// The purpose of a wait.
pub(super) enum For<S: Strategy> {
    /// For the storage; with when it was asked, if somebody wants to hear, and whether the limit is enforced.
    Storage(Option<Instant>, bool),
    /// For its turn, having been admitted with this verdict.
    Turn(Box<(DelayedTurn<S>, S::Verdict)>),
    /// For what only observers are told of, since nobody runs that in the background.
    Beside,
    /// For the time at which to ask again.
    Again,
    /// For a function that was asked about this failure, and leaves the remedy there.
    Remedy(BackendError, Arc<OnceLock<WsErrorAction>>),
    /// For the storage to take back an admission whose turn is too far away.
    Refund(Duration, S::Verdict),
}

enum On<V> {
    Storage(Reply<V>),
    Other(BoxFuture<'static, ()>),
}

impl<S: Strategy> Wait<S> {
    pub(super) const fn on_storage(for_what: For<S>, reply: Reply<S::Verdict>) -> Self {
        Self { for_what, on: On::Storage(reply) }
    }

    pub(super) const fn on(for_what: For<S>, future: BoxFuture<'static, ()>) -> Self {
        Self { for_what, on: On::Other(future) }
    }

    /// Whether only a store knows how long it takes.
    pub(super) const fn is_open_ended(&self) -> bool {
        matches!(self.for_what, For::Storage(..) | For::Beside | For::Refund(..) | For::Remedy(..))
    }
}

/// The failure of a storage that is waited for no longer.
pub(super) fn late() -> BackendError {
    BackendError::new(ErrorKind::Timeout, "the storage has not answered for as long as a message may wait")
}
