//! What a shared limit refuses at construction, and what would be right.

use core::fmt;

use crate::Label;

/// Why a limit cannot be shared so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ShareError {
    /// A weight is 0.
    ZeroWeight,
    /// There are more regions than the limit has room for.
    TooMany {
        /// How many there is room for.
        most: usize,
    },
    /// A region is named twice.
    Duplicate {
        /// That region.
        region: Label,
    },
    /// A share comes to less than a cost of 1.
    ZeroShare {
        /// The region whose share it is; `None` for all that are not named.
        region: Option<Label>,
    },
    /// The shares add up to more than 1.
    AboveOne,
    /// The shares have no common denominator that fits 64 bits.
    NoCommonDenominator,
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroWeight => f.write_str("a weight must be at least 1"),
            Self::TooMany { most } => {
                write!(f, "there is room for {most} regions: make it larger or name fewer")
            }
            Self::Duplicate { region } => write!(f, "region {} is named twice: give it one share", region.0),
            Self::ZeroShare { region: Some(region) } => {
                write!(f, "the share of region {} comes to 0: raise it, or the limit", region.0)
            }
            Self::ZeroShare { region: None } => {
                f.write_str("the share of all other regions comes to 0: raise it, or the limit")
            }
            Self::AboveOne => f.write_str("the shares must add up to at most 1"),
            Self::NoCommonDenominator => {
                f.write_str("the shares have no common denominator of 64 bits: round them, say to per cent")
            }
        }
    }
}

impl core::error::Error for ShareError {}
