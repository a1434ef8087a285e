//! The engine that checks a request with its throttles, and turns their verdicts into an action.

mod answer;
mod contract;
mod decide;
mod one;
mod permit;
mod planned;
mod quota;
mod set;
mod turn;

#[cfg(feature = "websocket")]
pub(crate) use contract::{Ruling, at_least};
pub use permit::Permit;
pub use quota::{Quota, QuotaScope};
pub use set::ThrottleSet;
#[cfg(feature = "websocket")]
pub(crate) use turn::{DelayedTurn, TurnAccount};
