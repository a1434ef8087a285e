//! For how long reading may be stopped, so that no ping goes without an answer for longer.
//!
//! A ping may lie behind messages that wait, and nobody knows before they are read. So all the time that reading is stopped is
//! counted together, is never more than the bound, and becomes less only as fast as time goes by in which it is not stopped: a
//! ping that comes while what lies before it takes `u` to read is read after at most `2 u` and the bound.

use std::time::{Duration, Instant};

/// How much of the bound is used.
#[derive(Debug)]
pub(super) struct Patience {
    bound: Duration,
    used: Duration,
    /// As of when.
    at: Instant,
    is_stopped: bool,
}

impl Patience {
    pub(super) const fn new(bound: Duration, now: Instant) -> Self {
        Self { bound, used: Duration::ZERO, at: now, is_stopped: false }
    }

    /// For how long reading may be stopped from now on.
    pub(super) fn left(&mut self, now: Instant) -> Duration {
        self.update(now);
        self.bound.saturating_sub(self.used)
    }

    /// Whether reading is stopped from now on.
    pub(super) fn stop(&mut self, is_stopped: bool, now: Instant) {
        self.update(now);
        self.is_stopped = is_stopped;
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    fn update(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        // Where it took longer than it was to, since nobody polled, that is not held against the peer.
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
    fn what_was_used_is_paid_back_by_as_much_time() {
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
