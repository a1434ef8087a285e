//! The throttle: a limit on requests, with the identity, the cost and the answer of each request.

#[cfg(feature = "axum")]
mod axum;
mod builder;
mod client;
mod defaults;
mod explain;
mod finish;
mod handle;
mod key;
mod plan;
mod prepare;
mod profile;
mod rate_limit_status;
mod registry;
mod rejection;
mod reservation;
mod settings;
mod settlement;
mod tenants;

#[cfg(feature = "axum")]
pub use self::axum::NotExposed;
pub use builder::ThrottleBuilder;
pub use client::Client;
pub use defaults::ThrottleDefaults;
pub use handle::{DynThrottle, MemoryThrottle, Throttle};
pub(crate) use plan::{MaybePlan, Plan, PlanResult, SkipReason, Skipped};
#[cfg(feature = "websocket")]
pub(crate) use prepare::nothing_fixed;
pub(crate) use profile::{DelayTimer, IdentityMemo, Profile, Watch};
pub use profile::{IdentityCache, Scope};
pub use rate_limit_status::RateLimitStatus;
pub use registry::Registry;
pub(crate) use rejection::Cause;
pub use rejection::Rejection;
pub use settings::{ClientShare, Enforcement};
pub(crate) use settlement::VerdictReceipt;
pub use tenants::Tenants;
