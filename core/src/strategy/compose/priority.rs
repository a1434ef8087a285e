//! Priorities: one limit for all, of which less urgent requests must leave a reserve.

use crate::strategy::compose::family::try_array;
use crate::strategy::wire::stats::stat;
use crate::strategy::{
    Bounds, CapacityError, Class, Hit, Label, Scale, ScriptLimit, Strategy, StrategyError,
};
use crate::{Decision, Outcome, Ratio, Receipt, Timestamp, Verdict};

/// Keeps a reserve of a limit for urgent requests: lower priorities must leave it free.
///
/// Choose it where one limit serves requests of unequal importance. [`Tiered`](crate::strategy::Tiered) gives
/// each customer a limit of its own size instead. The state is that of the wrapped strategy.
///
/// A hit of cost `c` whose priority has the reserve `r` is admitted exactly if the wrapped limit would admit
/// `c + r`, and is charged `c`. So all priorities together never exceed the one limit. Right after a hit of
/// any priority its reserve is still there for priorities with a smaller reserve. The wait of a denied hit is
/// that of `c + r`, and its cost can never pass if `c + r` cannot. Neither `limit` nor `remaining` includes
/// the reserve.
///
/// Reserves are ratios of the wrapped limit when the wrapper is made, rounded down. Priorities without a name
/// reserve nothing. To combine it with [tiers](crate::strategy::Tiered) or the
/// [time of day](crate::strategy::TimeOfDay), put it inside them, so that a reserve scales with the limit.
///
/// Over any time it admits at most what the wrapped limit does. A client whose priority reserves nothing is
/// promised what the wrapped limit promises. Any other is promised as many hits of cost `c` as the wrapped
/// limit promises hits of cost `c + r`.
///
/// 10 per minute, of which low priority leaves a half:
///
/// | at | priority | cost | decided | remaining |
/// |---|---|---|---|---|
/// | 0 s | low | 5 | allow | 0 |
/// | 0 s | low | 1 | deny, retry after 60 s | 0 |
/// | 0 s | urgent | 4 | allow | 1 |
/// | 60 s | low | 6 | never | 5 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Class, FixedWindow, Hit, Label, Outcome, Priority, Strategy, Timestamp, rate};
///
/// const LOW: Label = Label(1);
/// const URGENT: Label = Label(2);
/// let strategy = Priority::new(FixedWindow::new(rate!("10/min")), [(LOW, "50%".parse()?)])?;
/// let mut state = Default::default();
/// let mut decide = |second: u64, priority, cost| {
///     let class = Class::new().with_priority(priority);
///     let at = Timestamp::from_micros(second * 1_000_000);
///     strategy.decide(&mut state, &Hit::new(cost).with_class(class), at)
/// };
///
/// assert_eq!(decide(0, LOW, 5).remaining(), 0);
/// assert_eq!(decide(0, LOW, 1).retry_after(), Some(Duration::from_secs(60)));
/// assert_eq!(decide(0, URGENT, 4).remaining(), 1);
/// assert_eq!(decide(60, LOW, 6).outcome(), Outcome::Never);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: trunk reservation as in telephone networks: F. P. Kelly, "Loss networks", The Annals of Applied
/// Probability 1(3), 1991, section 4.
///
/// # Figures
///
/// `limiter.stat("alice")?.available` reads one of them without charging the key, for the default class;
/// [`stat_for`](crate::Limiter::stat_for) reads those of another class.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `priority` | [`Label`](crate::Label) | priority of the hit |
/// | `reserve` | `u32`, cost | cost that this priority must leave free |
/// | `limit` | `u32`, cost | most that all priorities together can have at once |
/// | `available` | `u32`, cost | cost that is left for this priority |
/// | `inner` | `S::Stat` | figures of the wrapped strategy |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority<S, const N: usize> {
    strategy: S,
    reserves: [Reserve; N],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reserve {
    label: Label,
    ratio: Ratio,
    cost: u32,
}

stat! {
    /// The figures of a [`Priority`].
    ///
    /// ```
    /// use traffik::{Class, FixedWindow, Label, Priority, Ratio, Strategy, Timestamp, rate};
    ///
    /// let strategy = Priority::new(FixedWindow::new(rate!("10/min")), [(Label(1), Ratio::new(1, 2)?)])?;
    /// let class = Class::new().with_priority(Label(1));
    /// let stat = strategy.stat(&Default::default(), class, Timestamp::EPOCH);
    /// assert_eq!((stat.limit, stat.reserve, stat.available), (10, 5, 5));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub struct PriorityStat<T> {
        /// The priority of the hit.
        pub priority: Label,
        /// The cost that this priority must leave free.
        pub reserve: u32,
        /// The most that all priorities together can have at once.
        pub limit: u32,
        /// The cost that is left for this priority.
        pub available: u32,
        /// The figures of the wrapped strategy.
        pub inner: T,
    }
}

impl<S: Strategy<Cost = u32, Verdict = Decision>, const N: usize> Priority<S, N> {
    /// Wraps `strategy`, of which each of these priorities reserves a part. All others reserve nothing.
    ///
    /// # Errors
    ///
    /// * [`DuplicatePriority`](StrategyError::DuplicatePriority) if a priority is named twice.
    /// * [`ReserveTooLarge`](StrategyError::ReserveTooLarge) for a ratio of 1 or more.
    /// * [`ReserveTooSmall`](StrategyError::ReserveTooSmall) if a reserve is rounded down to 0, unless its
    ///   ratio is.
    pub fn new(strategy: S, reserves: [(Label, Ratio); N]) -> Result<Self, StrategyError> {
        let whole = whole(&strategy);
        let reserve = |at: usize| {
            let Some(&(label, ratio)) = reserves.get(at) else { return Ok(Reserve::NONE) };
            // reserve = ⌊ratio · limit⌋
            let cost = ratio.floor_of(whole);
            if reserves.iter().skip(at + 1).any(|(other, _)| *other == label) {
                Err(StrategyError::DuplicatePriority(label))
            } else if ratio.num() >= ratio.den() {
                Err(StrategyError::ReserveTooLarge(label, ratio))
            } else if ratio.num() > 0 && cost == 0 {
                Err(StrategyError::ReserveTooSmall(label, ratio, whole))
            } else {
                Ok(Reserve { label, ratio, cost })
            }
        };
        Ok(Self { reserves: try_array(&Reserve::NONE, reserve)?, strategy })
    }

    /// Returns the cost that hits of this class must leave free.
    #[must_use]
    pub fn reserve(&self, class: Class) -> u32 {
        self.reserves.iter().find(|it| it.label == class.priority).map_or(0, |it| it.cost)
    }
}

impl Reserve {
    const NONE: Self = Self { label: Label(0), ratio: Ratio::ZERO, cost: 0 };
}

/// Returns the most that can be had of a limit at once.
fn whole<S: Strategy<Cost = u32, Verdict = Decision>>(strategy: &S) -> u32 {
    strategy.peek(&S::State::default(), &Hit::new(0), Timestamp::EPOCH).limit()
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy<Cost = u32, Verdict = Decision>, const N: usize> Strategy for Priority<S, N> {
    type State = S::State;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = PriorityStat<S::Stat>;

    #[inline]
    fn decide(&self, state: &mut S::State, hit: &Hit, now: Timestamp) -> Decision {
        let reserve = self.reserve(hit.class);
        if reserve == 0 || hit.cost == 0 {
            return self.strategy.decide(state, hit, now).with_reserve(reserve);
        }
        // c + r beyond 32 bits exceeds every limit, unless the rate is unlimited.
        let Some(cost) = hit.cost.checked_add(reserve) else {
            let current = self.strategy.peek(state, &Hit { cost: 0, ..*hit }, now);
            return if current.is_unlimited() { current } else { current.with_outcome(Outcome::Never) }
                .with_reserve(reserve);
        };
        // Tests whether c + r fits, and charges c.
        let both = Hit { cost, ..*hit };
        let tested = self.strategy.peek(state, &both, now);
        if tested.is_allowed() {
            return self.strategy.decide(state, hit, now).with_reserve(reserve);
        }
        // The limit records something of this denial, such as demand.
        let denied = if tested.is_dirty() { self.strategy.decide(state, &both, now) } else { tested };
        denied.with_reserve(reserve)
    }

    fn peek(&self, state: &S::State, hit: &Hit, now: Timestamp) -> Decision {
        self.decide(&mut state.clone(), hit, now)
    }

    fn charge(&self, state: &mut S::State, hit: &Hit, now: Timestamp) {
        self.strategy.charge(state, hit, now);
    }

    fn refund(&self, state: &mut S::State, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.strategy.refund(state, hit, receipt, now);
    }

    #[inline]
    fn expires_at(&self, state: &S::State, class: Class) -> Timestamp {
        self.strategy.expires_at(state, class)
    }

    fn max_ttl(&self) -> u64 {
        self.strategy.max_ttl()
    }

    fn rebase(&self, state: &mut S::State, now: Timestamp) -> bool {
        self.strategy.rebase(state, now)
    }

    #[inline]
    fn records_demand(&self) -> bool {
        self.strategy.records_demand()
    }

    fn stat(&self, state: &S::State, class: Class, now: Timestamp) -> Self::Stat {
        // Cost 0 passes and changes nothing, so it reads the figures.
        let nothing = Hit::new(0).with_class(class);
        PriorityStat {
            priority: class.priority,
            reserve: self.reserve(class),
            limit: self.strategy.peek(state, &nothing, now).limit(),
            available: self.peek(state, &nothing, now).remaining(),
            inner: self.strategy.stat(state, class, now),
        }
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        // As in `decide`: the cost and the reserve must fit, and the cost is charged.
        let reserve = if hit.cost == 0 { 0 } else { self.reserve(hit.class) };
        let Some(cost) = hit.cost.checked_add(reserve) else { return false };
        self.strategy.parts_of(&Hit { cost, ..*hit }, &mut |part| {
            visit(ScriptLimit { charge: part.charge.saturating_sub(reserve), ..part });
        })
    }

    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.strategy.kinds(visit);
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.strategy.fits_script()
    }
}

impl<S: Scale<Cost = u32, Verdict = Decision>, const N: usize> Priority<S, N> {
    /// Returns the same reserves around another strategy.
    fn over(&self, strategy: S) -> Self {
        let whole = whole(&strategy);
        let reserves = self.reserves.map(|it| match it.ratio.num() {
            0 => it,
            _ => Reserve { cost: it.ratio.floor_of(whole).max(1).min(whole.saturating_sub(1)), ..it },
        });
        Self { strategy, reserves }
    }
}

/// Scales reserves with the limit: each stays at 1 or more, and leaves 1 or more of the limit.
#[deny(clippy::missing_trait_methods)]
impl<S: Scale<Cost = u32, Verdict = Decision>, const N: usize> Scale for Priority<S, N> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.strategy.scaled(ratio).map(|strategy| self.over(strategy))
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.strategy.part(ratio).map(|strategy| self.over(strategy))
    }

    fn advance(&self, state: &mut S::State, class: Class, to: Timestamp) {
        self.strategy.advance(state, class, to);
    }

    fn advance_receipt(&self, receipt: &mut Receipt, class: Class, to: Timestamp) {
        self.strategy.advance_receipt(receipt, class, to);
    }

    fn denominator(&self) -> u64 {
        self.strategy.denominator()
    }

    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        Ok(Self { strategy: self.strategy.refine(factor)?, ..self.clone() })
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Bounds, const N: usize> Bounds for Priority<S, N> {
    const QUEUES: bool = S::QUEUES;

    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        self.strategy.most(first, last)
    }

    /// Promises the default priority as many hits as would be admitted if each cost its reserve too.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (cost, reserve) = (cost.max(1), self.reserve(Class::default()));
        let Some(both) = cost.checked_add(reserve).filter(|_| reserve > 0) else {
            return if reserve == 0 { self.strategy.least(first, last, cost) } else { 0 };
        };
        // least(c + r) / (c + r) hits, each of which counts as c.
        self.strategy.least(first, last, both) / u128::from(both) * u128::from(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FixedWindow, Rate, TokenBucket};

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    fn hit(priority: u32, cost: u32) -> Hit {
        Hit::new(cost).with_class(Class { priority: Label(priority), ..Class::default() })
    }

    /// Defect 18 of the original: priorities had separate queues, 10 admitted for each of 4 at limit 10.
    #[test]
    fn defect_18_all_priorities_share_one_limit() {
        let reserves = [(Label(1), ratio("50%")), (Label(2), ratio("25%")), (Label(3), ratio("10%"))];
        let limit = Priority::new(FixedWindow::new(Rate::per_minute(10)), reserves).unwrap();
        let mut state = Default::default();
        let mut admitted = |priority| {
            let asked = (0..10).map(|_| limit.decide(&mut state, &hit(priority, 1), Timestamp::EPOCH));
            asked.filter(Decision::is_allowed).count()
        };
        assert_eq!([1, 2, 3, 4].map(&mut admitted), [5, 3, 1, 1], "10 in all");
        assert_eq!([1, 2, 3, 4].map(admitted), [0; 4]);
    }

    #[test]
    fn the_wait_is_for_the_reserve_too() {
        let bucket = TokenBucket::new(Rate::per_second(10));
        let limit = Priority::new(bucket, [(Label(1), ratio("1/2"))]).unwrap();
        let mut state = Default::default();
        assert!(limit.decide(&mut state, &hit(0, 10), Timestamp::EPOCH).is_allowed());
        let denied = limit.decide(&mut state, &hit(1, 1), Timestamp::EPOCH);
        assert_eq!(denied.retry_after().unwrap().as_millis(), 600);
        assert_eq!((denied.limit(), denied.remaining()), (5, 0));
        assert_eq!(limit.peek(&state, &hit(1, 6), Timestamp::EPOCH).outcome(), Outcome::Never);
        assert_eq!(limit.peek(&state, &hit(1, u32::MAX), Timestamp::EPOCH).outcome(), Outcome::Never);
        let stat = limit.stat(&state, hit(1, 0).class, Timestamp::from_micros(700_000));
        assert_eq!((stat.reserve, stat.limit, stat.available, stat.inner.tokens), (5, 10, 2, 7));
    }

    #[test]
    fn reserves_that_keep_nothing_or_all_are_refused() {
        let window = FixedWindow::new(Rate::per_minute(10));
        let new = |given| Priority::new(window, [(Label(1), ratio(given))]).map(|_| ());
        assert_eq!(new("5%"), Err(StrategyError::ReserveTooSmall(Label(1), ratio("1/20"), 10)));
        assert_eq!(new("1"), Err(StrategyError::ReserveTooLarge(Label(1), Ratio::ONE)));
        assert_eq!(new("0"), Ok(()));
        assert_eq!(new("99%"), Ok(()));
        let twice = Priority::new(window, [(Label(1), ratio("1/2")), (Label(1), ratio("1/3"))]);
        assert_eq!(twice, Err(StrategyError::DuplicatePriority(Label(1))));
        let message = "priority 1 must leave 1/20 of a limit of 10, which is less than a cost of 1; give a \
                       reserve of 0, or a larger one";
        assert_eq!(new("5%").unwrap_err().to_string(), message);
    }

    #[test]
    fn a_scaled_reserve_keeps_and_leaves_something() {
        let limit =
            Priority::new(FixedWindow::new(Rate::per_minute(10)), [(Label(1), ratio("10%"))]).unwrap();
        let reserve = |text| limit.scaled(ratio(text)).unwrap().reserve(hit(1, 1).class);
        assert_eq!([reserve("10"), reserve("1/2"), reserve("1/10")], [10, 1, 0]);
    }

    #[test]
    fn an_unlimited_rate_has_nothing_to_reserve() {
        let limit = Priority::new(FixedWindow::new(Rate::UNLIMITED), [(Label(1), ratio("1/2"))]).unwrap();
        for cost in [0, 1, u32::MAX] {
            assert!(limit.peek(&Default::default(), &hit(1, cost), Timestamp::EPOCH).is_unlimited());
        }
    }
}
