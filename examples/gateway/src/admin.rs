//! The admin paths, and the page.

mod caller;
pub(crate) mod events;
pub(crate) mod page;
pub(crate) mod paths;
