//! The rate: a limit per period.

use core::fmt;
use core::time::Duration;

use crate::Ratio;
use crate::divide::divide;
use crate::ratio::gcd;

mod error;
mod parse;

pub use error::{RateError, RateErrorKind};

/// A rate: a limit per period, such as 100 per minute.
///
/// Every strategy is built from one. Write it as [`rate!`](crate::rate!), which the compiler checks; parse it
/// from a configuration; or call [`per_second`](Self::per_second) and the like.
///
/// ```
/// use core::time::Duration;
/// use traffik::{Rate, rate};
///
/// const API: Rate = rate!("100/min"); // checked while compiling
/// assert_eq!(API, Rate::per_minute(100));
/// assert_eq!("5 per 10 seconds".parse(), Rate::new(5, Duration::from_secs(10)));
/// assert_eq!("3/1h30m".parse(), Rate::new(3, Duration::from_secs(90 * 60)));
/// assert!("0/0".parse::<Rate>()?.is_unlimited());
/// # Ok::<(), traffik::RateError>(())
/// ```
///
/// A text is `limit/period` or `limit per period`. The limit is a whole number up to 4 294 967 295. The
/// period is whole numbers with units that add up; a unit alone means one of it. Units are `us`, `ms`, `s`,
/// `m`, `h`, `d` and `w`, their usual abbreviations and full names in either number, in upper or lower case.
/// A limit of 0 admits nothing. `0/0` is unlimited, and nothing else is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    limit: u32,
    /// The period in microseconds; 0 stands for "unlimited" and for nothing else.
    period: u64,
}

/// The longest period, in microseconds: 2⁵³ − 1 (about 285 years), up to which the doubles of a store's
/// scripting language count exactly.
const LONGEST_PERIOD: u128 = (1 << 53) - 1;

impl Rate {
    /// The rate without a limit.
    pub const UNLIMITED: Self = Self { limit: 0, period: 0 };

    /// Creates a rate of `limit` per `period`.
    ///
    /// # Errors
    ///
    /// Fails if the period is not a whole number of microseconds, is zero, or exceeds 2⁵³ − 1 microseconds
    /// (about 285 years).
    pub const fn new(limit: u32, period: Duration) -> Result<Self, RateError> {
        // A fraction would make the interval inexact for ever, so it is refused and not rounded.
        if period.as_nanos() <= LONGEST_PERIOD * 1000 && !period.as_nanos().is_multiple_of(1000) {
            return Err(RateError::of(RateErrorKind::FractionOfMicrosecond));
        }
        Self::of_micros(limit, period.as_nanos() / 1000)
    }

    /// Creates a rate of `limit` per second.
    #[must_use]
    pub const fn per_second(limit: u32) -> Self {
        Self { limit, period: 1_000_000 }
    }

    /// Creates a rate of `limit` per minute.
    #[must_use]
    pub const fn per_minute(limit: u32) -> Self {
        Self { limit, period: 60_000_000 }
    }

    /// Creates a rate of `limit` per hour.
    #[must_use]
    pub const fn per_hour(limit: u32) -> Self {
        Self { limit, period: 3_600_000_000 }
    }

    /// Creates a rate of `limit` per day of 24 hours.
    #[must_use]
    pub const fn per_day(limit: u32) -> Self {
        Self { limit, period: 86_400_000_000 }
    }

    /// Creates a rate of `limit` per week of seven days.
    #[must_use]
    pub const fn per_week(limit: u32) -> Self {
        Self { limit, period: 7 * 86_400_000_000 }
    }

    const fn of_micros(limit: u32, period: u128) -> Result<Self, RateError> {
        // 0 would stand for "unlimited", so no period of 0 comes from arithmetic.
        match period {
            0 => Err(RateError::of(RateErrorKind::ZeroPeriod)),
            1..=LONGEST_PERIOD => Ok(Self { limit, period: period as u64 }),
            _ => Err(RateError::of(RateErrorKind::PeriodTooLong)),
        }
    }

    /// Returns the limit in one period; `u32::MAX` if unlimited.
    #[must_use]
    pub const fn limit(self) -> u32 {
        if self.is_unlimited() { u32::MAX } else { self.limit }
    }

    /// Returns the period; zero if unlimited.
    #[must_use]
    pub const fn period(self) -> Duration {
        Duration::from_micros(self.period)
    }

    /// Returns a part of a rate: this limit in the same period.
    pub(crate) const fn of_quota(limit: u32, rate: Self) -> Self {
        Self { limit, ..rate }
    }

    /// Returns the limit, and the period in microseconds; both are 0 if unlimited.
    #[inline]
    pub(crate) const fn plain(self) -> (u32, u64) {
        (self.limit, self.period)
    }

    pub(crate) const fn period_micros(self) -> u64 {
        self.period
    }

    /// Reports whether this many microseconds are the period of some rate.
    pub(crate) const fn is_period(micros: u64) -> bool {
        micros > 0 && micros as u128 <= LONGEST_PERIOD
    }

    /// Reports whether this is [`Rate::UNLIMITED`].
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.period == 0
    }

    /// Reports whether the period is shorter than a second.
    #[must_use]
    pub const fn is_subsecond(self) -> bool {
        !self.is_unlimited() && self.period < 1_000_000
    }

    /// Returns the exact rate as cost per microsecond, in lowest terms; `None` if unlimited.
    #[must_use]
    pub fn per_micro(self) -> Option<Ratio> {
        self.per_micros(1)
    }

    /// Returns the exact cost per second; `None` if unlimited or beyond 64 bits.
    #[must_use]
    pub fn rps(self) -> Option<Ratio> {
        self.per_micros(1_000_000)
    }

    /// Returns the exact cost per minute; `None` if unlimited or beyond 64 bits.
    #[must_use]
    pub fn rpm(self) -> Option<Ratio> {
        self.per_micros(60_000_000)
    }

    /// Returns the exact cost per hour; `None` if unlimited or beyond 64 bits.
    #[must_use]
    pub fn rph(self) -> Option<Ratio> {
        self.per_micros(3_600_000_000)
    }

    /// Returns the exact cost per day; `None` if unlimited or beyond 64 bits.
    #[must_use]
    pub fn rpd(self) -> Option<Ratio> {
        self.per_micros(86_400_000_000)
    }

    fn per_micros(self, span: u64) -> Option<Ratio> {
        // limit · span / period, with span and period divided by their divisor first, so that less overflows.
        let divisor = gcd(span, self.period);
        let hits = Ratio::new(self.limit.into(), divide(self.period, divisor).0).ok()?;
        Ratio::new(hits.num().checked_mul(divide(span, divisor).0)?, hits.den()).ok()
    }

    /// Returns the same period with the limit multiplied by `ratio`, rounded down but never below 1.
    ///
    /// A rate that admits nothing keeps admitting nothing, and unlimited stays unlimited: arithmetic neither
    /// reaches nor leaves either.
    #[must_use]
    pub const fn scaled(self, ratio: Ratio) -> Self {
        Self { limit: ratio.part_of(self.limit), period: self.period }
    }
}

/// A [`Rate`] that is checked while compiling: `rate!("100/min")`.
///
/// A text that is no rate is a compile error that says what would be right.
///
/// ```
/// use traffik::{Rate, rate};
///
/// let monthly = rate!("5/30d");
/// assert_eq!(monthly.limit(), 5);
/// ```
///
/// ```compile_fail
/// let wrong = traffik::rate!("5/month");
/// ```
#[macro_export]
macro_rules! rate {
    // As an item it is checked even where no code is generated: by `cargo check` and in editors.
    ($text:literal) => {{
        const RATE: $crate::Rate = $crate::rate!(($text));
        RATE
    }};
    ($text:expr) => {
        const {
            match $crate::Rate::parse($text) {
                Ok(rate) => rate,
                Err(error) => panic!("{}", error.advice()),
            }
        }
    };
}

/// The units from the longest, with the name that `Display` uses.
const UNITS: [(u64, &str); 7] = [
    (7 * 86_400_000_000, "w"),
    (86_400_000_000, "d"),
    (3_600_000_000, "h"),
    (60_000_000, "m"),
    (1_000_000, "s"),
    (1_000, "ms"),
    (1, "us"),
];

impl fmt::Display for Rate {
    /// Prints the shortest text that parses to the same rate, in one unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The longest unit that divides the period: period = count · unit.
        let whole = |unit: &&(u64, &str)| self.period != 0 && self.period.is_multiple_of(unit.0);
        match UNITS.iter().find(whole) {
            None => f.write_str("0/0"),
            Some(&(unit, name)) if unit == self.period => write!(f, "{}/{name}", self.limit),
            Some(&(unit, name)) => write!(f, "{}/{}{name}", self.limit, self.period / unit),
        }
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_round_trips() {
        for text in ["100/m", "5/10s", "1000/500ms", "5/2900ms", "3/31d", "1/w", "7/us", "0/0", "0/s"] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), text);
        }
        assert_eq!(Rate::per_day(2).to_string(), "2/d");
        assert_eq!(Rate::new(1, Duration::from_secs(90)).unwrap().to_string(), "1/90s");
    }

    #[test]
    fn unlimited_is_out_of_reach_of_arithmetic() {
        let tiny = Ratio::new(1, 1_000).unwrap();
        assert_eq!(Rate::per_second(5).scaled(tiny), Rate::per_second(1));
        assert_eq!(Rate::per_second(0).scaled(tiny), Rate::per_second(0));
        assert!(Rate::UNLIMITED.scaled(tiny).is_unlimited());
        assert_eq!(Rate::new(0, Duration::ZERO).unwrap_err().kind(), RateErrorKind::ZeroPeriod);
    }

    #[test]
    fn rates_are_exact() {
        let rate: Rate = "3/31d".parse().unwrap();
        assert_eq!(rate.rpd(), Ratio::new(3, 31).ok());
        assert_eq!(rate.rps(), Ratio::new(3, 31 * 86_400).ok());
        assert_eq!(rate.rpm(), Ratio::new(3, 31 * 1_440).ok());
        assert_eq!(rate.rph(), Ratio::new(3, 31 * 24).ok());
        assert_eq!(Rate::UNLIMITED.rps(), None);
        assert_eq!(Rate::new(u32::MAX, Duration::from_micros(1)).unwrap().rpd(), None, "beyond 64 bits");
        assert!("1000/500ms".parse::<Rate>().unwrap().is_subsecond());
        assert!(!Rate::per_second(1).is_subsecond());
    }

    #[test]
    fn a_period_must_be_whole_microseconds_and_countable() {
        let kind = |period| Rate::new(1, period).unwrap_err().kind();
        assert_eq!(kind(Duration::from_nanos(1_500)), RateErrorKind::FractionOfMicrosecond);
        assert_eq!(kind(Duration::MAX), RateErrorKind::PeriodTooLong);
        assert_eq!(kind(Duration::from_secs(u64::MAX)), RateErrorKind::PeriodTooLong);
        assert!(Rate::new(1, Duration::from_micros(LONGEST_PERIOD as u64)).is_ok());
        assert_eq!(kind(Duration::from_micros(LONGEST_PERIOD as u64 + 1)), RateErrorKind::PeriodTooLong);
    }
}
