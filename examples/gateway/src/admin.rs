//! The admin paths, and the page.

mod caller;
pub(crate) mod page;
pub(crate) mod paths;
