//! The estimate of how long a hit will wait.

use core::time::Duration;

use crate::{Hit, Outcome, Strategy, Timestamp, Verdict};

/// The estimate of how long a hit waits behind others: it decides on each of them in order.
///
/// The estimate looks no further than its bound. A wait beyond that is at least the estimate. It cannot know
/// of hits that come meanwhile.
pub(super) struct WaitEstimate<'a, S: Strategy> {
    strategy: &'a S,
    state: S::State,
    start: Timestamp,
    now: Timestamp,
    within: Duration,
    delay: Duration,
}

impl<'a, S: Strategy> WaitEstimate<'a, S> {
    /// Starts from a state, which is moved to `start` if its clock was set back, as a storage would do.
    pub(super) fn new(strategy: &'a S, mut state: S::State, start: Timestamp, within: Duration) -> Self {
        let _ = strategy.rebase(&mut state, start);
        Self { strategy, state, start, now: start, within, delay: Duration::ZERO }
    }

    /// Decides on the next hit.
    pub(super) fn add(&mut self, hit: &Hit<S::Cost>) {
        self.delay = Duration::ZERO;
        // Invariant: `now` is the time at which the hit is decided, and only grows; `delay` is that of the
        // last hit.
        while self.waited() <= self.within {
            match self.strategy.decide(&mut self.state, hit, self.now).outcome() {
                Outcome::Allow { after } => {
                    self.delay = after;
                    return;
                }
                Outcome::Deny { retry_after } if self.now + retry_after > self.now => {
                    self.now = self.now + retry_after;
                }
                // A denial whose wait does not move the clock would repeat for ever.
                Outcome::Deny { .. } | Outcome::Never => {
                    self.delay = Duration::MAX;
                    return;
                }
            }
        }
    }

    /// Returns the wait of the last hit: `now - start + delay`.
    pub(super) fn waited(&self) -> Duration {
        self.now.since(self.start).saturating_add(self.delay)
    }
}
