//! Limits HTTP requests: who is asking, how much a request costs, and what the client is told.
//!
//! A [`Throttle`] decides on a request; the middleware puts it in front of a service:
//!
//! ```
//! # #[cfg(feature = "tower")] {
//! use tower::{ServiceBuilder, service_fn};
//! use traffik::{TokenBucket, rate};
//! use traffik::web::{Throttle, ThrottleLayer};
//!
//! // By peer address, in memory, 1 a request, 429 with Retry-After: all of that can be chosen.
//! let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
//! let service = ServiceBuilder::new().layer(ThrottleLayer::new(throttle)).service(service_fn(
//!     async |_: http::Request<String>| Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello"))),
//! ));
//! # fn usable(_: impl tower::Service<http::Request<String>>) {}
//! # usable(service);
//! # }
//! # Ok::<(), traffik::web::ThrottleError>(())
//! ```
//!
//! The path of a request: service → [`Throttle`] → [`identify`] → storage → strategy → [`headers`].
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "actix")]
mod actix;
mod error;
mod evaluate;
mod http;
pub mod identify;
mod log;
mod middleware;
mod observe;
mod outgoing;
mod rules;
mod throttle;
#[cfg(feature = "websocket")]
mod websocket;

pub use crate::http::{
    Denial, ErrorAction, ErrorContext, HeaderFormat, OnError, Refusal, RequestError, RequestParts, headers,
};
pub use error::ThrottleError;
pub use evaluate::{Quota, ThrottleSet};
pub use identify::{
    Anonymous, ApiKey, ClassHeaders, ClientAddress, ClientKey, CompositeKey, Cookie, CostHeader, Exempt,
    ForwardedHeader, FromExtension, Header, Identify, Identity, Networks, Peer, PeerAddress, Route,
};
#[cfg(any(feature = "actix", feature = "tower"))]
pub use middleware::ThrottleLayer;
#[cfg(any(feature = "actix", feature = "hyper", feature = "tower"))]
pub use middleware::Throttled;
#[cfg(feature = "metrics")]
pub use observe::Metrics;
#[cfg(feature = "tracing")]
pub use observe::Traces;
pub use observe::{Event, Observe, RequestOutcome, Tally};
pub use outgoing::Outgoing;
pub use rules::Rule;
pub use throttle::{
    Client, DynThrottle, Enforcement, IdentityCache, MemoryThrottle, RateLimitStatus, Registry, Rejection,
    Scope, Tenants, Throttle, ThrottleBuilder, ThrottleDefaults,
};
#[doc(no_inline)]
pub use traffik_core::Origin;
#[cfg(feature = "websocket")]
pub use websocket::{
    WsAction, WsAnswer, WsDenial, WsError, WsErrorAction, WsKind, WsMessage, WsNotices, WsOnError, WsPolicy,
    WsThrottle,
};

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
pub use crate::http::Fallible;
#[doc(hidden)]
#[cfg(feature = "actix")]
pub use actix::ActixFuture;
#[doc(hidden)]
pub use evaluate::{Permit, QuotaScope};
#[doc(hidden)]
#[cfg(feature = "tower")]
pub use middleware::Ready;
#[doc(hidden)]
pub use middleware::ResponseBody;
#[doc(hidden)]
#[cfg(feature = "hyper")]
pub use middleware::SharedService;
#[doc(hidden)]
pub use middleware::{Action, Admission, Completion};
#[doc(hidden)]
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use middleware::{Forward, ResponseFuture};
#[doc(hidden)]
#[cfg(feature = "tower")]
pub use outgoing::{CallFuture, Paced};
#[doc(hidden)]
pub use throttle::ClientShare;
#[doc(hidden)]
#[cfg(feature = "axum")]
pub use throttle::NotExposed;
#[doc(hidden)]
#[cfg(feature = "websocket")]
pub use websocket::WsExtra;

/// The programs of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
