//! The pauses between attempts to connect, which grow until one leads to an answer.

use std::time::{Duration, Instant};

use traffik_core::storage::BackendError;

use super::backoff::Backoff;
use super::random::random;

/// The pauses are so short that calls reach a server within a second of its return. That also holds behind a
/// circuit breaker that probes two to four times a second: by each probe, the pause before has ended.
const BACKOFF: Backoff =
    Backoff::exponential(Duration::from_millis(25), Duration::from_millis(200)).with_half_jitter();

/// The failed attempts since a connection last led to an answer, and the pause after the last one.
#[derive(Default)]
pub(crate) struct Pause {
    failures: u32,
    last: Option<(Instant, BackendError)>,
}

impl Pause {
    /// Records a failed connection, and begins a pause.
    pub(crate) fn begin(&mut self, failure: BackendError, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some((now + BACKOFF.after(self.failures, random()), failure));
    }

    /// Records a connection that broke before it led to an answer. The first one is replaced at once, since
    /// it may have been closed while it was idle.
    #[cfg(all(feature = "redis", any(feature = "smol", feature = "tokio")))]
    pub(crate) fn lost(&mut self, failure: BackendError, now: Instant) {
        match self.failures {
            0 => self.failures = 1,
            _ => self.begin(failure, now),
        }
    }

    /// Records an answer: the next connection that breaks is replaced at once.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }

    /// Returns the failure of calls during the pause, if there is one now.
    pub(crate) fn cause(&self, now: Instant) -> Option<BackendError> {
        let (_, failure) = self.last.as_ref().filter(|(until, _)| now < *until)?;
        Some(failure.clone())
    }
}

#[cfg(test)]
mod tests {
    use traffik_core::storage::ErrorKind;

    use super::*;

    #[test]
    fn pauses_grow_up_to_a_fifth_of_a_second_until_there_is_an_answer() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        let at = |millis| now + Duration::from_millis(millis);
        assert!(pause.cause(now).is_none());
        for (least, most) in [(12, 25), (25, 50), (50, 100), (100, 200), (100, 200)] {
            pause.begin(BackendError::new(ErrorKind::Unavailable, "refused"), now);
            assert!(pause.cause(at(least - 1)).is_some() && pause.cause(at(most)).is_none());
        }
        pause.end();
        assert!(pause.cause(now).is_none());
        pause.begin(BackendError::new(ErrorKind::Unavailable, "refused"), now);
        assert!(pause.cause(at(25)).is_none());
    }

    #[cfg(all(feature = "redis", any(feature = "smol", feature = "tokio")))]
    #[test]
    fn the_first_connection_that_is_lost_is_made_anew_at_once() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        let at = |millis| now + Duration::from_millis(millis);
        let lost = || BackendError::new(ErrorKind::Unavailable, "lost");
        pause.lost(lost(), now);
        assert!(pause.cause(now).is_none());
        pause.lost(lost(), now);
        assert!(pause.cause(at(24)).is_some() && pause.cause(at(50)).is_none());
    }
}
