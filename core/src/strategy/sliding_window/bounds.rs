//! The most and the least that a sliding window admits.

use super::{SlidingWindow, share};
use crate::Timestamp;
use crate::strategy::{Bounds, FixedWindow};

impl Bounds for SlidingWindow {
    /// Bounds each aligned window by the limit.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        FixedWindow::new(self.rate).most(first, last)
    }

    /// Promises `⌊(limit − share) / cost⌋ · cost` at any moment, with the share of the previous window.
    ///
    /// A client that had all that fits in the first window has `rest` in the second when that ends. It gets
    /// at least `rest` in each later window, since that one starts beside no more. More than `rest` in one
    /// window is taken from the next at most one for one, so the sum is never less than with `rest` in each.
    /// If `rest` is 0, the window after that starts fresh.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (period, cost) = (self.rate.period_micros(), cost.max(1));
        if period == 0 {
            return u128::MAX;
        }
        let beside = |previous: u32, left: u64| {
            self.rate.limit().saturating_sub(share(previous, left, period)) / cost * cost
        };
        let all = beside(0, 0);
        let rest = beside(all, 1);
        let left = period - last.as_micros() % period;
        let (all, rest) = (u128::from(all), (rest, u128::from(rest)));
        match (last.as_micros() / period).saturating_sub(first.as_micros() / period) {
            0 => all,
            windows if rest.0 == 0 => all * (1 + u128::from(windows / 2)),
            1 => all + u128::from(beside(all as u32, left)),
            windows => all + rest.1 * u128::from(windows - 1) + u128::from(beside(rest.0, left)),
        }
    }
}
