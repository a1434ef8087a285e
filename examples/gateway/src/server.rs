//! The start and the end of the server, the reload of its file, and the way of a request.

mod check;
mod file_watch;
mod listeners;
mod plan_texts;
mod reload;
pub(crate) mod run;
mod signals;
