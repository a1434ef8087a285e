//! A message that waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use traffik_core::storage::{AsyncStorage, BoxFuture, ErrorKind, Failure, Reply};
use traffik_core::{Origin, Strategy};

use super::meter::Meter;
use crate::observe::Seen;

/// A message that waits, and all that is known of it.
pub(super) struct Held<S: Strategy, M, T> {
    pub(super) asked: Asking<S, M, T>,
    pub(super) wait: Wait<S::Verdict>,
    /// Until when at most, if nobody knows how long it takes.
    pub(super) until: Option<Until>,
}

/// A deadline, and when it was.
pub(super) struct Until {
    pub(super) end: Instant,
    pub(super) sleep: BoxFuture<'static, ()>,
}

impl<S: Strategy, M, T> Held<S, M, T> {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Waited<S::Verdict>> {
        let waited = self.wait.poll(context);
        match &mut self.until {
            Some(until) if waited.is_pending() => {
                until.sleep.as_mut().poll(context).map(|()| self.wait.given_up())
            }
            _ => waited,
        }
    }
}

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
    pub(super) fn tell(&self, result: Seen, failure: Option<&Failure>) {
        self.meter.tell(result, self.took, failure, self.origin);
    }
}

/// What it waits for.
pub(super) enum Wait<V> {
    /// For the storage; with when it was asked, if somebody wants to hear, and whether the limit is enforced.
    Storage(Reply<V>, Option<Instant>, bool),
    /// For its turn, having been admitted.
    Turn(BoxFuture<'static, ()>),
    /// For what only observers are told of, since nobody runs that in the background.
    Beside(BoxFuture<'static, ()>),
    /// For the time at which to ask again.
    Again(BoxFuture<'static, ()>),
    /// For the storage to take back an admission whose turn is too far away.
    Refund(Reply<V>, Duration, V),
}

/// What it has waited for.
pub(super) enum Waited<V> {
    Storage(Result<V, Failure>, Option<Instant>, bool),
    Turn,
    Beside,
    Again,
    Refund(Duration, V),
}

impl<V: Clone> Wait<V> {
    /// Whether only a store knows how long it takes.
    pub(super) const fn is_open_ended(&self) -> bool {
        matches!(self, Self::Storage(..) | Self::Beside(_) | Self::Refund(..))
    }

    /// What follows if it is waited for no longer.
    fn given_up(&self) -> Waited<V> {
        match self {
            Self::Storage(_, began, enforced) => {
                let late = "the storage has not answered for as long as a message may wait";
                Waited::Storage(Err(Failure::new(ErrorKind::Timeout, late)), *began, *enforced)
            }
            Self::Turn(_) => Waited::Turn,
            Self::Beside(_) => Waited::Beside,
            Self::Again(_) => Waited::Again,
            Self::Refund(_, after, verdict) => Waited::Refund(*after, verdict.clone()),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Waited<V>> {
        Poll::Ready(match self {
            Self::Storage(reply, began, enforced) => {
                Waited::Storage(ready!(Pin::new(reply).poll(context)), *began, *enforced)
            }
            Self::Turn(sleep) => {
                ready!(sleep.as_mut().poll(context));
                Waited::Turn
            }
            Self::Beside(future) => {
                ready!(future.as_mut().poll(context));
                Waited::Beside
            }
            Self::Again(sleep) => {
                ready!(sleep.as_mut().poll(context));
                Waited::Again
            }
            Self::Refund(reply, after, verdict) => {
                // What it answers, or that it cannot, changes nothing for this message.
                drop(ready!(Pin::new(reply).poll(context)));
                Waited::Refund(*after, verdict.clone())
            }
        })
    }
}
