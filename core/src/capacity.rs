//! The error of a limit that cannot be counted exactly.

use core::fmt;

/// The error of a limit whose exact arithmetic exceeds 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CapacityError {
    /// The largest burst (or limit) that fits at the same rate.
    pub largest: u32,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this limit is too large to be counted exactly: the largest limit or burst that can be is {}; in a \
             bucket, a rate whose limit shares more factors with its period in microseconds allows a larger one",
            self.largest
        )
    }
}

impl core::error::Error for CapacityError {}
