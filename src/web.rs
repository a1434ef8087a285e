//! Rate limits on HTTP requests, WebSocket messages and outgoing calls.
//!
//! | to limit | choose |
//! |---|---|
//! | requests to an axum, tonic or tower service, or an actix-web app | [`Throttle`] in a [`ThrottleLayer`] |
//! | requests to a hyper service | [`Throttle`] in a [`Throttled`] |
//! | requests in any other server | [`Throttle::hit`] in the handler |
//! | requests by several limits together | [`ThrottleSet`] |
//! | messages of a WebSocket | [`WsThrottle`] |
//! | calls of a client of yours | [`Outgoing`]: they wait for their turn |
//!
//! ```
//! use traffik::web::Throttle;
//! use traffik::{TokenBucket, rate};
//!
//! // 100 requests a minute for each peer; others get 429 with `Retry-After`.
//! let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
//! assert_eq!(throttle.uid(), "api");
//! # Ok::<(), traffik::web::ThrottleError>(())
//! ```
//!
//! | to choose | see |
//! |---|---|
//! | the client that a request is counted for | [`Peer`], [`ClientAddress`], [`ApiKey`], .. |
//! | the requests that a throttle applies to | [`Rule`] |
//! | the answer when the storage fails | [`OnError`] |
//! | the headers of a response | [`HeaderFormat`] |
//! | metrics and logs | [`Tally`], [`Metrics`], [`Traces`], or [`Observe`] for others |

#[cfg(feature = "metrics")]
#[doc(inline)]
pub use traffik_integrations::Metrics;
#[cfg(any(feature = "actix", feature = "tower"))]
#[doc(inline)]
pub use traffik_integrations::ThrottleLayer;
#[cfg(any(feature = "actix", feature = "hyper", feature = "tower"))]
#[doc(inline)]
pub use traffik_integrations::Throttled;
#[cfg(feature = "tracing")]
#[doc(inline)]
pub use traffik_integrations::Traces;
#[doc(inline)]
pub use traffik_integrations::{
    Anonymous, ApiKey, ClassHeaders, Client, ClientAddress, ClientKey, CompositeKey, Cookie, CostHeader,
    Denial, DynThrottle, Enforcement, ErrorAction, ErrorContext, Event, Exempt, ForwardedHeader,
    FromExtension, Header, HeaderFormat, Identify, Identity, IdentityCache, MemoryThrottle, Networks,
    Observe, OnError, Origin, Outgoing, Peer, PeerAddress, Quota, RateLimitStatus, Refusal, Registry,
    Rejection, RequestError, RequestOutcome, RequestParts, Route, Rule, Scope, Tally, Tenants, Throttle,
    ThrottleBuilder, ThrottleDefaults, ThrottleError, ThrottleSet, headers, identify,
};
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use traffik_integrations::{
    WsAction, WsAnswer, WsDenial, WsError, WsErrorAction, WsKind, WsMessage, WsNotices, WsOnError, WsPolicy,
    WsThrottle,
};

// Types of signatures.
#[cfg(feature = "actix")]
#[doc(inline)]
pub use traffik_integrations::ActixFuture;
#[cfg(feature = "axum")]
#[doc(inline)]
pub use traffik_integrations::NotExposed;
#[cfg(feature = "hyper")]
#[doc(inline)]
pub use traffik_integrations::SharedService;
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use traffik_integrations::WsExtra;
#[doc(inline)]
pub use traffik_integrations::headers::PolicyDecision;
#[doc(inline)]
pub use traffik_integrations::{
    Action, Admission, ClientShare, Completion, Fallible, Permit, QuotaScope, ResponseBody,
};
#[cfg(feature = "tower")]
#[doc(inline)]
pub use traffik_integrations::{CallFuture, Paced, Ready};
#[cfg(any(feature = "hyper", feature = "tower"))]
#[doc(inline)]
pub use traffik_integrations::{Forward, ResponseFuture};
