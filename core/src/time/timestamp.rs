//! The point in time, in whole microseconds.

use core::fmt;
use core::time::Duration;

/// A point in time: whole microseconds since an epoch, the Unix epoch where the clock knows it.
///
/// Every time in traffik has this unit. Microseconds since 1970 stay exact in the doubles of a store's
/// scripting language until the year 2255; nanoseconds would not. All arithmetic saturates.
///
/// ```
/// use core::time::Duration;
/// use traffik::Timestamp;
///
/// let start = Timestamp::from_micros(1_500_000);
/// let later = start + Duration::from_secs(2);
/// assert_eq!(later.since(start), Duration::from_secs(2));
/// assert_eq!(start.since(later), Duration::ZERO); // never negative
/// assert_eq!(start.to_string(), "1.500000"); // seconds
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first point in time of the clock.
    pub const EPOCH: Self = Self(0);
    /// The last point in time that can be expressed.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the point `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the microseconds from `earlier` to this point; 0 if it is not after `earlier`.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the point `micros` microseconds after this one.
    #[must_use]
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Returns the time from `earlier` to this point; zero if it is not after `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }
}

impl core::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Moves later; a fraction of a microsecond rounds up, so that a wait is never cut short.
    fn add(self, wait: Duration) -> Self {
        self.plus_micros(micros_ceil(wait))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A timestamp as two halves of 32 bits, without the alignment of 64 bits.
///
/// A state that holds one and numbers of 32 bits then wastes no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Halves([u32; 2]);

impl Halves {
    pub(crate) const fn of(at: Timestamp) -> Self {
        Self([(at.0 >> 32) as u32, at.0 as u32])
    }

    pub(crate) const fn whole(self) -> Timestamp {
        // timestamp = high · 2³² + low.
        let [high, low] = self.0;
        Timestamp((high as u64) << 32 | low as u64)
    }
}

/// Returns a duration in whole microseconds, rounded up; the largest number if it is longer than that.
pub(crate) const fn micros_ceil(duration: Duration) -> u64 {
    // micros = secs · 10⁶ + ceil(nanos / 1000), saturating: Duration::MAX waits for ever.
    let part = duration.subsec_nanos().div_ceil(1_000) as u64;
    duration.as_secs().saturating_mul(1_000_000).saturating_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_waits_round_up() {
        assert_eq!(Timestamp::MAX.plus_micros(1), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.micros_since(Timestamp::MAX), 0);
        assert_eq!(Timestamp::EPOCH + Duration::from_nanos(1), Timestamp::from_micros(1));
        assert_eq!(Timestamp::EPOCH + Duration::MAX, Timestamp::MAX);
    }
}
