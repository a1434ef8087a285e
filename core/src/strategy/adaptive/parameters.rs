//! How an adaptive limit falls and recovers.

use super::{Adaptive, WHOLE};
use crate::Ratio;
use crate::divide::Divisor;
use crate::strategy::StrategyError;

impl Adaptive {
    /// The same limit, loaded from this part of it on.
    ///
    /// # Errors
    ///
    /// [`Threshold`](StrategyError::Threshold) unless it is above 0 and at most 1.
    pub const fn threshold(self, threshold: Ratio) -> Result<Self, StrategyError> {
        match threshold.floor_of(WHOLE) {
            millionths @ 1..=WHOLE if threshold.num() <= threshold.den() => {
                Ok(Self { threshold: millionths, ..self }.prepared())
            }
            _ => Err(StrategyError::Threshold(threshold)),
        }
    }

    /// The same limit, multiplied by this after a loaded window.
    ///
    /// # Errors
    ///
    /// [`Reduction`](StrategyError::Reduction) unless it is below 1.
    pub const fn reduction(self, reduction: Ratio) -> Result<Self, StrategyError> {
        if reduction.num() >= reduction.den() {
            return Err(StrategyError::Reduction(reduction));
        }
        Ok(Self { reduction: reduction.floor_of(WHOLE), ..self })
    }

    /// The same limit, recovering by this part after a window that was not loaded.
    ///
    /// # Errors
    ///
    /// [`Recovery`](StrategyError::Recovery) unless it is from 1/1000000 to 1.
    pub const fn recovery(self, recovery: Ratio) -> Result<Self, StrategyError> {
        match recovery.floor_of(WHOLE) {
            millionths @ 1..=WHOLE if recovery.num() <= recovery.den() => {
                Ok(Self { recovery: Divisor::new(millionths as u64), ..self })
            }
            _ => Err(StrategyError::Recovery(recovery)),
        }
    }

    /// The same limit, never reduced below this part.
    ///
    /// # Errors
    ///
    /// [`AdaptiveFloor`](StrategyError::AdaptiveFloor) if it is above 1.
    pub const fn floor(self, floor: Ratio) -> Result<Self, StrategyError> {
        if floor.num() > floor.den() {
            return Err(StrategyError::AdaptiveFloor(floor));
        }
        Ok(Self { floor: floor.floor_of(WHOLE), ..self })
    }
}
