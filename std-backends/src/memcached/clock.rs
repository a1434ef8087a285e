//! The time of a server: its own whole seconds, carried on by a clock of this host.
//!
//! A server says how long an item has yet to live. The item of a generation ends at a time that all hosts
//! know, [`LAST`], so the server's time is what lies before that: whoever asks for the generation, as is done
//! all the while, learns the time by the same answer.
//!
//! A server counts seconds by a timer, which comes late: what it says is up to [`LATE`] seconds ago, and
//! never yet to come. So a host's estimate is moved only as far as an answer proves it wrong. No two hosts'
//! estimates are then further apart than that and a round trip. The first one is the earliest that an
//! answer leaves possible, so later ones move it forward, and nobody waits longer than was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use traffik_core::{Clock, Timestamp};

use crate::SystemClock;

/// When the item of a generation ends: the last second that a server can be told, in January 2038.
pub(super) const LAST: u32 = i32::MAX.cast_unsigned();

/// How far the seconds of a server lie behind its own time, at most: it leaves one out when its timer has
/// become late by all of a second.
pub(super) const LATE: u64 = 2;

const SECOND: u64 = 1_000_000;

pub(super) struct ServerClock {
    host: Arc<dyn Clock + Send + Sync>,
    /// How far the server is ahead of the host, in microseconds; wraps around. 0 until that is known.
    ahead: AtomicU64,
}

impl ServerClock {
    pub(super) fn new(host: Arc<dyn Clock + Send + Sync>) -> Self {
        Self { host, ahead: AtomicU64::new(0) }
    }

    /// The server's time; the host's before it has said one.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.host().wrapping_add(self.ahead.load(Ordering::Relaxed)))
    }

    /// The host's time, in microseconds.
    pub(super) fn host(&self) -> u64 {
        self.host.now().as_micros()
    }

    /// Notes the server's second, which it said at some time of the host's between these.
    pub(super) fn learn(&self, second: u64, asked: u64, answered: u64) {
        let least = second.saturating_mul(SECOND).wrapping_sub(answered).cast_signed();
        let most = second.saturating_add(LATE).saturating_mul(SECOND).wrapping_sub(asked).cast_signed();
        let ahead = match self.ahead.load(Ordering::Relaxed).cast_signed() {
            0 => least,
            // A host's clock may step while it waits: no order of the two is certain.
            known => known.min(most).max(least),
        };
        self.ahead.store(ahead.cast_unsigned(), Ordering::Relaxed);
    }
}

/// The wall clock read once, and the operating system's progress from there: a step of the wall clock is not
/// followed.
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
