//! Limits HTTP requests: who is asking, how much a request costs, and what the client is told.
//!
//! A [`Throttle`] decides on a request; the middleware puts it in front of a service:
//!
//! ```
//! # #[cfg(feature = "tower")] {
//! use tower::{ServiceBuilder, service_fn};
//! use traffik_core::{TokenBucket, rate};
//! use traffik_integrations::{Throttle, ThrottleLayer};
//!
//! // By peer address, in memory, 1 a request, 429 with Retry-After: all of that can be chosen.
//! let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
//! let service = ServiceBuilder::new().layer(ThrottleLayer::new(throttle)).service(service_fn(
//!     async |_: http::Request<String>| Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello"))),
//! ));
//! # fn usable(_: impl tower::Service<http::Request<String>>) {}
//! # usable(service);
//! # }
//! # Ok::<(), traffik_integrations::ThrottleError>(())
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

pub use crate::http::{Denial, Dialect, OnError, Refusal, Remedy, RequestParts, Stop, Trouble, headers};
pub use error::ThrottleError;
pub use evaluate::{Quota, Throttles};
pub use identify::{
    Anonymous, ApiKey, ClassHeaders, ClientAddress, ClientKey, Composite, Cookie, CostHeader, Exempt,
    FromExtension, Header, Identify, Identity, Networks, Peer, PeerAddress, Route, Via,
};
#[cfg(any(feature = "actix", feature = "tower"))]
pub use middleware::ThrottleLayer;
#[cfg(any(feature = "actix", feature = "hyper", feature = "tower"))]
pub use middleware::Throttled;
#[cfg(feature = "metrics")]
pub use observe::Metrics;
#[cfg(feature = "tracing")]
pub use observe::Traces;
pub use observe::{Event, Observe, Seen, Tally};
pub use outgoing::Outgoing;
pub use rules::Rule;
pub use throttle::{
    Base, Client, DynThrottle, Enforcement, IdentityCache, MemoryThrottle, Registry, Rejection, Scope,
    Standing, Tenants, Throttle, ThrottleBuilder,
};
#[doc(no_inline)]
pub use traffik_core::Origin;
#[cfg(feature = "websocket")]
pub use websocket::{
    WsAction, WsAnswer, WsDenial, WsError, WsKind, WsMessage, WsNotices, WsOnError, WsPolicy, WsRemedy,
    WsThrottle,
};

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
pub use crate::http::Fallible;
#[doc(hidden)]
#[cfg(feature = "actix")]
pub use actix::ActixFuture;
#[doc(hidden)]
pub use evaluate::{Nested, Pass};
#[doc(hidden)]
#[cfg(feature = "tower")]
pub use middleware::Ready;
#[doc(hidden)]
pub use middleware::ResponseBody;
#[doc(hidden)]
#[cfg(feature = "hyper")]
pub use middleware::Shared;
#[doc(hidden)]
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use middleware::{Forward, ResponseFuture};
#[doc(hidden)]
pub use middleware::{Gate, Left, Step};
#[doc(hidden)]
#[cfg(feature = "tower")]
pub use outgoing::{CallFuture, Paced};
#[doc(hidden)]
#[cfg(feature = "axum")]
pub use throttle::NotExposed;
#[doc(hidden)]
pub use throttle::Part;
#[doc(hidden)]
#[cfg(feature = "websocket")]
pub use websocket::WsExtra;

/// The programs of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
