//! Quotas that depend on the window before, from their definitions and the whole history.

use core::time::Duration;

use traffik::{Outcome, Rate};

use super::{Answer, History, Model};

/// The limit, and a share in hundredths of what the window before left of it.
#[derive(Debug)]
pub(crate) struct RolloverModel {
    pub(crate) rate: Rate,
    pub(crate) percent: u128,
    pub(crate) max: u32,
}

impl RolloverModel {
    fn window(&self, at: u128) -> u128 {
        at / self.rate.period().as_micros()
    }

    fn used(&self, history: &History, window: Option<u128>) -> u128 {
        let inside = |(at, _): &&(u128, u32)| Some(self.window(*at)) == window;
        history.iter().filter(inside).map(|(_, cost)| u128::from(*cost)).sum()
    }

    fn quota(&self, history: &History, window: u128) -> u128 {
        let limit = u128::from(self.rate.limit());
        let before = self.used(history, window.checked_sub(1)).min(limit);
        (limit + ((limit - before) * self.percent / 100).min(self.max.into())).min(u32::MAX.into())
    }

    /// The quota after silence.
    fn full(&self) -> u128 {
        self.quota(&History::new(), 0)
    }
}

impl Model for RolloverModel {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn passes(&self, history: &History, now: u128, cost: u32) -> bool {
        let window = self.window(now);
        self.used(history, Some(window)) + u128::from(cost) <= self.quota(history, window)
    }

    fn possible(&self, cost: u32) -> bool {
        u128::from(cost) <= self.full()
    }

    fn remaining(&self, history: &History, now: u128) -> u32 {
        let window = self.window(now);
        (self.quota(history, window) - self.used(history, Some(window))) as u32
    }

    fn fresh(&self, history: &History, now: u128) -> bool {
        let window = self.window(now);
        self.used(history, Some(window)) == 0 && self.used(history, window.checked_sub(1)) == 0
    }
}

/// A limit that falls after loaded windows; parts in millionths.
#[derive(Clone, Debug)]
pub(crate) struct AdaptiveModel {
    pub(crate) rate: Rate,
    pub(crate) threshold: u128,
    pub(crate) reduction: u128,
    pub(crate) recovery: u128,
    pub(crate) floor: u128,
    /// All that ever happened: when, at what cost, and whether it was admitted.
    pub(crate) asked: Vec<(u128, u32, bool)>,
}

impl AdaptiveModel {
    fn period(&self) -> u128 {
        self.rate.period().as_micros()
    }

    fn limit(&self) -> u128 {
        self.rate.limit().into()
    }

    fn used(&self, window: u128, until: usize) -> u128 {
        let inside = |(at, _, admitted): &&(u128, u32, bool)| *admitted && at / self.period() == window;
        self.asked.iter().take(until).filter(inside).map(|(_, cost, _)| u128::from(*cost)).sum()
    }

    fn demand(&self, window: u128) -> u128 {
        let used = self.used(window, usize::MAX);
        let denied = |(at, _, admitted): &(u128, u32, bool)| !admitted && at / self.period() == window;
        let mut asked = self.asked.iter().copied().enumerate();
        let Some((first, (at, cost, _))) = asked.find(|(_, asked)| denied(asked)) else { return used };
        let then = self.used(window, first);
        let course = then * self.period() / (at % self.period()).max(1);
        used.max(course.max(then + u128::from(cost)).min(u32::MAX.into()))
    }

    /// The factor of a window: from the first hit ever on, window by window.
    fn factor(&self, window: u128) -> u128 {
        let first = self.asked.first().map_or(window, |(at, _, _)| at / self.period());
        (first..window).fold(1_000_000, |factor, window| {
            if self.demand(window) * 1_000_000 >= self.threshold * self.limit() {
                (factor * self.reduction / 1_000_000).max(self.floor)
            } else {
                (factor + self.recovery).min(1_000_000)
            }
        })
    }

    fn effective(&self, window: u128) -> u128 {
        (self.limit() * self.factor(window) / 1_000_000).max(self.limit().min(1))
    }

    pub(crate) fn decide(&mut self, now: u128, cost: u32) -> Answer {
        let allow = Outcome::Allow { after: Duration::ZERO };
        if self.rate.is_unlimited() {
            return Answer { outcome: allow, remaining: u32::MAX, reset_after: Duration::ZERO };
        }
        let window = now / self.period();
        let (used, effective) = (self.used(window, usize::MAX), self.effective(window));
        let outcome = if cost == 0 {
            allow
        } else if u128::from(cost) > self.limit() {
            Outcome::Never
        } else if used + u128::from(cost) <= effective {
            self.asked.push((now, cost, true));
            allow
        } else {
            self.asked.push((now, cost, false));
            let passes = (window + 1..).find(|window| u128::from(cost) <= self.effective(*window)).unwrap();
            Outcome::Deny { retry_after: self.start(passes, now) }
        };
        let used = self.used(window, usize::MAX);
        let remaining = (effective - used) as u32;
        let is_fresh = |window: u128| self.factor(window) == 1_000_000 && self.demand(window) == 0;
        let fresh = (window..).find(|window| is_fresh(*window)).unwrap();
        let reset_after = if fresh == window { Duration::ZERO } else { self.start(fresh, now) };
        Answer { outcome, remaining, reset_after }
    }

    fn start(&self, window: u128, now: u128) -> Duration {
        Duration::from_micros((window * self.period() - now) as u64)
    }
}
