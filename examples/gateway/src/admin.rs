//! The admin paths, and the page.

pub(crate) mod caller;
mod denied;
mod metrics;
pub(crate) mod page;
pub(crate) mod paths;
