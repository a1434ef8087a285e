//! The admin paths, and the page.

mod caller;
mod metrics;
pub(crate) mod page;
pub(crate) mod paths;
