//! The error of a rate: its cause, and its place in the text.

use core::fmt;

/// The error of a text or a period that is no rate, with the place in the text.
///
/// It displays as advice on what would be right.
///
/// ```
/// use traffik::{Rate, RateError};
///
/// let error: RateError = "5/month".parse::<Rate>().unwrap_err();
/// assert_eq!((error.offset(), error.found()), (2, Some('m')));
/// assert_eq!(
///     error.to_string(),
///     "at character 3 ('m'): months and years vary in length; say how many days, such as 30d"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RateError {
    pub(super) kind: RateErrorKind,
    /// The number of characters before the refused one. All of them are ASCII, so it is also an offset in
    /// bytes.
    pub(super) at: usize,
    pub(super) found: Option<char>,
}

/// The cause of a [`RateError`].
///
/// ```
/// use traffik::{Rate, RateErrorKind};
///
/// let error = "unlimited".parse::<Rate>().unwrap_err();
/// assert_eq!(error.kind(), RateErrorKind::NoLimitAtAll);
/// assert_eq!(error.advice(), "no limit at all is written 0/0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RateErrorKind {
    /// The text is empty or blank.
    Empty,
    /// A limit was expected.
    NoLimit,
    /// A word such as `unlimited` stands for no limit, which is written `0/0`.
    NoLimitAtAll,
    /// A 0 without a period.
    BareZero,
    /// A number has a sign.
    Signed,
    /// A character outside ASCII, such as a digit of another script.
    NotAscii,
    /// Digits are grouped by `_`, `,` or the like.
    GroupedDigits,
    /// A fraction, such as `1.5`.
    Fraction,
    /// The limit exceeds 4 294 967 295.
    LimitTooLarge,
    /// `/` or `per` was expected.
    NoSeparator,
    /// A period was expected.
    NoPeriod,
    /// A unit was expected after the number of a period.
    NoUnit,
    /// Months and years vary in length.
    VaryingUnit,
    /// The unit does not exist.
    UnknownUnit,
    /// Something follows the period that is no part of it.
    AfterPeriod,
    /// The period is zero.
    ZeroPeriod,
    /// The period exceeds 2⁵³ − 1 microseconds, about 285 years.
    PeriodTooLong,
    /// The period is not a whole number of microseconds.
    FractionOfMicrosecond,
}

impl RateError {
    pub(super) const fn of(kind: RateErrorKind) -> Self {
        Self { kind, at: 0, found: None }
    }

    /// Returns the cause.
    #[doc(hidden)]
    #[must_use]
    pub const fn kind(&self) -> RateErrorKind {
        self.kind
    }

    /// Returns the number of characters before the refused one, which is also its offset in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Returns the refused character; `None` at the end of the text, and for a rate that is not from a text.
    #[must_use]
    pub const fn found(&self) -> Option<char> {
        self.found
    }

    /// Returns the advice: what would be right.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self.kind {
            RateErrorKind::Empty => "the rate is empty; write a limit and a period, such as 100/min",
            RateErrorKind::NoLimit => "a rate starts with its limit, a whole number, such as 100/min",
            RateErrorKind::NoLimitAtAll => "no limit at all is written 0/0",
            RateErrorKind::BareZero => "write 0/s to admit nothing, or 0/0 for no limit at all",
            RateErrorKind::Signed => "numbers have no sign; write 5/s, or 0/0 for no limit at all",
            RateErrorKind::NotAscii => "only ASCII is read; write digits as 0 to 9, and microseconds as us",
            RateErrorKind::GroupedDigits => "digits are not grouped; write 1000/s",
            RateErrorKind::Fraction => {
                "only whole numbers are read; write 1500ms for 1.5s, and 3/2s for 1.5/s"
            }
            RateErrorKind::LimitTooLarge => "a limit is at most 4294967295; count in a larger unit of cost",
            RateErrorKind::NoSeparator => {
                "write '/' or 'per' between limit and period, such as 100/min or 100 per min"
            }
            RateErrorKind::NoPeriod => {
                "a period is missing; write a unit or a number with a unit, such as s or 10s"
            }
            RateErrorKind::NoUnit => "a number of the period needs a unit; write us, ms, s, min, h, d or w",
            RateErrorKind::VaryingUnit => "months and years vary in length; say how many days, such as 30d",
            RateErrorKind::UnknownUnit => "no such unit; the units are us, ms, s, min, h, d and w",
            RateErrorKind::AfterPeriod => {
                "nothing is read after the period; a further unit needs a number, such as 1h30m"
            }
            RateErrorKind::ZeroPeriod => "a period is at least 1us; write 0/0 for no limit at all",
            RateErrorKind::PeriodTooLong => "a period is at most 9007199254740991us, about 285 years",
            RateErrorKind::FractionOfMicrosecond => "a period is a whole number of microseconds; round it up",
        }
    }
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Some(found) => write!(f, "at character {} ({found:?}): {}", self.at + 1, self.advice()),
            None if self.at > 0 => write!(f, "at the end, after character {}: {}", self.at, self.advice()),
            None => f.write_str(self.advice()),
        }
    }
}

impl core::error::Error for RateError {}
