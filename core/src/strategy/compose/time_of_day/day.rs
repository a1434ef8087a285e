//! The local day, divided into hours.

use crate::Timestamp;
use crate::hours::{DAY, Hours, MINUTE};
use crate::strategy::StrategyError;

/// Checks one range of hours, apart from the others.
fn validate(hours: &Hours) -> Result<(), StrategyError> {
    if !hours.are_of_a_day() {
        Err(StrategyError::NotATime(*hours))
    } else if hours.from() == hours.to() {
        Err(StrategyError::EmptyHours(*hours))
    } else if hours.ratio().num() == 0 {
        Err(StrategyError::ZeroHours(*hours))
    } else {
        Ok(())
    }
}

/// Reports whether a time of day lies in a span, which may last over midnight.
#[inline]
fn holds((from, to): (u64, u64), time: u64) -> bool {
    // A span over midnight (from ≥ to) holds from `from` to midnight, and from midnight to `to`.
    if from < to { from <= time && time < to } else { from <= time || time < to }
}

/// A local day, divided into hours that do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day<const N: usize> {
    /// The first `length` count; the others fill up the array.
    hours: [Hours; N],
    /// The start and the end of each, in microseconds.
    spans: [(u64, u64); N],
    length: usize,
    /// The lead of local time over UTC, in microseconds less than a day.
    ahead: u64,
}

impl<const N: usize> Day<N> {
    pub(super) fn new(hours: &[Hours]) -> Result<Self, StrategyError> {
        let first = *hours.first().ok_or(StrategyError::NoHours)?;
        let length = hours.len();
        if length > N {
            return Err(StrategyError::TooManyHours(length, N));
        }
        hours.iter().try_for_each(validate)?;
        for (at, one) in hours.iter().enumerate() {
            // Two spans overlap exactly if one of them holds the start of the other.
            let overlaps =
                |other: &&Hours| holds(one.span(), other.from()) || holds(other.span(), one.from());
            if let Some(other) = hours.iter().skip(at + 1).find(overlaps) {
                return Err(StrategyError::OverlappingHours(*one, *other));
            }
        }
        let hours = core::array::from_fn(|at| *hours.get(at).unwrap_or(&first));
        Ok(Self { hours, spans: hours.map(|it| it.span()), length, ahead: 0 })
    }

    pub(super) fn with_offset(self, minutes: i32) -> Result<Self, StrategyError> {
        let ahead = i64::from(minutes) * MINUTE as i64;
        if ahead.unsigned_abs() >= DAY {
            return Err(StrategyError::UtcOffset(minutes));
        }
        // West of UTC the lead wraps: −5 h is a lead of 19 h, of the day before.
        Ok(Self { ahead: ahead.rem_euclid(DAY as i64) as u64, ..self })
    }

    pub(super) fn hours(&self) -> &[Hours] {
        self.hours.get(..self.length).unwrap_or_default()
    }

    fn spans(&self) -> &[(u64, u64)] {
        self.spans.get(..self.length).unwrap_or_default()
    }

    /// Returns the lead of local time over UTC, in microseconds.
    pub(super) const fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Returns the start and the end of these hours; `None` for the rest of the day.
    pub(super) fn span(&self, at: usize) -> Option<(u64, u64)> {
        self.spans().get(at).copied()
    }

    /// Returns the local time of day, in microseconds: `(at + ahead) mod DAY`.
    pub(super) fn time(&self, at: Timestamp) -> u64 {
        let local = at.as_micros() % DAY + self.ahead;
        local.checked_sub(DAY).unwrap_or(local)
    }

    /// Returns the index of the hours that hold, `N` for none, and when that may change next.
    #[inline]
    pub(super) fn at(&self, at: Timestamp) -> (usize, Timestamp) {
        let time = self.time(at);
        // A time of day that has passed comes again tomorrow.
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

    /// Reports whether the hours cover the whole day.
    pub(super) fn is_whole(&self) -> bool {
        self.hours().iter().map(Hours::length).sum::<u64>() >= DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ratio;

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
        assert_eq!(error(&[]), StrategyError::NoHours);
        for wrong in [((24, 0), (3, 0)), ((0, 60), (3, 0)), ((0, 0), (24, 1)), ((0, 0), (255, 255))] {
            assert_eq!(error(&[hours(wrong.0, wrong.1)]), StrategyError::NotATime(hours(wrong.0, wrong.1)));
        }
        assert_eq!(
            error(&[hours((3, 0), (3, 0))]).to_string(),
            "03:00-03:00 is empty; the whole day is 00:00-24:00"
        );
        let zero = Hours::new((1, 0), (2, 0), Ratio::ZERO);
        assert_eq!(error(&[zero]), StrategyError::ZeroHours(zero));
        let night = hours((22, 0), (6, 0));
        for other in [
            hours((5, 59), (7, 0)),
            hours((21, 0), (22, 1)),
            hours((0, 0), (24, 0)),
            hours((23, 0), (1, 0)),
            night,
        ] {
            assert_eq!(error(&[night, other]), StrategyError::OverlappingHours(night, other));
            assert_eq!(error(&[other, night]), StrategyError::OverlappingHours(other, night));
        }
        assert!(Day::<2>::new(&[night, hours((6, 0), (22, 0))]).unwrap().is_whole());
        assert!(!Day::<2>::new(&[night, hours((6, 0), (21, 59))]).unwrap().is_whole());
        let evening = hours((20, 0), (22, 0));
        let text = "3 ranges of hours are given, but there is room for 2; give fewer, or make room by the length \
                    of TimeOfDay";
        assert_eq!(error(&[night, evening, evening]).to_string(), text);
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
        assert_eq!(day.with_offset(1440), Err(StrategyError::UtcOffset(1440)));
        assert!(day.with_offset(-1439).is_ok());
    }
}
