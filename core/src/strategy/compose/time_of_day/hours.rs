//! Hours of the local day, and which of them hold when.

use core::fmt;

use crate::strategy::CapacityError;
use crate::{Ratio, Timestamp};

/// A part of the local day, and the ratio of the rate that holds in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hours {
    from: (u8, u8),
    to: (u8, u8),
    ratio: Ratio,
}

/// Why hours cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HoursError {
    /// No hours were given.
    NoHours,
    /// More hours than the limit has room for: how many there are, and for how many there is room.
    TooMany(usize, usize),
    /// A time is not one of a day.
    NotATime(Hours),
    /// Hours end when they begin.
    Empty(Hours),
    /// Two of the hours overlap.
    Overlap(Hours, Hours),
    /// Hours have a ratio of 0.
    ZeroRatio(Hours),
    /// Local time differs by a day or more from UTC.
    Offset(i32),
    /// The limit is so slow that the hours of more than thirty years decide what is left of it.
    TooSlow,
    /// A limit cannot be counted exactly.
    TooLarge(CapacityError),
}

impl fmt::Display for HoursError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHours => f.write_str("no hours are given; without any the limit need not be wrapped"),
            Self::TooMany(given, room) => write!(f, "{given} hours are given; there is room for {room}"),
            Self::NotATime(hours) => write!(f, "{hours}: a day has times from 00:00 to 24:00, and begins before 24:00"),
            Self::Empty(hours) => write!(f, "{hours} is empty; the whole day is 00:00-24:00"),
            Self::Overlap(one, other) => {
                write!(f, "{one} and {other} overlap; the end of hours is not part of them, so one may begin there")
            }
            Self::ZeroRatio(hours) => {
                write!(f, "{hours} has a ratio of 0, which no limit is scaled to; give one above 0")
            }
            Self::Offset(minutes) => {
                write!(f, "an offset of {minutes} minutes from UTC; it is less than a day, such as 330 for +05:30")
            }
            Self::TooSlow => f.write_str(
                "this limit may take more than thirty years to become fresh, and hours are followed no longer; give \
                 it a shorter period or a smaller burst, or ratios that are less apart",
            ),
            Self::TooLarge(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for HoursError {}

/// A day in microseconds.
pub(super) const DAY: u64 = 86_400_000_000;

const MINUTE: u64 = 60_000_000;

impl Hours {
    /// From one time of the day, such as `(22, 30)`, until another, both in local time. The end is not part of
    /// it, may be `(24, 0)`, and may lie on the next day: `(22, 0)` to `(6, 0)` is the night.
    #[must_use]
    pub const fn new(from: (u8, u8), to: (u8, u8), ratio: Ratio) -> Self {
        Self { from, to, ratio }
    }

    /// The ratio of the rate that holds in these hours.
    #[must_use]
    pub const fn ratio(&self) -> Ratio {
        self.ratio
    }

    fn from(&self) -> u64 {
        micros(self.from)
    }

    fn to(&self) -> u64 {
        micros(self.to)
    }

    /// Whether a local time of day, in microseconds, is one of these.
    fn holds(&self, time: u64) -> bool {
        holds((self.from(), self.to()), time)
    }

    /// How long these hours last, in microseconds.
    fn length(&self) -> u64 {
        if self.from() < self.to() { self.to() - self.from() } else { DAY - self.from() + self.to() }
    }

    fn validate(&self) -> Result<(), HoursError> {
        let is_time = |(_, minute): (u8, u8)| minute < 60;
        if !is_time(self.from) || !is_time(self.to) || self.from() >= DAY || self.to() > DAY {
            Err(HoursError::NotATime(*self))
        } else if self.from() == self.to() {
            Err(HoursError::Empty(*self))
        } else if self.ratio.num() == 0 {
            Err(HoursError::ZeroRatio(*self))
        } else {
            Ok(())
        }
    }
}

/// Whether a time of day lies in a span, which may last over midnight.
#[inline]
fn holds((from, to): (u64, u64), time: u64) -> bool {
    if from < to { from <= time && time < to } else { from <= time || time < to }
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

/// A local day cut into hours that do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day<const N: usize> {
    /// The first `length` count; the others only fill up the array.
    hours: [Hours; N],
    /// Where they begin and end, in microseconds.
    spans: [(u64, u64); N],
    length: usize,
    /// How far local time is ahead of UTC, in microseconds less than a day.
    ahead: u64,
}

impl<const N: usize> Day<N> {
    pub(super) fn new(hours: &[Hours]) -> Result<Self, HoursError> {
        let first = *hours.first().ok_or(HoursError::NoHours)?;
        let length = hours.len();
        if length > N {
            return Err(HoursError::TooMany(length, N));
        }
        hours.iter().try_for_each(Hours::validate)?;
        for (at, one) in hours.iter().enumerate() {
            let overlaps = |other: &&Hours| one.holds(other.from()) || other.holds(one.from());
            if let Some(other) = hours.iter().skip(at + 1).find(overlaps) {
                return Err(HoursError::Overlap(*one, *other));
            }
        }
        let hours = core::array::from_fn(|at| *hours.get(at).unwrap_or(&first));
        Ok(Self { hours, spans: hours.map(|it| (it.from(), it.to())), length, ahead: 0 })
    }

    pub(super) fn with_offset(self, minutes: i32) -> Result<Self, HoursError> {
        let ahead = i64::from(minutes) * MINUTE as i64;
        if ahead.unsigned_abs() >= DAY {
            return Err(HoursError::Offset(minutes));
        }
        Ok(Self { ahead: ahead.rem_euclid(DAY as i64) as u64, ..self })
    }

    pub(super) fn hours(&self) -> &[Hours] {
        self.hours.get(..self.length).unwrap_or_default()
    }

    fn spans(&self) -> &[(u64, u64)] {
        self.spans.get(..self.length).unwrap_or_default()
    }

    /// How far local time is ahead of UTC, in microseconds.
    pub(super) const fn ahead(&self) -> u64 {
        self.ahead
    }

    /// When these hours begin and end; `None` for the time that is left.
    pub(super) fn span(&self, at: usize) -> Option<(u64, u64)> {
        self.spans().get(at).copied()
    }

    /// The local time of day, in microseconds.
    pub(super) fn time(&self, at: Timestamp) -> u64 {
        let local = at.as_micros() % DAY + self.ahead;
        local.checked_sub(DAY).unwrap_or(local)
    }

    /// Which of the hours hold, `N` for none of them, and when that may change next.
    #[inline]
    pub(super) fn at(&self, at: Timestamp) -> (usize, Timestamp) {
        let time = self.time(at);
        let until = |then: u64| if then > time { then - time } else { DAY - time + then };
        let mut rest = DAY;
        for (holding, span) in self.spans().iter().enumerate() {
            if holds(*span, time) {
                return (holding, at.plus_micros(until(span.1)));
            }
            rest = rest.min(until(span.0));
        }
        (N, at.plus_micros(rest))
    }

    /// Whether no time of the day is left out.
    pub(super) fn is_whole(&self) -> bool {
        self.hours().iter().map(Hours::length).sum::<u64>() >= DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: (u8, u8), to: (u8, u8)) -> Hours {
        Hours::new(from, to, Ratio::ONE)
    }

    fn at(hour: u64, minute: u64) -> Timestamp {
        Timestamp::from_micros(3 * DAY + (hour * 60 + minute) * MINUTE)
    }

    #[test]
    fn hours_that_are_none_are_refused() {
        let error = |hours: &[Hours]| match *hours {
            [] => Day::<0>::new(&[]).unwrap_err(),
            ref hours => Day::<2>::new(hours).unwrap_err(),
        };
        assert_eq!(error(&[]), HoursError::NoHours);
        for wrong in [((24, 0), (3, 0)), ((0, 60), (3, 0)), ((0, 0), (24, 1)), ((0, 0), (255, 255))] {
            assert_eq!(error(&[hours(wrong.0, wrong.1)]), HoursError::NotATime(hours(wrong.0, wrong.1)));
        }
        assert_eq!(
            error(&[hours((3, 0), (3, 0))]).to_string(),
            "03:00-03:00 is empty; the whole day is 00:00-24:00"
        );
        let zero = Hours::new((1, 0), (2, 0), Ratio::ZERO);
        assert_eq!(error(&[zero]), HoursError::ZeroRatio(zero));
        let night = hours((22, 0), (6, 0));
        for other in [
            hours((5, 59), (7, 0)),
            hours((21, 0), (22, 1)),
            hours((0, 0), (24, 0)),
            hours((23, 0), (1, 0)),
            night,
        ] {
            assert_eq!(error(&[night, other]), HoursError::Overlap(night, other));
            assert_eq!(error(&[other, night]), HoursError::Overlap(other, night));
        }
        assert!(Day::<2>::new(&[night, hours((6, 0), (22, 0))]).unwrap().is_whole());
        assert!(!Day::<2>::new(&[night, hours((6, 0), (21, 59))]).unwrap().is_whole());
        let evening = hours((20, 0), (22, 0));
        assert_eq!(error(&[night, evening, evening]).to_string(), "3 hours are given; there is room for 2");
    }

    #[test]
    fn the_night_spans_midnight() {
        let day = Day::<2>::new(&[hours((22, 0), (6, 0)), hours((12, 0), (13, 30))]).unwrap();
        let next = |hour, minute| day.at(at(hour, minute));
        assert_eq!(next(21, 59), (2, at(22, 0)));
        assert_eq!(next(22, 0), (0, at(30, 0)));
        assert_eq!(next(5, 59), (0, at(6, 0)));
        assert_eq!(next(6, 0), (2, at(12, 0)));
        assert_eq!(next(13, 29), (1, at(13, 30)));
        assert_eq!(day.at(Timestamp::MAX).1, Timestamp::MAX);
    }

    #[test]
    fn offsets_of_half_an_hour_move_the_day() {
        let day = Day::<1>::new(&[hours((0, 0), (12, 0))]).unwrap();
        let india = day.with_offset(330).unwrap();
        assert_eq!(india.at(at(18, 29)), (1, at(18, 30)));
        assert_eq!(india.at(at(18, 30)), (0, at(30, 30)));
        let marquesas = day.with_offset(-570).unwrap();
        assert_eq!(marquesas.at(at(9, 29)).0, 1);
        assert_eq!(marquesas.at(at(9, 30)), (0, at(21, 30)));
        assert_eq!(day.with_offset(1440), Err(HoursError::Offset(1440)));
        assert!(day.with_offset(-1439).is_ok());
    }
}
