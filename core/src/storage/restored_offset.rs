//! The time of a storage that was restored: how far it is ahead of its clock.

use crate::Timestamp;

/// The microseconds by which the time of a storage is ahead of a clock that began anew at a reset.
///
/// A clock that says a time of the calendar needs no help, also if it learnt it after the restore.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestoredOffset(u64);

/// The least time that is one of the calendar: in 2005. No uptime is as long as 35 years.
const CALENDAR: Timestamp = Timestamp::from_micros(1 << 50);

impl RestoredOffset {
    /// No offset.
    pub(super) const NONE: Self = Self(0);

    /// The offset with which a storage goes on from the time at which it was saved.
    pub(super) const fn from(saved: Timestamp, clock: Timestamp) -> Self {
        Self(saved.micros_since(clock))
    }

    /// The time of the storage.
    #[inline]
    pub(super) fn of(self, clock: Timestamp) -> Timestamp {
        if clock >= CALENDAR { clock } else { clock.plus_micros(self.0) }
    }
}
