//! The units of time of Envoy's limits, in its files and in its protocol.

use std::time::Duration;

/// The units, with their seconds. A month has 30 days and a year 365, as in Envoy's own service.
const UNITS: [(&str, u64); 7] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
    ("week", 604_800),
    ("month", 2_592_000),
    ("year", 31_536_000),
];

/// Returns the names of all units.
pub(crate) fn names() -> [&'static str; 7] {
    UNITS.map(|(name, _)| name)
}

/// Returns the period of a unit, by its name in small or capital letters.
pub(crate) fn period(name: &str) -> Option<Duration> {
    let known = UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, seconds)| Duration::from_secs(*seconds))
}

/// Returns the name of the unit with this period.
pub(crate) fn name(period: Duration) -> Option<&'static str> {
    UNITS.iter().find(|(_, seconds)| period == Duration::from_secs(*seconds)).map(|(name, _)| *name)
}
