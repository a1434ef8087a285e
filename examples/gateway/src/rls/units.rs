//! The units of the protocol.

use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use crate::limits::units;

/// Returns the period of a unit, by its number in the protocol.
pub(super) fn period(unit: i32) -> Option<Duration> {
    units::period(Unit::try_from(unit).ok()?.as_str_name())
}

/// Returns the unit of a period; unknown if the protocol has none.
pub(super) fn unit(period: Duration) -> Unit {
    let name = units::name(period).map(str::to_ascii_uppercase);
    name.and_then(|name| Unit::from_str_name(&name)).unwrap_or(Unit::Unknown)
}
