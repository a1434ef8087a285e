//! Limits on HTTP requests, WebSocket messages and outgoing calls.
//!
//! A [`Throttle`] identifies the client of a request, charges the request's cost, and answers a denial with
//! 429. A [`ThrottleLayer`] puts it in front of a service:
//!
//! ```
//! # #[cfg(feature = "tower")] {
//! use tower::{ServiceBuilder, service_fn};
//! use traffik::{TokenBucket, rate};
//! use traffik::web::{Throttle, ThrottleLayer};
//!
//! // Defaults: by peer address, cost 1, 429 with `Retry-After`.
//! let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
//! let service = ServiceBuilder::new().layer(ThrottleLayer::new(throttle)).service(service_fn(
//!     async |_: http::Request<String>| {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
//!     },
//! ));
//! # fn usable(_: impl tower::Service<http::Request<String>>) {}
//! # usable(service);
//! # }
//! # Ok::<(), traffik::web::ThrottleError>(())
//! ```
//!
//! # Where to find what
//!
//! | I want to | type |
//! |---|---|
//! | limit the requests to a service | [`Throttle`], built by [`ThrottleBuilder`] |
//! | put a limit before axum, tonic, tower or actix-web | [`ThrottleLayer`] (features `tower`, `actix`) |
//! | put a limit before a hyper service | [`Throttled`] (feature `hyper`) |
//! | charge a request within a handler | [`Throttle::hit`], which fails with a [`Rejection`] |
//! | read, charge or refund one client | [`Throttle::client`], which returns a [`Client`] |
//! | count by API key, header or cookie | [`ApiKey`], [`Header`], [`Cookie`] |
//! | count by address, also behind proxies | [`Peer`], [`ClientAddress`], [`Networks`] |
//! | count by logged-in user or by route | [`FromExtension`], [`Route`] |
//! | combine identifiers, or exempt some requests | [`CompositeKey`], [`Exempt`] |
//! | count operations of one client separately | [`Scope`] |
//! | limit some paths or methods only | [`Rule`] |
//! | apply several limits to a request | [`ThrottleSet`] |
//! | charge several costs of a request, or none | [`Quota`] |
//! | take tiers or costs from a trusted header | [`ClassHeaders`], [`CostHeader`] |
//! | send `RateLimit` headers | [`HeaderFormat`] |
//! | answer a denial in my own way | [`ThrottleBuilder::on_throttled`], [`Denial`] |
//! | react to a failing store | [`OnError`], [`ErrorAction`] |
//! | try a limit without denying | [`Enforcement`] |
//! | read the client's status in a handler | [`RateLimitStatus`] |
//! | share settings between throttles, or switch them by name | [`ThrottleDefaults`], [`Registry`] |
//! | keep a storage for each tenant | [`Tenants`] |
//! | count decisions, or export them | [`Tally`], [`Observe`], `Metrics`, `Traces` |
//! | limit the messages of a WebSocket | `WsThrottle` (feature `websocket`) |
//! | slow down my own calls to another service | [`Outgoing`] |
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

// These types appear in signatures; users need not name them.
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

/// The programs of the README, which the doctests compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
