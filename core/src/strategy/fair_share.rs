//! The fair share: instances share one limit by weight, and none can take another's share.

use super::shares;
use super::shares::{Shares, shared};
use super::wire::stats::stat;
use super::wire::tags;
use super::{Bounds, CapacityError, Class, FixedWindow, Label, Scale, Strategy, StrategyError};
use crate::{Rate, Ratio, Timestamp};

/// Divides one limit among the instances of a service, by weight, so that none can take another's share.
///
/// Choose it where several tenants or instances compete for one limit. [`Regions`](crate::Regions) gives each
/// a fixed share instead. The state takes `28 + 16 · N` bytes, rounded up to 8.
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
/// So a window never admits more than `L`. An instance that asked in one window gets its share of the next,
/// however much others ask for, and an instance that is alone gets all of it. A window admits all of `L` if
/// instances that asked in the previous window ask for it with a cost of 1. A share that is rounded down to 0
/// (more instances than `L`) leaves the instance the unassigned rest.
///
/// There is room for `N` instances with demand in this window or the last. Instances beyond `N` share one
/// more row, `other`, as one instance, until none of them has had demand for a whole window.
///
/// 9 per 10 s, shared by A of weight 1 and B of weight 2:
///
/// 9 per 10 s, shared by A of weight 1 and B of weight 2:
///
/// | at | instance | cost | decided | remaining | |
/// |---|---|---|---|---|---|
/// | 10 s | A | 9 | allow | 0 | nobody asked before 10 s |
/// | 12 s | B | 6 | deny, retry after 8 s | 0 | noted |
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::strategy::{DecodeError, decode, encode};
    use crate::{Hit, Outcome, Verdict};

    const A: u32 = 1;
    const B: u32 = 2;
    const C: u32 = 3;

    fn second(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn class(instance: u32) -> Class {
        Class { instance: Label(instance), ..Class::default() }
    }

    fn hit(instance: u32, cost: u32) -> Hit {
        Hit::new(cost).with_class(class(instance))
    }

    /// Asks `times` times for a cost of 1 and counts what passes.
    fn ask<const N: usize>(
        limit: FairShare<N>,
        state: &mut FairShareState<N>,
        who: u32,
        times: u32,
        at: u64,
    ) -> u32 {
        (0..times).filter(|_| limit.decide(state, &hit(who, 1), second(at)).is_allowed()).count() as u32
    }

    /// Defect 18 of the original: with three instances one of them took 89 of 90.
    #[test]
    fn defect_18_no_instance_takes_the_share_of_another() {
        let limit = FairShare::<8>::new(Rate::per_minute(90));
        let mut state = Default::default();
        assert_eq!(ask(limit, &mut state, A, 89, 0), 89, "nobody else was there");
        assert_eq!([B, C].map(|who| ask(limit, &mut state, who, 10, 30)), [1, 0]);
        for minute in 1..5 {
            let admitted = [A, B, C].map(|who| ask(limit, &mut state, who, 1_000, minute * 60 + 7));
            assert_eq!(admitted, [30, 30, 30]);
        }
    }

    #[test]
    fn a_flood_starves_nobody() {
        let limit = FairShare::<4>::new("10/10s".parse().unwrap());
        let mut state = Default::default();
        for window in 1..50 {
            assert_eq!(ask(limit, &mut state, A, 100, window * 10), 10);
        }
        // B comes late in a window of which A has had everything, and is always behind A from then on.
        assert_eq!(ask(limit, &mut state, B, 1, 499), 0);
        for window in 50..60 {
            assert_eq!(ask(limit, &mut state, A, 100, window * 10), 5);
            assert_eq!(ask(limit, &mut state, B, 100, window * 10 + 9), 5);
        }
    }

    #[test]
    fn who_returns_has_its_share_from_the_next_window_on() {
        let limit = FairShare::<4>::new("10/10s".parse().unwrap());
        let mut state = Default::default();
        assert_eq!(ask(limit, &mut state, A, 100, 10), 10);
        assert_eq!(ask(limit, &mut state, A, 100, 20), 10);
        let denied = limit.decide(&mut state, &hit(B, 5), second(28));
        assert_eq!(denied.retry_after(), Some(Duration::from_secs(2)));
        for start in [30, 40, 50] {
            assert_eq!(ask(limit, &mut state, A, 100, start), 5);
            assert_eq!(ask(limit, &mut state, B, 100, start + 9), 5);
        }
    }

    #[test]
    fn a_denial_is_noted_once_per_window_and_admits_nothing() {
        let limit = FairShare::<4>::new("10/10s".parse().unwrap());
        let mut state = Default::default();
        let _ = limit.decide(&mut state, &hit(A, 10), second(10));
        for (at, noted) in [(11, true), (12, false), (19, false)] {
            let denied = limit.decide(&mut state, &hit(B, 1), second(at));
            assert_eq!((denied.is_allowed(), denied.is_dirty()), (false, noted), "at {at} s");
        }
        assert!(!limit.decide(&mut state, &hit(B, 11), second(19)).is_dirty(), "Never is no demand");
    }

    #[test]
    fn a_cost_above_the_share_waits_until_demand_has_lapsed() {
        let limit = FairShare::<4>::new("10/10s".parse().unwrap());
        let mut state = Default::default();
        let _ = limit.decide(&mut state, &hit(A, 10), second(10));
        let denied = limit.decide(&mut state, &hit(B, 6), second(13));
        assert_eq!(denied.outcome(), Outcome::Deny { retry_after: Duration::from_secs(17) });
        assert_eq!(denied.reset_after(), Duration::from_secs(17));
        assert!(!limit.peek(&state, &hit(B, 6), second(29)).is_allowed());
        assert!(limit.peek(&state, &hit(B, 6), second(30)).is_allowed());
    }

    #[test]
    fn a_new_weight_counts_from_the_next_window_on() {
        let light = FairShare::<4>::new("90/10s".parse().unwrap());
        let heavy = light.weight(8).unwrap();
        let mut state = Default::default();
        let both = |state: &mut _, at, first| (ask(first, state, A, 100, at), ask(light, state, B, 100, at));
        assert_eq!(both(&mut state, 10, light), (90, 0));
        assert_eq!(both(&mut state, 20, light), (45, 45));
        assert_eq!(both(&mut state, 30, heavy), (45, 45));
        assert_eq!(both(&mut state, 40, heavy), (80, 10));
        let stat = heavy.stat(&state, class(A), second(49));
        assert_eq!((stat.share, stat.usage, stat.total_usage, stat.weight), (80, 80, 90, 8));
        assert_eq!((stat.window_start, stat.window_end), (second(40), second(50)));
        assert_eq!(light.weight(0), Err(StrategyError::ZeroWeight));
    }

    #[test]
    fn who_finds_no_room_shares_a_row_until_it_falls_silent() {
        let limit = FairShare::<1>::new("10/10s".parse().unwrap());
        let mut state = Default::default();
        let all = |state: &mut _, at| [A, B, C].map(|who| ask(limit, state, who, 100, at));
        assert_eq!(all(&mut state, 10), [10, 0, 0]);
        assert_eq!(all(&mut state, 20), [5, 5, 0], "B and C count as one");
        assert_eq!(limit.stat(&state, class(C), second(20)).instance, None);
        // A is gone. The room is free, but demand stays with the row that has it.
        assert_eq!(ask(limit, &mut state, C, 100, 30), 5);
        assert_eq!(ask(limit, &mut state, C, 100, 40), 10);
        assert_eq!(limit.stat(&state, class(C), second(50)).instance, None);
        assert_eq!(limit.stat(&state, class(C), second(60)).instance, Some(Label(C)));
    }

    #[test]
    fn a_smaller_limit_grants_nothing() {
        let limit = FairShare::<4>::new("100/10s".parse().unwrap());
        let smaller = FairShare::<4>::new("50/10s".parse().unwrap());
        let mut state = Default::default();
        let _ = (
            limit.decide(&mut state, &hit(A, 1), second(5)),
            limit.decide(&mut state, &hit(B, 1), second(5)),
        );
        assert!(limit.decide(&mut state, &hit(A, 40), second(10)).is_allowed());
        let denied = smaller.decide(&mut state, &hit(B, 11), second(10));
        assert_eq!((denied.is_allowed(), denied.remaining()), (false, 10), "25 are B's, but 40 are gone");
    }

    #[test]
    fn bytes_that_no_state_writes_are_refused() {
        let limit = FairShare::<2>::new(Rate::per_second(5));
        let mut state = FairShareState::<2>::default();
        let _ = (
            limit.decide(&mut state, &hit(A, 1), second(1)),
            limit.decide(&mut state, &hit(B, 9), second(1)),
        );
        let mut buffer = [0; 48];
        let _ = limit.decide(&mut state, &hit(B, 5), second(1));
        let length = encode(&state, &mut buffer).unwrap();
        assert_eq!(length, 1 + 8 + 9 + 4 + 2 * 13);
        assert_eq!(decode(&buffer[..length]), Ok(state));
        let refused = |at: usize, value: u8| {
            let mut bytes = buffer;
            bytes[at] = value;
            assert_eq!(decode::<FairShareState<2>>(&bytes[..length]), Err(DecodeError), "{value} at {at}");
        };
        refused(0, tags::REGIONS);
        refused(9, 1); // used without demand
        refused(15, 1); // demand without use or denial
        refused(17, 2); // neither denied nor not
        refused(18, 3); // more rows than there are
        refused(18, 1);
        refused(35, A as u8); // a label twice
    }
}
