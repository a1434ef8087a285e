//! The clock of a server: whole seconds that the server reports, carried on by a clock of this host.
//!
//! The server reports how long an item has yet to live. The item of a generation expires at [`LAST`], a time
//! that all hosts know, so the server's time is `LAST` less that rest. A call that reads the generation, as
//! calls do all the while, learns the time from the same answer.
//!
//! The server counts seconds with a timer that may be late. A reported second is up to [`LATE`] seconds old,
//! and never in the future. So a host moves its estimate only as far as an answer proves it wrong, and the
//! estimates of two hosts differ by at most `LATE` and a round trip. The first estimate is the earliest that
//! its answer allows. Later answers move it forward, so no wait takes longer than reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use traffik_core::{Clock, Timestamp};

use crate::SystemClock;

/// The second at which the item of a generation expires: the last that the protocol can express, in January
/// 2038.
pub(super) const LAST: u32 = i32::MAX.cast_unsigned();

/// The most by which a server's second is behind its own time. The server skips a second when its timer is
/// late by a whole one.
pub(super) const LATE: u64 = 2;

const SECOND: u64 = 1_000_000;

/// The clock of one server, as this host estimates it.
pub(super) struct ServerClock {
    host: Arc<dyn Clock + Send + Sync>,
    /// Microseconds that the server is ahead of the host, modulo 2⁶⁴; 0 until an answer reports the time.
    ahead: AtomicU64,
}

impl ServerClock {
    pub(super) fn new(host: Arc<dyn Clock + Send + Sync>) -> Self {
        Self { host, ahead: AtomicU64::new(0) }
    }

    /// Returns the server's time, or the host's before the server has reported one.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.host().wrapping_add(self.ahead.load(Ordering::Relaxed)))
    }

    /// Returns the host's time, in microseconds.
    pub(super) fn host(&self) -> u64 {
        self.host.now().as_micros()
    }

    /// Records a second that the server reported between the host's times `asked` and `answered`, in
    /// microseconds.
    pub(super) fn learn(&self, second: u64, asked: u64, answered: u64) {
        // The server's time was in [second, second + LATE] when it answered, which was in [asked, answered]:
        // least = second − answered ≤ ahead ≤ (second + LATE) − asked = most.
        let least = second.saturating_mul(SECOND).wrapping_sub(answered).cast_signed();
        let most = second.saturating_add(LATE).saturating_mul(SECOND).wrapping_sub(asked).cast_signed();
        let ahead = match self.ahead.load(Ordering::Relaxed).cast_signed() {
            0 => least,
            // A host's clock may step while the call waits, so `least` may exceed `most`; then `least` wins.
            known => known.min(most).max(least),
        };
        // Relaxed, and a lost update is harmless: each stored value satisfies the bounds of an answer.
        self.ahead.store(ahead.cast_unsigned(), Ordering::Relaxed);
    }
}

/// A clock that reads the wall clock once and then follows the operating system's monotonic clock. Steps of
/// the wall clock have no effect.
pub(super) struct SteadyClock {
    start: Timestamp,
    began: Instant,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self { start: SystemClock.now(), began: Instant::now() }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        self.start + self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use traffik_core::ManualClock;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(host: u64) -> (Arc<ManualClock>, ServerClock) {
        let host = Arc::new(ManualClock::new(Timestamp::from_micros(host)));
        (Arc::clone(&host), ServerClock::new(host))
    }

    #[test]
    fn a_host_goes_by_the_server_whatever_its_own_clock() {
        let day = 86_400 * SECOND;
        for off in [0, 1, day, 400 * day, day.wrapping_neg(), (NOW * SECOND).wrapping_neg()] {
            let host = (NOW * SECOND).wrapping_add(off);
            let (manual, clock) = at(host);
            assert_eq!(clock.now().as_micros(), host);
            clock.learn(NOW, host, host + 300);
            assert_eq!(clock.now().as_micros(), NOW * SECOND - 300);
            manual.set(Timestamp::from_micros(host + 5));
            assert_eq!(clock.now().as_micros(), NOW * SECOND - 295);
        }
    }

    /// An estimate is always one that the last answer leaves possible.
    #[test]
    fn an_estimate_is_moved_as_far_as_it_is_proved_wrong() {
        let host = 5 * SECOND;
        let (manual, clock) = at(host);
        let learn = |second| {
            clock.learn(second, host, host + 100);
            clock.now().as_micros()
        };
        assert_eq!(learn(NOW), NOW * SECOND - 100);
        // Asked again at once, and while it is late.
        assert_eq!(learn(NOW), NOW * SECOND - 100);
        assert_eq!(learn(NOW - 1), NOW * SECOND - 100);
        assert_eq!(learn(NOW + 1), (NOW + 1) * SECOND - 100);
        assert_eq!(learn(NOW - 1), (NOW + 1) * SECOND - 100, "later than {LATE} seconds it cannot be");
        assert_eq!(learn(NOW - 7), (NOW - 7 + LATE) * SECOND);
        // The host's clock steps back, while it waits as well.
        manual.set(Timestamp::from_micros(9));
        clock.learn(NOW, host, 9);
        assert_eq!(clock.now().as_micros(), NOW * SECOND);
        for second in [0, u64::MAX] {
            clock.learn(second, 0, u64::MAX);
        }
    }
}
