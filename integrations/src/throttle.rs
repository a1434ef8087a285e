//! A limit on requests: who is asking, what a request costs, and what is answered.

mod after;
#[cfg(feature = "axum")]
mod axum;
mod base;
mod builder;
mod client;
mod explain;
mod finish;
mod handle;
mod key;
mod plan;
mod prepare;
mod profile;
mod registry;
mod rejection;
mod reservation;
mod settings;
mod standing;
mod tenants;

#[cfg(feature = "axum")]
pub use self::axum::NotExposed;
pub(crate) use after::Receipt;
pub use base::ThrottleDefaults;
pub use builder::ThrottleBuilder;
pub use client::Client;
pub use handle::{DynThrottle, MemoryThrottle, Throttle};
pub(crate) use plan::{Plan, Planned, Prepared, Unasked, Why};
#[cfg(feature = "websocket")]
pub(crate) use prepare::nowhere;
pub use profile::{IdentityCache, Scope};
pub(crate) use profile::{Known, Pause, Profile, Watch};
pub use registry::Registry;
pub(crate) use rejection::Cause;
pub use rejection::Rejection;
pub use settings::{ClientShare, Enforcement};
pub use standing::RateLimitStatus;
pub use tenants::Tenants;
