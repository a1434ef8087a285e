//! The listeners, and the life of the process.

mod plan_texts;
pub(crate) mod run;
mod signals;
