//! Detection of silent connections, also where no call waits long enough to see one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time since which a connection has answered nothing, if a call on it was abandoned.
pub(super) struct ResponseWatchdog {
    made: Instant,
    /// Microseconds from `made` to the abandoned call, plus 1; 0 if no call was abandoned.
    since: AtomicU64,
    /// The number of reads with bytes by then.
    heard: AtomicU64,
}

impl ResponseWatchdog {
    pub(super) fn new() -> Self {
        Self { made: Instant::now(), since: AtomicU64::new(0), heard: AtomicU64::new(0) }
    }

    /// Watches a call that is sent at this time, after so many reads.
    pub(super) const fn sent(&self, at: Instant, heard: u64) -> CallWatch<'_> {
        CallWatch { watchdog: self, at, heard, is_answered: false }
    }

    /// Returns whether the silence has lasted longer than `limit`. Any bytes end it, even an answer that
    /// comes too late for its call, as over a long distance.
    #[inline]
    pub(super) fn is_longer_than(&self, limit: Duration, heard: u64, now: impl FnOnce() -> Instant) -> bool {
        match self.since.load(Ordering::Relaxed) {
            0 => false,
            since if heard == self.heard.load(Ordering::Relaxed) => {
                now().saturating_duration_since(self.made + Duration::from_micros(since)) > limit
            }
            _ => {
                self.since.store(0, Ordering::Relaxed);
                false
            }
        }
    }
}

/// A watched call. Dropping it unanswered starts the silence, unless an earlier call has.
pub(super) struct CallWatch<'a> {
    watchdog: &'a ResponseWatchdog,
    at: Instant,
    heard: u64,
    is_answered: bool,
}

impl CallWatch<'_> {
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for CallWatch<'_> {
    fn drop(&mut self) {
        let since = &self.watchdog.since;
        if self.is_answered {
            // Most calls find 0 here and write nothing, so calls on several processors do not contend for the
            // cache line.
            if since.load(Ordering::Relaxed) != 0 {
                since.store(0, Ordering::Relaxed);
            }
            return;
        }
        let micros = self.at.saturating_duration_since(self.watchdog.made).as_micros();
        let at = u64::try_from(micros).unwrap_or(u64::MAX).saturating_add(1);
        // The earliest abandoned call counts, so only 0 is replaced. `heard` follows `since`; a reader
        // between both sees an old count and at worst ends the silence early.
        if since.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.watchdog.heard.store(self.heard, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_from_the_first_abandoned_call_until_any_answer() {
        const LIMIT: Duration = Duration::from_millis(500);
        let watchdog = ResponseWatchdog::new();
        let at = |millis| watchdog.made + Duration::from_millis(millis);
        let is_long = |millis| watchdog.is_longer_than(LIMIT, 3, || at(millis));
        let early = watchdog.sent(at(50), 3);
        drop(watchdog.sent(at(100), 3));
        drop(watchdog.sent(at(400), 3));
        assert!(!is_long(599) && is_long(601));
        // A call that still waits has abandoned nothing, and its answer ends the silence.
        early.answered();
        assert!(!is_long(100_000));
        watchdog.sent(at(700), 3).answered();
        assert!(!is_long(100_000));
        drop(watchdog.sent(at(0), 3));
        assert!(!is_long(499) && is_long(501));
        // An answer came, too late for its call.
        assert!(!watchdog.is_longer_than(LIMIT, 4, || at(501)));
        assert!(!is_long(100_000));
    }
}
