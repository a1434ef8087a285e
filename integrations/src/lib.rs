//! Limits HTTP requests: who is asking, how much a request costs, and what the client is told.
//!
//! A [`Throttle`] decides on a request; the middleware puts it in front of a service:
//!
//! ```
//! # #[cfg(feature = "tower")] {
//! use tower::{ServiceBuilder, service_fn};
//! use traffik_backends::Memory;
//! use traffik_core::storage::Local;
//! use traffik_core::{TokenBucket, rate};
//! use traffik_integrations::{Throttle, ThrottleLayer};
//!
//! let limit = TokenBucket::new(rate!("100/min"));
//! let throttle = Throttle::builder("api", limit, Local(Memory::new(10_000))).build()?;
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
#![forbid(unsafe_code)]

mod answer;
mod body;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod future;
pub mod headers;
#[cfg(feature = "hyper")]
mod hyper;
pub mod identify;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod service;
mod throttle;
#[cfg(feature = "tower")]
mod tower;

pub use body::ResponseBody;
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use future::{Forward, ResponseFuture};
pub use headers::Dialect;
#[cfg(feature = "hyper")]
pub use hyper::Shared;
pub use identify::{ClientKey, Composite, Header, Identify, Identity, Peer, PeerAddress, RequestParts};
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use service::Throttled;
pub use throttle::{NameError, Step, Throttle, ThrottleBuilder, Wait};
#[cfg(feature = "tower")]
pub use tower::{Ready, ThrottleLayer};
