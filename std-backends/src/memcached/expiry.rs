//! Expiry times of items, in whole seconds: relative to now, or as a time since 1970.

use std::time::Duration;

use traffik_core::Timestamp;

use super::clock::{LAST, LATE};

/// The longest relative expiry, in seconds; a server reads more as a time since 1970.
const RELATIVE: u64 = 30 * DAY;
const DAY: u64 = 24 * 3_600;

/// Seconds that an item is kept beyond its rest. The server's second may be about to end, and the next one
/// may be skipped.
pub(super) const SPARE: u64 = 2;

/// The same for states. Another host's clock may be behind: its window may go on when this host's has ended,
/// and must find the state.
pub(super) const STATE_SPARE: u64 = SPARE + LATE;

/// Returns the expiry that keeps an item for at least `rest` and `spare` seconds.
///
/// Beyond 30 days the expiry is a time, plus a day in case the server's time is not known. A time after 2038
/// cannot be expressed, and the item never expires.
pub(super) fn expiry(rest: Duration, spare: u64, now: impl FnOnce() -> Timestamp) -> u32 {
    const FOR_EVER: u32 = 0;
    let whole = rest.as_secs().saturating_add(u64::from(rest.subsec_nanos() > 0));
    let seconds = whole.saturating_add(spare);
    let since_1970 = || (now().as_micros() / 1_000_000).saturating_add(seconds).saturating_add(DAY);
    let expiry = if seconds <= RELATIVE { seconds } else { since_1970() };
    u32::try_from(expiry).ok().filter(|expiry| *expiry <= LAST).unwrap_or(FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        let expiry_of = |micros| expiry(Duration::from_micros(micros), SPARE, || Timestamp::EPOCH);
        assert_eq!([expiry_of(0), expiry_of(1), expiry_of(1_000_000), expiry_of(1_000_001)], [2, 3, 3, 4]);
    }

    #[test]
    fn beyond_thirty_days_it_is_a_time_and_beyond_all_times_for_ever() {
        let now = 1_800_000_000;
        let at = Timestamp::from_micros(now * 1_000_000 + 999_999);
        let days = |days: u64| expiry(Duration::from_secs(days * DAY), SPARE, || at);
        assert_eq!(u64::from(days(29)), 29 * DAY + SPARE);
        assert_eq!(expiry(Duration::from_secs(RELATIVE - SPARE), SPARE, || at), 30 * 24 * 3_600);
        assert_eq!(u64::from(days(30)), now + 31 * DAY + SPARE);
        assert_eq!(u64::from(days(31)), now + 32 * DAY + SPARE);
        assert_eq!([days(40 * 365), expiry(Duration::MAX, SPARE, || at)], [0; 2]);
    }
}
