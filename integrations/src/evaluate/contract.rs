//! What the evaluation of one throttle, of several, and of a message have in common: what follows from an
//! outcome, who is asked, and what comes of it.

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

/// The consequence of an outcome.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ruling<W> {
    /// It passes at once: it is admitted, or the limit is not enforced for it.
    Pass,
    /// It passes after this wait.
    Wait(W),
    /// It is admitted, but has nothing to wait on: the admission is refunded, and it is denied for so long.
    TurnAway(Duration),
    /// It is denied.
    Deny,
}

impl<W> Ruling<W> {
    /// Rules on an outcome; `wait` makes the wait for a turn, where that is possible.
    #[inline(always)]
    pub(crate) fn of(outcome: Outcome, enforced: bool, wait: impl FnOnce(Duration) -> Option<W>) -> Self {
        match outcome {
            _ if !enforced => Self::Pass,
            Outcome::Allow { after } if after.is_zero() => Self::Pass,
            Outcome::Allow { after } => wait(after).map_or(Self::TurnAway(after), Self::Wait),
            Outcome::Deny { .. } | Outcome::Never => Self::Deny,
        }
    }

    /// The word for it.
    pub(crate) const fn seen(&self, outcome: Outcome) -> RequestOutcome {
        match (self, outcome) {
            (Self::Pass, Outcome::Allow { .. }) => RequestOutcome::Allowed,
            (Self::Pass, _) => RequestOutcome::WouldDeny,
            (Self::Wait(_), _) => RequestOutcome::Delayed,
            (_, Outcome::Never) => RequestOutcome::Never,
            _ => RequestOutcome::Denied,
        }
    }
}

/// A denial with a wait of at least this.
pub(crate) fn at_least(outcome: Outcome, min_wait: Duration) -> Outcome {
    match outcome {
        Outcome::Deny { retry_after: wait } | Outcome::Allow { after: wait } => {
            Outcome::Deny { retry_after: wait.max(min_wait) }
        }
        Outcome::Never => Outcome::Never,
    }
}

/// A question to the storage of a throttle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Decides without charging.
    Peek,
    /// Decides, and charges if it admits.
    Check,
    /// To give back what it charged; and what there is then.
    Refund,
    /// Reads the figures without the request.
    Rest,
}

/// One throttle that is asked about one request, of whatever type, and what it says.
pub(crate) trait EvaluationPart: Any + Send {
    fn profile(&self) -> &Profile;
    fn is_local(&self) -> bool;
    fn is_enforced(&self) -> bool;
    /// Returns the consequence of a failure of the storage.
    fn failing(&self) -> Failing;

    /// Whether it is known without asking the storage that it denies; noted as what it said.
    fn is_denied_already(&mut self) -> bool;
    /// Begins to ask the storage.
    fn ask(&mut self, ask: Question);
    /// Whether the storage answered at once.
    fn is_answered(&self) -> bool;
    /// The answer to what was asked; noted as what it said. Ready if nothing was.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BackendError>>;
    /// Whether it was charged, and nothing given back.
    fn is_charged(&self) -> bool;
    /// Begins to give back what was charged, if something was; what it said stays. Gives what is to be
    /// awaited for it, if nothing runs it in the background.
    fn give_back(&mut self) -> Option<BoxFuture<'static, ()>>;
    /// Returns its last outcome.
    fn outcome(&self) -> Option<Outcome>;
    /// The least wait that a denial reports.
    fn min_wait(&self) -> Duration;

    /// Enters the line of those who wait for their turn, if it was admitted with a delay.
    fn stand_in_line(&mut self, pause: &DelayTimer);
    /// Returns how long it waits for its turn from now on.
    fn delay(&self) -> Duration;
    /// Waits until it moves to a sooner turn.
    fn poll_sooner(&mut self, context: &mut Context<'_>) -> Poll<()>;
    /// Leaves the line, for its turn has come. Dropped before that, or asked to give back what was charged,
    /// it gives its turn up.
    fn take_turn(&mut self);

    /// Returns its limits and whom they are of, for answers and headers.
    fn disclosure(&self) -> Disclosure<'_>;

    /// Reports to observers what it said, and whether a delay can be sat out; or that it has failed and
    /// nobody is asked what to do.
    fn report(&self, failure: Option<&BackendError>, can_wait: bool);
    /// Notes on the request what the service behind may want to know.
    fn mark(&mut self, extensions: &mut Extensions);
    /// Settles what the response decides.
    fn close(self: Box<Self>, response: &Parts) -> Completion;
}

/// The facts about a throttle that answers and headers show.
pub(crate) struct Disclosure<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) client: &'a ClientKey,
    /// Its limits' last decisions, with their names.
    pub(crate) limits: Policies<'a>,
}

/// The result of asking throttles.
pub(crate) enum Evaluation {
    /// All admit, with a pause until their turn if there is one.
    Admitted {
        parts: Vec<Box<dyn EvaluationPart>>,
        pause: Option<Arc<DelayTimer>>,
        beside: Option<BoxFuture<'static, ()>>,
    },
    /// One denies, and none is charged.
    Denied { parts: Vec<Box<dyn EvaluationPart>>, first: usize, outcome: Outcome },
    /// The request is refused for what it is.
    Refused(Refusal),
    /// Some have failed, and none is charged.
    Failed { failed: Vec<(Failing, BackendError)>, others: Vec<Box<dyn EvaluationPart>> },
}

/// The reaction of a throttle that has failed. Where there is no request, the failure is reported to
/// observers alone.
pub(crate) type Failing = Box<dyn FnOnce(Option<RequestParts<'_>>, &BackendError) -> ErrorOutcome + Send>;

/// The consequence for a request on which a throttle cannot decide.
pub(crate) enum ErrorOutcome {
    Passes(NotDecided),
    Answered(Response<Bytes>),
    /// A function that was asked answers later, with one of the others.
    Later(BoxFuture<'static, ErrorOutcome>),
}

impl ErrorOutcome {
    /// The consequence, once it is known.
    pub(crate) async fn get(self) -> Self {
        match self {
            Self::Later(outcome) => outcome.await,
            known => known,
        }
    }
}

/// A throttle has let a request pass without a decision: why, and how clients are told.
#[derive(Clone, Copy)]
pub(crate) struct NotDecided {
    pub(crate) format: HeaderFormat,
    pub(crate) origin: Origin,
}

impl NotDecided {
    /// Of two, the one that matters more to a client.
    pub(crate) fn or(self, other: Option<Self>) -> Self {
        let weight = |it: &Self| {
            let is_told = !matches!(it.origin, Origin::Bypassed | Origin::Disabled | Origin::Shadow);
            (is_told, it.origin)
        };
        other.filter(|other| weight(other) > weight(&self)).unwrap_or(self)
    }

    /// Tells it where throttles have decided or not: what went wrong in any case, else only where nothing
    /// else is told.
    pub(crate) fn write(self, is_decided: bool, headers: &mut HeaderMap) {
        if self.origin >= Origin::DegradedOpen || !is_decided {
            self.format.write_origin(self.origin, headers);
        }
    }
}
