//! Strategies straight from their definitions: a list of what was admitted, and exact fractions.
//!
//! Slow and simple on purpose. Nothing here is incremental: each answer is computed from the whole history,
//! and each wait by searching for the first microsecond at which the hit would pass.

pub(crate) mod leaky;
pub(crate) mod quota;
pub(crate) mod runs;
pub(crate) mod shares;
pub(crate) mod sliding;
pub(crate) mod wrappers;

use core::time::Duration;

use traffik::{Outcome, Rate};

/// The values on which a model and a strategy must agree.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) remaining: u32,
    pub(crate) reset_after: Duration,
}

/// Admitted hits: time and cost.
pub(crate) type History = Vec<(u128, u32)>;

pub(crate) trait Model {
    fn rate(&self) -> Rate;

    /// Whether a hit may pass at this time.
    fn passes(&self, history: &History, now: u128, cost: u32) -> bool;

    /// Whether a hit could ever pass.
    fn possible(&self, cost: u32) -> bool;

    /// The remaining whole cost, as a decision reports it.
    fn remaining(&self, history: &History, now: u128) -> u32;

    /// Whether nothing is in use.
    fn fresh(&self, history: &History, now: u128) -> bool;

    /// Decides, and keeps what is admitted.
    fn decide(&self, history: &mut History, now: u128, cost: u32) -> Answer {
        if self.rate().is_unlimited() {
            let outcome = Outcome::Allow { after: Duration::ZERO };
            return Answer { outcome, remaining: u32::MAX, reset_after: Duration::ZERO };
        }
        let outcome = if cost == 0 || self.passes(history, now, cost) {
            Outcome::Allow { after: Duration::ZERO }
        } else if !self.possible(cost) {
            Outcome::Never
        } else {
            match first(now, |then| self.passes(history, then, cost)) {
                Some(retry_after) => Outcome::Deny { retry_after },
                None => Outcome::Never,
            }
        };
        if outcome.is_allowed() && cost > 0 {
            history.push((now, cost));
        }
        let for_ever = Duration::from_micros(u64::MAX);
        let reset_after = first(now, |then| self.fresh(history, then)).unwrap_or(for_ever);
        Answer { outcome, remaining: self.remaining(history, now), reset_after }
    }
}

/// How long after `now` something becomes true that then stays true; looks as far ahead as a wait can tell.
fn first(now: u128, holds: impl Fn(u128) -> bool) -> Option<Duration> {
    let (mut low, mut high) = (now, now + u128::from(u64::MAX));
    if !holds(high) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(Duration::from_micros((low - now) as u64))
}

/// Counts in windows: the cost admitted in the window of the present.
pub(crate) struct WindowModel {
    pub(crate) rate: Rate,
    pub(crate) anchor: u64,
}

impl WindowModel {
    fn window(&self, at: u128) -> i128 {
        let period = self.rate.period().as_micros() as i128;
        (at as i128 - i128::from(self.anchor) % period).div_euclid(period)
    }

    fn used(&self, history: &History, now: u128) -> u64 {
        let same = |(at, _): &&(u128, u32)| self.window(*at) == self.window(now);
        history.iter().filter(same).map(|(_, cost)| u64::from(*cost)).sum()
    }
}

impl Model for WindowModel {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn passes(&self, history: &History, now: u128, cost: u32) -> bool {
        self.used(history, now) + u64::from(cost) <= self.rate.limit().into()
    }

    fn possible(&self, cost: u32) -> bool {
        cost <= self.rate.limit()
    }

    fn remaining(&self, history: &History, now: u128) -> u32 {
        (u64::from(self.rate.limit()) - self.used(history, now)) as u32
    }

    fn fresh(&self, history: &History, now: u128) -> bool {
        self.used(history, now) == 0
    }
}

/// A bucket that drains continuously; figures are multiplied by the period, so that they are whole.
pub(crate) struct BucketModel {
    pub(crate) rate: Rate,
    /// The capacity: a cost, and in addition the drain of a time.
    pub(crate) capacity: (u128, u64),
    /// The cost told as the most that can be had at once.
    pub(crate) told: u32,
    /// The cost held but not offered.
    pub(crate) owed: u128,
}

impl BucketModel {
    fn period(&self) -> u128 {
        self.rate.period().as_micros()
    }

    fn limit(&self) -> u128 {
        self.rate.limit().into()
    }

    fn holds(&self) -> u128 {
        self.capacity.0 * self.period() + u128::from(self.capacity.1) * self.limit()
    }

    fn used(&self, history: &History, now: u128) -> u128 {
        let (mut used, mut last) = (0u128, 0);
        for &(at, cost) in history {
            used = used.saturating_sub((at - last) * self.limit()) + u128::from(cost) * self.period();
            last = at;
        }
        used.saturating_sub((now - last) * self.limit())
    }
}

impl Model for BucketModel {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn passes(&self, history: &History, now: u128, cost: u32) -> bool {
        self.used(history, now) + u128::from(cost) * self.period() <= self.holds()
    }

    fn possible(&self, cost: u32) -> bool {
        u128::from(cost) * self.period() <= self.holds()
    }

    fn remaining(&self, history: &History, now: u128) -> u32 {
        let offered = self.holds() - self.owed * self.period();
        (offered.saturating_sub(self.used(history, now)) / self.period()).min(self.told.into()) as u32
    }

    fn fresh(&self, history: &History, now: u128) -> bool {
        self.used(history, now) == 0
    }
}
