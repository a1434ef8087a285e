//! A limit of a response.

use std::time::Duration;

use traffik_core::{Decision, Rate};

/// One limit with its name and its decision.
#[derive(Clone, Copy, Debug)]
pub struct PolicyDecision<'a> {
    /// The name of the policy.
    pub name: &'a str,
    /// The decision.
    pub decision: Decision,
}

impl PolicyDecision<'_> {
    /// Returns the limit of the rate; without a rate, the limit of the decision.
    pub(super) fn quota(&self) -> u32 {
        self.decision.rate().map_or(self.decision.limit(), Rate::limit)
    }

    pub(super) fn remaining(&self) -> u32 {
        self.decision.remaining().min(self.quota())
    }

    /// Returns the time until more than [`remaining`](Self::remaining) is available; `None` if that is never
    /// or now.
    pub(super) fn more_after(&self) -> Option<Duration> {
        let is_there = self.decision.remaining() > self.quota() && self.decision.retry_after().is_none();
        self.decision.more_after().filter(|_| !is_there)
    }
}
