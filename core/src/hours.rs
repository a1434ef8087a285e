//! Hours of the local day.

use core::fmt;

use crate::ratio::Ratio;

/// A part of the local day, and the ratio of the rate in it, for [`TimeOfDay`](crate::TimeOfDay).
///
/// ```
/// use traffik::{Gcra, Hours, Ratio, TimeOfDay, rate};
///
/// let night = Hours::new((22, 0), (6, 0), Ratio::new(3, 1)?);
/// let strategy = TimeOfDay::new(Gcra::new(rate!("100/min")), [night])?; // 300/min at night
/// assert_eq!(night.to_string(), "22:00-06:00");
/// # let _ = strategy;
/// # Ok::<(), traffik::StrategyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hours {
    from: (u8, u8),
    to: (u8, u8),
    ratio: Ratio,
}

/// A day in microseconds.
pub(crate) const DAY: u64 = 86_400_000_000;

/// A minute in microseconds.
pub(crate) const MINUTE: u64 = 60_000_000;

impl Hours {
    /// Creates the hours from one time of the local day, such as `(22, 30)`, until another.
    ///
    /// The end is not part of them, may be `(24, 0)`, and may lie on the next day: `(22, 0)` to `(6, 0)` is
    /// the night.
    #[must_use]
    pub const fn new(from: (u8, u8), to: (u8, u8), ratio: Ratio) -> Self {
        Self { from, to, ratio }
    }

    /// Returns the ratio of the rate in these hours.
    #[must_use]
    pub const fn ratio(&self) -> Ratio {
        self.ratio
    }

    /// Returns the time of day at which they begin, in microseconds.
    pub(crate) fn from(&self) -> u64 {
        micros(self.from)
    }

    /// Returns the time of day at which they end, in microseconds.
    pub(crate) fn to(&self) -> u64 {
        micros(self.to)
    }

    /// Returns the times of day at which they begin and end, in microseconds.
    pub(crate) fn span(&self) -> (u64, u64) {
        (self.from(), self.to())
    }

    /// Returns the length of these hours in microseconds.
    pub(crate) fn length(&self) -> u64 {
        // length = to - from, or over midnight DAY - from + to.
        if self.from() < self.to() { self.to() - self.from() } else { DAY - self.from() + self.to() }
    }

    /// Reports whether both ends are times of a day.
    pub(crate) fn are_of_a_day(&self) -> bool {
        let is_time = |(_, minute): (u8, u8)| minute < 60;
        is_time(self.from) && is_time(self.to) && self.from() < DAY && self.to() <= DAY
    }
}

fn micros((hour, minute): (u8, u8)) -> u64 {
    (u64::from(hour) * 60 + u64::from(minute)) * MINUTE
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.0, from.1, to.0, to.1)
    }
}
