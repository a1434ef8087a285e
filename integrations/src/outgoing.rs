//! Outgoing calls that wait for their turn.

mod calls;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "tower")]
mod tower;

pub use calls::Outgoing;
#[cfg(feature = "tower")]
pub use tower::{CallFuture, Paced};
