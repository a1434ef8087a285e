//! Whether a connection has gone silent, also where nobody waits long enough to be told so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The silence of a connection: since when it has answered nothing, if a call on it was given up.
pub(super) struct ResponseWatchdog {
    made: Instant,
    /// In microseconds after it was made, and one more; 0 if nothing is owed.
    since: AtomicU64,
    /// How often something had been heard on it by then.
    heard: AtomicU64,
}

impl ResponseWatchdog {
    pub(super) fn new() -> Self {
        Self { made: Instant::now(), since: AtomicU64::new(0), heard: AtomicU64::new(0) }
    }

    /// A call was sent at this time, by when something had been heard so often.
    pub(super) const fn sent(&self, at: Instant, heard: u64) -> Sent<'_> {
        Sent { watchdog: self, at, heard, is_answered: false }
    }

    /// Whether it has lasted for longer than this. It ends when anything is heard, if only an answer that
    /// comes too late for its call, as those of a server that is far away.
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

/// A call that was sent. If it is dropped unanswered, the connection owes an answer, until it gives any.
pub(super) struct Sent<'a> {
    watchdog: &'a ResponseWatchdog,
    at: Instant,
    heard: u64,
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
        // The one that was sent first counts.
        if since.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.watchdog.heard.store(self.heard, Ordering::Relaxed);
        }
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
        let is_long = |millis| watchdog.is_longer_than(LIMIT, 3, || at(millis));
        let early = watchdog.sent(at(50), 3);
        drop(watchdog.sent(at(100), 3));
        drop(watchdog.sent(at(400), 3));
        assert!(!is_long(599) && is_long(601));
        // Whoever still waits owes nothing yet, and gets the answer of a connection that is well.
        early.answered();
        assert!(!is_long(100_000));
        watchdog.sent(at(700), 3).answered();
        assert!(!is_long(100_000));
        drop(watchdog.sent(at(0), 3));
        assert!(!is_long(499) && is_long(501));
        // An answer has come, too late for whoever asked.
        assert!(!watchdog.is_longer_than(LIMIT, 4, || at(501)));
        assert!(!is_long(100_000));
    }
}
