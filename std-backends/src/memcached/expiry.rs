//! How long a server is told to keep an item: in whole seconds, as seconds from now or as a time.

use std::time::Duration;

use traffik_core::Clock;

use crate::SystemClock;

/// The longest that a server counts from now on; more is taken for a time since 1970.
const RELATIVE: u64 = 30 * DAY;
const DAY: u64 = 24 * 3_600;

/// What keeps an item at least for so long.
///
/// Rounded up, and a second more: the server's second may be about to end. Beyond 30 days a time is told, by the wall
/// clock, and a day more, so that an item outlives what is in it also if the server's wall clock is ahead by as much. What
/// is later than 2038 cannot be told, and is kept for ever.
pub(super) fn expiry(rest: Duration) -> u32 {
    expiry_at(rest, SystemClock.now().as_micros() / 1_000_000)
}

fn expiry_at(rest: Duration, now: u64) -> u32 {
    const FOR_EVER: u32 = 0;
    let seconds = rest.as_secs().saturating_add(if rest.subsec_nanos() > 0 { 2 } else { 1 });
    let told = if seconds <= RELATIVE { seconds } else { now.saturating_add(seconds).saturating_add(DAY) };
    // The server reads a signed number of 32 bits.
    i32::try_from(told).map_or(FOR_EVER, i32::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        let told = |micros| expiry_at(Duration::from_micros(micros), 1_800_000_000);
        assert_eq!([told(0), told(1), told(1_000_000), told(1_000_001)], [1, 2, 2, 3]);
    }

    #[test]
    fn beyond_thirty_days_it_is_a_time_and_beyond_all_times_for_ever() {
        let now = 1_800_000_000;
        let days = |days: u64| expiry_at(Duration::from_secs(days * DAY), now);
        assert_eq!(u64::from(days(29)), 29 * DAY + 1);
        assert_eq!(expiry_at(Duration::from_secs(RELATIVE - 1), now), 30 * 24 * 3_600);
        assert_eq!(u64::from(days(30)), now + 31 * DAY + 1);
        assert_eq!(u64::from(days(31)), now + 32 * DAY + 1);
        assert_eq!([days(40 * 365), expiry_at(Duration::MAX, now)], [0; 2]);
    }
}
