//! A bound on the time for which reading is stopped, so that pings are answered in time.
//!
//! A ping may follow messages that wait, and is not seen before they are read. So the time for which reading
//! is stopped adds up to at most `bound`, and is paid back only by time in which reading is not stopped. If
//! reading all before a ping takes the time `u`, the ping is read after at most `2 u + bound`.

use std::time::{Duration, Instant};

/// The bound on the time for which reading is stopped, and the part of it that is used.
#[derive(Debug)]
pub(super) struct Patience {
    bound: Duration,
    used: Duration,
    /// The time at which `used` was last updated.
    at: Instant,
    is_stopped: bool,
}

impl Patience {
    pub(super) const fn new(bound: Duration, now: Instant) -> Self {
        Self { bound, used: Duration::ZERO, at: now, is_stopped: false }
    }

    /// Returns how long reading may be stopped from now on.
    pub(super) fn left(&mut self, now: Instant) -> Duration {
        self.update(now);
        self.bound.saturating_sub(self.used)
    }

    /// Sets whether reading is stopped from now on.
    pub(super) fn stop(&mut self, is_stopped: bool, now: Instant) {
        self.update(now);
        self.is_stopped = is_stopped;
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    fn update(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        // stopped: used' = min(used + passed, bound); reading: used' = max(used - passed, 0). A stop that
        // lasted longer than `bound`, since the stream was not polled, uses no more than `bound`.
        self.used = if self.is_stopped {
            self.used.saturating_add(passed).min(self.bound)
        } else {
            self.used.saturating_sub(passed)
        };
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_time_is_paid_back_by_as_much_time() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let bound = Duration::from_secs(10);
        let mut patience = Patience::new(bound, start);
        assert_eq!(patience.left(at(100)), bound);
        patience.stop(true, at(100));
        patience.stop(false, at(107));
        assert_eq!(patience.left(at(107)), Duration::from_secs(3));
        assert_eq!(patience.left(at(109)), Duration::from_secs(5));
        patience.stop(true, at(109));
        assert_eq!(patience.left(at(200)), Duration::ZERO);
        patience.stop(false, at(200));
        assert_eq!(patience.left(at(210)), bound, "no more than the bound is used up");
        patience.stop(true, at(210));
        patience.stop(false, at(220));
        assert_eq!(patience.left(at(0)), Duration::ZERO, "time that goes back pays nothing");
    }
}
