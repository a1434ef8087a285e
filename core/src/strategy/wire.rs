//! How states and figures leave the process.

pub(crate) mod codec;
pub(crate) mod formula;
pub(crate) mod stats;
pub(crate) mod tags;

pub use codec::{Corrupt, Reader, State, Writer, decode, encode};
pub use formula::{Formula, Held, Inlined, Part};
pub use stats::{Figure, Report, Reported};
