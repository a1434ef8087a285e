//! The listeners: their start and end, their connections, and the way of a request from there.

mod accept;
mod check;
mod plan_texts;
mod reload;
mod route;
pub(crate) mod run;
mod signals;
