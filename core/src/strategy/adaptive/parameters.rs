//! How an adaptive limit falls and recovers, and what cannot be meant by it.

use core::fmt;

use super::{Adaptive, WHOLE};
use crate::Ratio;
use crate::divide::Divisor;

/// Why a limit cannot adapt like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AdaptiveError {
    /// The threshold is 0 or above 1.
    Threshold(Ratio),
    /// The reduction is not below 1.
    Reduction(Ratio),
    /// The recovery is less than a millionth, or above 1.
    Recovery(Ratio),
    /// The floor is above 1.
    Floor(Ratio),
}

impl fmt::Display for AdaptiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, ratio, right) = match self {
            Self::Threshold(ratio) => {
                ("threshold", ratio, "the load to fall at: above 0, at most 1, such as 80%")
            }
            Self::Reduction(ratio) => {
                ("reduction", ratio, "what the factor is multiplied by: below 1, such as 60%")
            }
            Self::Recovery(ratio) => {
                ("recovery", ratio, "what is added in each window: 1/1000000 to 1, such as 10%")
            }
            Self::Floor(ratio) => ("floor", ratio, "the least part of the limit: at most 1, such as 30%"),
        };
        write!(f, "{ratio} is no {name}, which is {right}")
    }
}

impl core::error::Error for AdaptiveError {}

impl Adaptive {
    /// The same limit, loaded from this part of it on.
    pub const fn threshold(self, threshold: Ratio) -> Result<Self, AdaptiveError> {
        match threshold.floor_of(WHOLE) {
            millionths @ 1..=WHOLE if threshold.num() <= threshold.den() => {
                Ok(Self { threshold: millionths, ..self }.prepared())
            }
            _ => Err(AdaptiveError::Threshold(threshold)),
        }
    }

    /// The same limit, multiplied by this after a loaded window.
    pub const fn reduction(self, reduction: Ratio) -> Result<Self, AdaptiveError> {
        if reduction.num() >= reduction.den() {
            return Err(AdaptiveError::Reduction(reduction));
        }
        Ok(Self { reduction: reduction.floor_of(WHOLE), ..self })
    }

    /// The same limit, recovering by this part after a window that was not loaded.
    pub const fn recovery(self, recovery: Ratio) -> Result<Self, AdaptiveError> {
        match recovery.floor_of(WHOLE) {
            millionths @ 1..=WHOLE if recovery.num() <= recovery.den() => {
                Ok(Self { recovery: Divisor::new(millionths as u64), ..self })
            }
            _ => Err(AdaptiveError::Recovery(recovery)),
        }
    }

    /// The same limit, never reduced below this part.
    pub const fn floor(self, floor: Ratio) -> Result<Self, AdaptiveError> {
        if floor.num() > floor.den() {
            return Err(AdaptiveError::Floor(floor));
        }
        Ok(Self { floor: floor.floor_of(WHOLE), ..self })
    }
}
