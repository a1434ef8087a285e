//! Whether a connection has gone silent, also where nobody waits long enough to be told so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a connection owes: since when it has answered nothing, if it was asked by somebody who waits no
/// longer.
pub(super) struct ResponseWatchdog {
    made: Instant,
    /// In microseconds after it was made, and one more; 0 if nothing is owed.
    since: AtomicU64,
}

impl ResponseWatchdog {
    pub(super) fn new() -> Self {
        Self { made: Instant::now(), since: AtomicU64::new(0) }
    }

    /// A call was sent at this time.
    pub(super) const fn sent(&self, at: Instant) -> Sent<'_> {
        Sent { watchdog: self, at, is_answered: false }
    }

    /// Whether it has lasted for longer than this.
    pub(super) fn is_longer_than(&self, limit: Duration, now: impl FnOnce() -> Instant) -> bool {
        match self.since.load(Ordering::Relaxed) {
            0 => false,
            since => now().saturating_duration_since(self.made + Duration::from_micros(since)) > limit,
        }
    }
}

/// A call that was sent. If it is dropped unanswered, the connection owes an answer, until it gives any.
pub(super) struct Sent<'a> {
    watchdog: &'a ResponseWatchdog,
    at: Instant,
    is_answered: bool,
}

impl Sent<'_> {
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        let since = &self.watchdog.since;
        if self.is_answered {
            // Hardly ever is there anything to write, so that calls on several processors do not wait for
            // each other.
            if since.load(Ordering::Relaxed) != 0 {
                since.store(0, Ordering::Relaxed);
            }
            return;
        }
        let micros = self.at.saturating_duration_since(self.watchdog.made).as_micros();
        let at = u64::try_from(micros).unwrap_or(u64::MAX).saturating_add(1);
        // Whoever was sent first counts.
        let _ = since.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_from_the_first_call_in_vain_until_any_answer() {
        const LIMIT: Duration = Duration::from_millis(500);
        let watchdog = ResponseWatchdog::new();
        let at = |millis| watchdog.made + Duration::from_millis(millis);
        let is_long = |millis| watchdog.is_longer_than(LIMIT, || at(millis));
        let early = watchdog.sent(at(50));
        drop(watchdog.sent(at(100)));
        drop(watchdog.sent(at(400)));
        assert!(!is_long(599) && is_long(601));
        // Whoever still waits owes nothing yet, and gets the answer of a connection that is well.
        early.answered();
        assert!(!is_long(100_000));
        watchdog.sent(at(700)).answered();
        assert!(!is_long(100_000));
        drop(watchdog.sent(at(0)));
        assert!(!is_long(499) && is_long(501));
    }
}
