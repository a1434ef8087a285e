//! The units of the protocol.

use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

/// The units of the protocol. A month has 30 days and a year 365, as in Envoy's own service.
const UNITS: [(Unit, u64); 7] = [
    (Unit::Second, 1),
    (Unit::Minute, 60),
    (Unit::Hour, 3_600),
    (Unit::Day, 86_400),
    (Unit::Week, 604_800),
    (Unit::Month, 2_592_000),
    (Unit::Year, 31_536_000),
];

/// Returns the period of a unit, by its number in the protocol.
pub(super) fn period(unit: i32) -> Option<Duration> {
    let known = UNITS.iter().find(|(known, _)| *known as i32 == unit);
    known.map(|(_, seconds)| Duration::from_secs(*seconds))
}

/// Returns the unit of a period; unknown if the protocol has none.
pub(super) fn unit(period: Duration) -> Unit {
    let known = UNITS.iter().find(|(_, seconds)| period == Duration::from_secs(*seconds));
    known.map_or(Unit::Unknown, |(unit, _)| *unit)
}
