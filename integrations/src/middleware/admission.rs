//! What stands in front of a service: one throttle, or several as one.

use std::fmt;

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, Response};
use traffik_core::debug_fields;
use traffik_core::storage::BoxFuture;

use crate::RequestParts;
use crate::middleware::body::{Meter, in_turn};

/// Decides which requests pass, and hears of their responses.
///
/// The middleware asks it so: [`enter`](Self::enter), then [`resume`](Self::resume) as long as something has to be
/// waited for, [`mark`](Self::mark) before the request is passed on, and [`leave`](Self::leave) once the head of
/// its response is there.
pub trait Admission: Clone + Send + Sync + 'static {
    /// What is kept of an admission until its response is there.
    type Permit: Send + 'static;
    /// What comes of waiting.
    type Work: Send + 'static;

    /// Decides on a request.
    fn enter(&self, request: RequestParts<'_>) -> Action<Self::Permit, Self::Work>;

    /// Goes on with what was waited for.
    fn resume(&self, request: RequestParts<'_>, work: Self::Work) -> Action<Self::Permit, Self::Work>;

    /// Notes on an admitted request what the service behind may want to know; gives what is to go on while it is
    /// served.
    fn mark(&self, pass: &mut Self::Permit, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>>;

    /// Takes leave of an admitted request: tells the client where it stands, and settles what the response decides.
    fn leave(&self, pass: Self::Permit, response: &mut Parts) -> Completion;
}

/// What is to be done with a request.
pub enum Action<P, W> {
    /// Pass it on.
    Pass(P),
    /// Do not pass it on; answer this instead.
    Answer(Response<Bytes>),
    /// Wait for this, and [resume](Admission::resume).
    Wait(BoxFuture<'static, W>),
}

impl<P, W> fmt::Debug for Action<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass(_) => "Step::Pass",
            Self::Answer(_) => "Step::Answer",
            Self::Wait(_) => "Step::Wait",
        })
    }
}

/// What remains to be done once the head of a response is there.
#[derive(Default)]
pub struct Completion {
    /// To be done before the response is passed on.
    pub(crate) before: Option<BoxFuture<'static, ()>>,
    /// Counts the body, and settles when it has ended.
    pub(crate) meter: Option<Box<dyn Meter>>,
}

debug_fields!([] Completion: waits = |it| it.before.is_some(), counts = |it| it.meter.is_some());

impl Completion {
    /// This and that.
    pub(crate) fn and(self, other: Self) -> Self {
        let before = in_turn(self.before, other.before);
        let meter = match (self.meter, other.meter) {
            (Some(one), Some(another)) => Some(Box::new((one, another)) as Box<dyn Meter>),
            (one, another) => one.or(another),
        };
        Self { before, meter }
    }
}
