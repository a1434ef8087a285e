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
//! # Ok::<(), traffik_integrations::NameError>(())
//! ```
//!
//! The path of a request: service → [`Throttle`] → [`identify`] → storage → strategy → [`headers`].
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod answer;
#[cfg(feature = "axum")]
mod axum;
mod base;
mod body;
mod denial;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod future;
mod gate;
mod grpc;
pub mod headers;
#[cfg(feature = "hyper")]
mod hyper;
pub mod identify;
mod observe;
mod path;
mod quota;
mod registry;
mod request;
mod rules;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod service;
mod several;
mod tenants;
mod throttle;
#[cfg(feature = "tower")]
mod tower;
mod trouble;
mod unbroken;
#[cfg(feature = "websocket")]
mod websocket;

pub use answer::Sent;
#[cfg(feature = "axum")]
pub use axum::NotExposed;
pub use base::Base;
pub use body::ResponseBody;
pub use denial::Denial;
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use future::{Forward, ResponseFuture};
pub use gate::{Gate, Left, Step};
pub use headers::Dialect;
#[cfg(feature = "hyper")]
pub use hyper::Shared;
pub use identify::{
    Anonymous, ApiKey, ClassHeaders, ClientAddress, ClientKey, Composite, Cookie, CostHeader, Exempt,
    FromExtension, Header, Identify, Identity, NetworkError, Networks, Peer, PeerAddress, Route, RouteError,
    Via,
};
#[cfg(feature = "metrics")]
pub use observe::Metrics;
#[cfg(feature = "tracing")]
pub use observe::Traces;
pub use observe::{Event, Observe, Seen, Tally};
pub use quota::{Nested, Quota, QuotaError};
pub use registry::{Registry, RegistryError};
pub use request::{Fallible, Refusal, RequestParts, Stop};
pub use rules::Rule;
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use service::Throttled;
pub use several::{Passes, Throttles, Which, Works};
pub use tenants::Tenants;
pub use throttle::{
    Client, Enforcement, IdentityCache, NameError, Part, Pass, Scope, Standing, Throttle, ThrottleBuilder,
    Work,
};
#[cfg(feature = "tower")]
pub use tower::{Ready, ThrottleLayer};
#[doc(no_inline)]
pub use traffik_core::Origin;
pub use trouble::{OnError, Remedy, Trouble};
#[cfg(feature = "websocket")]
pub use websocket::{
    WsAction, WsAnswer, WsBeyond, WsDenial, WsError, WsExtra, WsKind, WsMessage, WsNotices, WsOnError,
    WsPolicy, WsRemedy, WsThrottle,
};

/// The programs of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
