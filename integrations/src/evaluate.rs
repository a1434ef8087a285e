//! Asks throttles about a request, and makes of their answers what becomes of it.

mod all;
mod answer;
mod contract;
mod decide;
mod one;
mod pass;
mod planned;
mod quota;
mod turn;

pub use all::ThrottleSet;
#[cfg(feature = "websocket")]
pub(crate) use contract::{Ruling, at_least};
pub use pass::Permit;
pub use quota::{Quota, QuotaScope};
#[cfg(feature = "websocket")]
pub(crate) use turn::{Account, Delayed};
