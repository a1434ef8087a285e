//! The clock that the operating system sets.

use traffik_core::{Clock, EpochClock, Timestamp};

use super::source::{SystemTime, UNIX_EPOCH, micros};

/// The wall clock of the operating system, in microseconds since 1970.
///
/// Choose it where states outlive the process, or where several processes or hosts share them; else prefer
/// [`MonotonicClock`](crate::MonotonicClock). It may step, also backwards, when the system's time is set. A
/// time before that of a state then counts as the state's own, until a storage
/// [rebases](traffik_core::Strategy::rebase) the state.
///
/// ```
/// use traffik::{Clock, SystemClock, Timestamp};
///
/// assert!(SystemClock.now() > Timestamp::from_micros(1_577_836_800_000_000)); // 2020-01-01
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A time before 1970 counts as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus_micros(micros(since))
    }
}

impl EpochClock for SystemClock {}
