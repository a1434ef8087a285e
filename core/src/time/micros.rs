//! The form of waits in serde (feature `serde`): whole microseconds, rounded up.

use core::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

use super::micros_ceil;

pub(crate) fn serialize<S: Serializer>(wait: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(micros_ceil(*wait))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_micros)
}
