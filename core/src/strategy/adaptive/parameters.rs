//! The parameters by which an adaptive limit falls and recovers.

use super::{Adaptive, WHOLE};
use crate::Ratio;
use crate::divide::Divisor;
use crate::strategy::StrategyError;

impl Adaptive {
    /// Sets the share of the limit from which on a window counts as loaded. Defaults to 0.8.
    ///
    /// # Errors
    ///
    /// Fails with [`Threshold`](StrategyError::Threshold) unless the share is from 1/1000000 to 1.
    pub const fn threshold(self, threshold: Ratio) -> Result<Self, StrategyError> {
        match threshold.floor_of(WHOLE) {
            millionths @ 1..=WHOLE if threshold.num() <= threshold.den() => {
                Ok(Self { threshold: millionths, ..self }.prepared())
            }
            _ => Err(StrategyError::Threshold(threshold)),
        }
    }

    /// Sets the ratio by which the factor is multiplied after a loaded window. Defaults to 0.6.
    ///
    /// # Errors
    ///
    /// Fails with [`Reduction`](StrategyError::Reduction) unless the ratio is below 1.
    pub const fn reduction(self, reduction: Ratio) -> Result<Self, StrategyError> {
        if reduction.num() >= reduction.den() {
            return Err(StrategyError::Reduction(reduction));
        }
        Ok(Self { reduction: reduction.floor_of(WHOLE), ..self })
    }

    /// Sets the share of the limit that is added after a window without load. Defaults to 0.1.
    ///
    /// # Errors
    ///
    /// Fails with [`Recovery`](StrategyError::Recovery) unless the share is from 1/1000000 to 1.
    pub const fn recovery(self, recovery: Ratio) -> Result<Self, StrategyError> {
        match recovery.floor_of(WHOLE) {
            millionths @ 1..=WHOLE if recovery.num() <= recovery.den() => {
                Ok(Self { recovery: Divisor::new(millionths as u64), ..self })
            }
            _ => Err(StrategyError::Recovery(recovery)),
        }
    }

    /// Sets the share of the limit below which the factor never falls. Defaults to 0.3.
    ///
    /// # Errors
    ///
    /// Fails with [`AdaptiveFloor`](StrategyError::AdaptiveFloor) if the share is above 1.
    pub const fn floor(self, floor: Ratio) -> Result<Self, StrategyError> {
        if floor.num() > floor.den() {
            return Err(StrategyError::AdaptiveFloor(floor));
        }
        Ok(Self { floor: floor.floor_of(WHOLE), ..self })
    }
}
