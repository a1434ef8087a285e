//! The interface between the middleware and a throttle, or a set of throttles.

use std::fmt;

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, Response};
use traffik_core::debug_fields;
use traffik_core::storage::BoxFuture;

use crate::RequestParts;
use crate::middleware::body::{BodyMeter, in_turn};

/// Decides which requests pass, and completes their responses. [`Throttle`](crate::Throttle) and
/// [`ThrottleSet`](crate::ThrottleSet) implement it; call it to limit requests in a server other than hyper,
/// tower and actix-web.
///
/// The middleware calls [`enter`](Self::enter), then [`resume`](Self::resume) each time an
/// [`Action::Wait`] has ended. It calls [`mark`](Self::mark) before it passes the request on, and
/// [`leave`](Self::leave) when the head of the response is there.
///
/// ```
/// use traffik::web::{Action, Admission, HeaderFormat, PeerAddress, Throttle};
/// use traffik::{TokenBucket, rate};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("1/min")))
///     .headers(HeaderFormat::Draft10)
///     .build()?;
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 4711).into()));
///
/// // One throttle in memory never waits: it passes or answers at once.
/// let Action::Pass(mut permit) = throttle.enter((&request).into()) else { panic!("denied") };
/// throttle.mark(&mut permit, request.extensions_mut());
/// let (mut head, body) = http::Response::new("hello").into_parts();
/// throttle.leave(permit, &mut head);
/// assert!(head.headers.contains_key("ratelimit"));
///
/// let Action::Answer(denial) = throttle.enter((&request).into()) else { panic!("admitted") };
/// assert_eq!(denial.status(), 429);
/// # let _ = body;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
pub trait Admission: Clone + Send + Sync + 'static {
    /// The state of an admitted request, kept until its response is there.
    type Permit: Send + 'static;
    /// The output of an [`Action::Wait`], handed to [`resume`](Self::resume).
    type Work: Send + 'static;

    /// Decides on a request.
    fn enter(&self, request: RequestParts<'_>) -> Action<Self::Permit, Self::Work>;

    /// Continues the decision on a request, with the output of the wait.
    fn resume(&self, request: RequestParts<'_>, work: Self::Work) -> Action<Self::Permit, Self::Work>;

    /// Writes into the request's `extensions` what the service behind may read, such as a
    /// [`RateLimitStatus`](crate::RateLimitStatus).
    ///
    /// Poll the returned future, if any, beside the service: it checks the request with throttles in shadow
    /// mode, and reports to their observers. It waits for their storages, as long as their timeouts allow.
    /// Dropping it may lose the report and the charge of such a throttle, but does not affect the request.
    fn mark(&self, permit: &mut Self::Permit, extensions: &mut Extensions) -> Option<BoxFuture<'static, ()>>;

    /// Adds the rate-limit headers to the head of the response, and settles charges that depend on it.
    fn leave(&self, permit: Self::Permit, response: &mut Parts) -> Completion;
}

/// The next step for a request. Match it where you call an [`Admission`] without one of the middlewares.
///
/// ```
/// use traffik::web::{Action, Admission, Throttle};
/// use traffik::{TokenBucket, rate};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// let request = http::Request::new(()); // without the address of its peer
/// let word = match throttle.enter((&request).into()) {
///     Action::Pass(_permit) => "call the service",
///     Action::Answer(_response) => "send this response",
///     Action::Wait(_future) => "await it, then call resume",
/// };
/// assert_eq!(word, "send this response");
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
pub enum Action<P, W> {
    /// Pass the request on.
    Pass(P),
    /// Send this response; the service behind is not called.
    Answer(Response<Bytes>),
    /// Await this future, then call [`resume`](Admission::resume). Dropping the future gives up a turn that
    /// has not come. Without a turn, a charge that was made stays.
    Wait(BoxFuture<'static, W>),
}

impl<P, W> fmt::Debug for Action<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass(_) => "Action::Pass",
            Self::Answer(_) => "Action::Answer",
            Self::Wait(_) => "Action::Wait",
        })
    }
}

/// The work that remains once the head of a response is there: a future to await, and a meter of the body.
/// The middlewares complete it; it has no public parts.
///
/// ```
/// use traffik::web::Completion;
///
/// assert!(format!("{:?}", Completion::default()).contains("waits: false"));
/// ```
#[derive(Default)]
pub struct Completion {
    /// The future to complete before the response is passed on.
    pub(crate) before: Option<BoxFuture<'static, ()>>,
    /// The meter of the body, which settles charges when the body has ended.
    pub(crate) meter: Option<Box<dyn BodyMeter>>,
}

debug_fields!([] Completion: waits = |it| it.before.is_some(), counts = |it| it.meter.is_some());

impl Completion {
    /// Returns both completions as one.
    pub(crate) fn and(self, other: Self) -> Self {
        let before = in_turn(self.before, other.before);
        let meter = match (self.meter, other.meter) {
            (Some(one), Some(another)) => Some(Box::new((one, another)) as Box<dyn BodyMeter>),
            (one, another) => one.or(another),
        };
        Self { before, meter }
    }
}
