//! Arithmetic that several algorithms share.

pub(crate) mod bounds;
pub(crate) mod meter;
pub(crate) mod metered;
pub(crate) mod pace;
pub(crate) mod rebase;
pub(crate) mod settle;
pub(crate) mod window_usage;

pub use bounds::Bounds;
pub use meter::Level;
