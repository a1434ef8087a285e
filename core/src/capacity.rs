//! The error of a limit that cannot be counted exactly.

/// The error of a limit whose exact arithmetic exceeds 64 bits.
///
/// The builders of strategies return it, alone or within a [`StrategyError`](crate::StrategyError).
///
/// ```
/// use core::time::Duration;
/// use traffik::{CapacityError, Gcra, Rate};
///
/// let odd = Rate::new(1, Duration::from_micros(9_007_199_254_740_991))?; // 285 years
/// let error: CapacityError = Gcra::new(odd).burst(u32::MAX).unwrap_err();
/// assert!(Gcra::new(odd).burst(error.largest).is_ok());
/// # Ok::<(), traffik::RateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CapacityError {
    /// The largest burst (or limit) that fits at the same rate.
    pub largest: u32,
}

impl CapacityError {
    /// Checks that a script can multiply this limit exactly: that `limit · factor` stays below 2⁵³.
    pub(crate) fn unless_exact(limit: u32, factor: u64) -> Result<(), Self> {
        const BOUND: u64 = (1 << 53) - 1;
        let largest = u32::try_from(BOUND / factor.max(1)).unwrap_or(u32::MAX);
        if limit <= largest { Ok(()) } else { Err(Self { largest }) }
    }
}

texts! { CapacityError:
    Self { largest } => "the limit or burst is too large to be counted exactly at this rate; give at most \
        {largest}, or a rounder rate, such as 1000000/30d instead of 1000001/31d",
}
