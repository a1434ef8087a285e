//! The estimate of how long a hit waits.

use core::time::Duration;

use crate::{Hit, Outcome, Strategy, Timestamp, Verdict};

/// The estimate of how long a hit waits behind others, by deciding on all of them in turn.
///
/// It looks no further than a bound: a wait that is longer is at least what it expects then. What others take
/// meanwhile is not known.
pub(super) struct WaitEstimate<'a, S: Strategy> {
    strategy: &'a S,
    state: S::State,
    start: Timestamp,
    now: Timestamp,
    within: Duration,
    delay: Duration,
}

impl<'a, S: Strategy> WaitEstimate<'a, S> {
    /// An estimate from a state on that is brought down to a clock which was set back, as a storage does.
    pub(super) fn new(strategy: &'a S, mut state: S::State, start: Timestamp, within: Duration) -> Self {
        let _ = strategy.rebase(&mut state, start);
        Self { strategy, state, start, now: start, within, delay: Duration::ZERO }
    }

    /// Decides on the next hit.
    pub(super) fn add(&mut self, hit: &Hit<S::Cost>) {
        self.delay = Duration::ZERO;
        while self.waited() <= self.within {
            match self.strategy.decide(&mut self.state, hit, self.now).outcome() {
                Outcome::Allow { after } => {
                    self.delay = after;
                    return;
                }
                Outcome::Deny { retry_after } if self.now + retry_after > self.now => {
                    self.now = self.now + retry_after;
                }
                Outcome::Deny { .. } | Outcome::Never => {
                    self.delay = Duration::MAX;
                    return;
                }
            }
        }
    }

    /// The wait of the last hit.
    pub(super) fn waited(&self) -> Duration {
        self.now.since(self.start).saturating_add(self.delay)
    }
}
