//! Asks throttles about a request, and makes of their answers what becomes of it.

mod all;
mod one;
mod quota;

pub use all::{Passes, Throttles, Which, Works};
#[cfg(feature = "websocket")]
pub(crate) use one::at_least;
pub use one::{Pass, Work};
pub use quota::{Nested, Quota, QuotaError};
