//! The time of a restored storage, as an offset from its clock.

use crate::Timestamp;

/// The microseconds by which the time of a restored storage is ahead of a clock that restarted at 0.
///
/// A clock that knows the calendar needs no offset, also if it learnt the time after the restore.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestoredOffset(u64);

/// The earliest time of the calendar, in 2005. No uptime is as long: 35 years.
const CALENDAR: Timestamp = Timestamp::from_micros(1 << 50);

impl RestoredOffset {
    /// No offset.
    pub(super) const NONE: Self = Self(0);

    /// Returns the offset with which a storage goes on from the time at which it was saved.
    pub(super) const fn from(saved: Timestamp, clock: Timestamp) -> Self {
        Self(saved.micros_since(clock))
    }

    /// Returns the time of the storage for a reading of its clock.
    #[inline]
    pub(super) fn of(self, clock: Timestamp) -> Timestamp {
        if clock >= CALENDAR { clock } else { clock.plus_micros(self.0) }
    }
}
