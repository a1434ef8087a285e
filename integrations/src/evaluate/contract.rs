//! Types that the evaluations of one throttle, of several throttles and of a message share.

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, HeaderMap, Response};
use traffik_core::storage::{BackendError, BoxFuture};
use traffik_core::{Origin, Outcome};

use crate::http::headers::{HeaderFormat, Policies};
use crate::http::request::{Refusal, RequestParts};
use crate::identify::ClientKey;
use crate::middleware::admission::Completion;
use crate::observe::RequestOutcome;
use crate::throttle::{DelayTimer, Profile};

/// The action that follows from an outcome.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ruling<W> {
    /// Passes at once: the outcome is an admission, or the limit is not enforced.
    Pass,
    /// Passes after this wait.
    Wait(W),
    /// Denies for this long: the limit admits with a delay for which the request cannot wait. The charge is
    /// refunded.
    TurnAway(Duration),
    /// Denies.
    Deny,
}

impl<W> Ruling<W> {
    /// Rules on an outcome. `wait` makes the wait for a turn, and returns `None` where that is impossible.
    #[inline(always)]
    pub(crate) fn of(outcome: Outcome, enforced: bool, wait: impl FnOnce(Duration) -> Option<W>) -> Self {
        // Without enforcement the request passes and never waits, whatever the outcome is.
        match outcome {
            _ if !enforced => Self::Pass,
            Outcome::Allow { after } if after.is_zero() => Self::Pass,
            // An admission with a delay that cannot be waited for becomes a denial, and its charge is
            // refunded.
            Outcome::Allow { after } => wait(after).map_or(Self::TurnAway(after), Self::Wait),
            Outcome::Deny { .. } | Outcome::Never => Self::Deny,
        }
    }

    /// Returns the outcome that observers receive.
    pub(crate) const fn seen(&self, outcome: Outcome) -> RequestOutcome {
        match (self, outcome) {
            (Self::Pass, Outcome::Allow { .. }) => RequestOutcome::Allowed,
            // Only an unenforced limit passes what it denies.
            (Self::Pass, _) => RequestOutcome::WouldDeny,
            (Self::Wait(_), _) => RequestOutcome::Delayed,
            (_, Outcome::Never) => RequestOutcome::Never,
            _ => RequestOutcome::Denied,
        }
    }
}

/// Turns an outcome into a denial that lasts at least `min_wait`.
pub(crate) fn at_least(outcome: Outcome, min_wait: Duration) -> Outcome {
    match outcome {
        Outcome::Deny { retry_after: wait } | Outcome::Allow { after: wait } => {
            // retry_after = max(wait, min_wait)
            Outcome::Deny { retry_after: wait.max(min_wait) }
        }
        Outcome::Never => Outcome::Never,
    }
}

/// An operation of an evaluation on a throttle's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Decides without charging.
    Peek,
    /// Decides, and charges if it admits.
    Check,
    /// Refunds the charge, and returns the figures after that.
    Refund,
    /// Reads the current figures, as if the request cost nothing.
    Status,
}

/// One throttle, of any type, in the evaluation of one request, with its last verdict.
pub(crate) trait EvaluationPart: Any + Send {
    fn profile(&self) -> &Profile;
    /// Returns the position of the part among those that the caller gave.
    fn order(&self) -> usize;
    fn is_local(&self) -> bool;
    fn is_enforced(&self) -> bool;
    /// Returns the function that handles a failure of the storage.
    fn failing(&self) -> Failing;

    /// Reports whether the storage knows of a denial without a call, and keeps that verdict.
    fn is_denied_already(&mut self) -> bool;
    /// Starts an operation of the storage.
    fn ask(&mut self, ask: Question);
    /// Reports whether the storage answered at once.
    fn is_answered(&self) -> bool;
    /// Polls the operation under way and keeps its verdict. Ready at once if none is under way.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BackendError>>;
    /// Reports whether the request is charged, without a refund so far.
    fn is_charged(&self) -> bool;
    /// Starts to refund the charge, if there is one, and keeps the last verdict. Returns the future to
    /// await if no spawner runs it.
    fn give_back(&mut self) -> Option<BoxFuture<'static, ()>>;
    /// Returns the last outcome.
    fn outcome(&self) -> Option<Outcome>;
    /// Returns the least wait that a denial reports.
    fn min_wait(&self) -> Duration;

    /// Enters the queue of delayed requests, if the admission has a delay.
    fn stand_in_line(&mut self, timer: &DelayTimer);
    /// Returns the time left until the turn.
    fn delay(&self) -> Duration;
    /// Polls for a sooner turn.
    fn poll_sooner(&mut self, context: &mut Context<'_>) -> Poll<()>;
    /// Leaves the queue when the turn has come. A part that is dropped or refunded earlier gives up its turn.
    fn take_turn(&mut self);

    /// Returns the facts that answers and headers show.
    fn disclosure(&self) -> Disclosure<'_>;

    /// Reports the verdict to observers; `can_wait` says whether a delay is waited for. With a failure,
    /// reports that instead, for a throttle that does not choose the reaction.
    fn report(&self, failure: Option<&BackendError>, can_wait: bool);
    /// Writes the identity and the status of the client into the request's extensions.
    fn mark(&mut self, extensions: &mut Extensions);
    /// Settles charges that depend on the response.
    fn close(self: Box<Self>, response: &Parts) -> Completion;
}

/// The facts about a throttle that answers and headers show.
pub(crate) struct Disclosure<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) client: &'a ClientKey,
    /// The last decisions of its limits, with their names.
    pub(crate) limits: Policies<'a>,
}

/// The result of an evaluation.
pub(crate) enum Evaluation {
    /// All throttles admit; the request waits for its turn if there is a delay.
    Admitted {
        parts: Vec<Box<dyn EvaluationPart>>,
        timer: Option<Arc<DelayTimer>>,
        beside: Option<BoxFuture<'static, ()>>,
    },
    /// A throttle denies, and the charges of the others are refunded.
    Denied { parts: Vec<Box<dyn EvaluationPart>>, first: usize, outcome: Outcome },
    /// A function of the request refuses it.
    Refused(Refusal),
    /// Some throttles have failed, and the charges of the others are refunded.
    Failed { failed: Vec<(Failing, BackendError)>, others: Vec<Box<dyn EvaluationPart>> },
}

/// The reaction of a throttle to a failure. Without a request it only reports the failure to observers.
pub(crate) type Failing = Box<dyn FnOnce(Option<RequestParts<'_>>, &BackendError) -> ErrorOutcome + Send>;

/// The outcome of a request on which a throttle could not decide.
pub(crate) enum ErrorOutcome {
    Passes(NotDecided),
    Answered(Response<Bytes>),
    /// An asynchronous `OnError` function is running; the future returns one of the variants above.
    Later(BoxFuture<'static, ErrorOutcome>),
}

impl ErrorOutcome {
    /// Waits for the outcome.
    pub(crate) async fn get(self) -> Self {
        match self {
            Self::Later(outcome) => outcome.await,
            known => known,
        }
    }
}

/// The reason why a throttle let a request pass without a decision, and the format of its headers.
#[derive(Clone, Copy)]
pub(crate) struct NotDecided {
    pub(crate) format: HeaderFormat,
    pub(crate) origin: Origin,
}

impl NotDecided {
    /// Returns the one of two reasons that matters more to a client.
    pub(crate) fn or(self, other: Option<Self>) -> Self {
        // Origins that headers show weigh more than others; then the order of `Origin` decides, the worst
        // last.
        let weight = |it: &Self| {
            let is_shown = !matches!(it.origin, Origin::Bypassed | Origin::Disabled | Origin::Shadow);
            (is_shown, it.origin)
        };
        other.filter(|other| weight(other) > weight(&self)).unwrap_or(self)
    }

    /// Writes the origin header: degraded origins always, others only if no throttle decided.
    pub(crate) fn write(self, is_decided: bool, headers: &mut HeaderMap) {
        if self.origin >= Origin::DegradedOpen || !is_decided {
            self.format.write_origin(self.origin, headers);
        }
    }
}
