//! Encoding of states and figures.

pub(crate) mod codec;
pub(crate) mod formula;
#[cfg_attr(not(feature = "serde"), path = "wire/no_serde_form.rs")]
pub(crate) mod serde_form;
pub(crate) mod stats;
pub(crate) mod tags;

pub(crate) use codec::form;
pub use codec::{DecodeError, Reader, State, Writer, decode, encode};
pub use formula::{ActiveHours, ScriptFormula, ScriptLimit, StateNesting};
pub use stats::{StatValue, Stats, StatsSnapshot};
