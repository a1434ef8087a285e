//! The fair share: instances share one limit by weight, and none can take another's share.

use super::shares;
use super::shares::{Shares, shared};
use super::wire::stats::stat;
use super::wire::tags;
use super::{Bounds, CapacityError, Class, FixedWindow, Label, Scale, Strategy, StrategyError};
use crate::{Rate, Ratio, Timestamp};

#[cfg(test)]
mod tests;

/// Divides one limit among the instances of a service, by weight, so that none can take another's share.
///
/// Choose it where several tenants or instances compete for one limit. [`Regions`](crate::Regions) gives each
/// a fixed share instead. The state takes `24 + 16 · N` bytes.
///
/// [`Class::instance`] names the instance that asks, and each instance passes its own
/// [`weight`](Self::weight); the one last seen counts. Windows are those of a [`FixedWindow`]: one period
/// long and aligned to the clock. An instance has *demand* in a window if a hit of it was admitted or denied
/// there. In a window of limit `L`:
///
/// * An instance of weight `w` with demand in the previous window has the share `⌊L · w / W⌋`, where `W` is
///   the sum of the weights of all instances with such demand. No other instance can use that share, even if
///   it stays unused.
/// * The rest from rounding is unassigned. If no instance had demand in the previous window, all of `L` is.
/// * A hit is paid from the instance's share first, then from the unassigned rest, in order of arrival. An
///   instance without demand in the previous window has only the rest, and has a share from the next window
///   on: a denial is recorded as demand, once per window.
///
/// Altogether a window never admits more than `L`. An instance that asked in one window gets its share of the
/// next, however much others ask for, and an instance that is alone gets all of it. A window admits all of
/// `L` if instances that asked in the previous window ask for it with a cost of 1. A share that is rounded
/// down to 0 (more instances than `L`) leaves the instance the unassigned rest.
///
/// There is room for `N` instances with demand in this window or the last. Instances beyond `N` share one
/// more row, `other`, as one instance, until none of them has had demand for a whole window.
///
/// 9 per 10 s, shared by A of weight 1 and B of weight 2:
///
/// | at | instance | cost | decided | remaining | |
/// |---|---|---|---|---|---|
/// | 10 s | A | 9 | allow | 0 | nobody asked before 10 s |
/// | 12 s | B | 6 | deny, retry after 8 s | 0 | recorded as demand |
/// | 20 s | A | 4 | deny, retry after 10 s | 3 | 3 are A's and 6 are B's |
/// | 20 s | A | 3 | allow | 0 | |
/// | 29 s | B | 6 | allow | 0 | |
/// | 50 s | B | 9 | allow | 0 | nobody asked from 40 s on |
/// | 50 s | B | 10 | never | 0 | |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Class, FairShare, Hit, Label, Outcome, Strategy, Timestamp, rate};
///
/// let strategy = FairShare::<4>::new(rate!("9/10s"));
/// let instances = [strategy, strategy.weight(2)?];
/// let mut state = Default::default();
/// let mut at = |second: u64, instance: usize, cost| {
///     let hit = Hit::new(cost).with_class(Class::new().with_instance(Label(instance as u32)));
///     instances[instance].decide(&mut state, &hit, Timestamp::from_micros(second * 1_000_000))
/// };
/// let (a, b) = (0, 1);
///
/// assert_eq!(at(10, a, 9).remaining(), 0);
/// assert_eq!(at(12, b, 6).retry_after(), Some(Duration::from_secs(8)));
/// let denied = at(20, a, 4);
/// assert_eq!((denied.remaining(), denied.retry_after()), (3, Some(Duration::from_secs(10))));
/// assert_eq!(at(20, a, 3).remaining(), 0);
/// assert!(at(29, b, 6).is_allowed());
/// assert!(at(50, b, 9).is_allowed());
/// assert_eq!(at(50, b, 10).outcome(), Outcome::Never);
/// # Ok::<(), traffik::StrategyError>(())
/// ```
///
/// Source: weighted fair sharing as in A. Demers, S. Keshav and S. Shenker, "Analysis and simulation of a
/// fair queueing algorithm", SIGCOMM 1989, by window instead of by packet: the demand of one window divides
/// the next.
///
/// # Figures
///
/// `limiter.stat("alice")?.share` reads one of them without charging the key, for the default class;
/// [`stat_for`](crate::Limiter::stat_for) reads those of another class.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `instance` | `Option<Label>` | instance; `None` if it is in the row `other` |
/// | `share` | `u32`, cost | part of the present window that no other instance can use |
/// | `usage` | `u32`, cost | use of the instance in the present window |
/// | `total_usage` | `u64`, cost | use of all instances in the present window |
/// | `weight` | `u16` | weight of the instance |
/// | `window_start` | `Timestamp` | start of the present window |
/// | `window_end` | `Timestamp` | end of the present window, and start of the next |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairShare<const N: usize> {
    windows: FixedWindow,
    weight: u16,
}

/// The state of a [`FairShare`].
pub type FairShareState<const N: usize> = Shares<N, { tags::FAIR_SHARE }>;

stat! {
    /// The figures of a [`FairShare`].
    ///
    /// ```
    /// use traffik::{Class, FairShare, Strategy, Timestamp, rate};
    ///
    /// let strategy = FairShare::<4>::new(rate!("9/s"));
    /// let stat = strategy.stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.share, stat.total_usage, stat.weight), (0, 0, 1));
    /// ```
    pub struct FairShareStat {
        /// The instance; `None` if it is in the row `other`.
        pub instance: Option<Label>,
        /// The cost in the present window that no other instance can use.
        pub share: u32,
        /// The cost that the instance has used in the present window.
        pub usage: u32,
        /// The cost that all instances have used in the present window.
        pub total_usage: u64,
        /// The instance's weight.
        pub weight: u16,
        /// The start of the present window.
        pub window_start: Timestamp,
        /// The end of the present window, and the start of the next.
        pub window_end: Timestamp,
    }
}

impl<const N: usize> FairShare<N> {
    /// Returns a limit with room for `N` instances that share this rate, seen by an instance of weight 1.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { windows: FixedWindow::new(rate), weight: 1 }
    }

    /// Sets the weight of the instance that asks, from 1. Defaults to 1.
    ///
    /// # Errors
    ///
    /// Fails with [`ZeroWeight`](StrategyError::ZeroWeight) for 0.
    pub const fn weight(self, weight: u16) -> Result<Self, StrategyError> {
        match weight {
            0 => Err(StrategyError::ZeroWeight),
            _ => Ok(Self { weight, ..self }),
        }
    }

    /// Returns the rate that all instances share.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }
}

impl<const N: usize> shares::SharedLimit for FairShare<N> {
    const NAMED: bool = false;

    fn windows(&self) -> &FixedWindow {
        &self.windows
    }

    fn label(&self, class: Class) -> Label {
        class.instance
    }

    fn may_have_row(&self, _: Label) -> bool {
        true
    }

    fn weight(&self) -> u16 {
        self.weight
    }

    fn lends(&self) -> bool {
        true
    }

    // ⌊limit · weight / weights⌋, at most the limit, since no weight exceeds the sum of all.
    fn share(&self, _: Option<Label>, weight: u16, weights: u64) -> u32 {
        (u64::from(self.rate().limit()) * u64::from(weight)).checked_div(weights).unwrap_or(0) as u32
    }

    // An instance that is alone can use the whole window.
    fn most(&self, _: Option<Label>) -> u32 {
        self.rate().limit()
    }

    // A share depends on the demand in each window, so the advertised quota is the whole limit.
    fn quota(&self, _: Option<Label>) -> u32 {
        self.rate().limit()
    }
}

// Decisions are those of the shared table in `shares`.
impl<const N: usize> Strategy for FairShare<N> {
    type State = FairShareState<N>;
    type Stat = FairShareStat;

    shared!();

    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> FairShareStat {
        let status = state.status(self, class, now);
        FairShareStat {
            instance: status.label,
            share: status.share,
            usage: status.used,
            total_usage: status.total,
            weight: self.weight,
            window_start: status.window.0,
            window_end: status.window.1,
        }
    }
}

impl<const N: usize> Scale for FairShare<N> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { windows: FixedWindow::new(self.rate().scaled(ratio)), ..*self })
    }
}

impl<const N: usize> Bounds for FairShare<N> {
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        self.windows.most(first, last)
    }

    /// Promises the whole of every window to an instance that is alone.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        self.windows.least(first, last, cost)
    }
}
