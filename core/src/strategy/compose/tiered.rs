//! Tiers: the rate times a ratio that depends on the customer's plan.

use crate::strategy::compose::family::{denominator, refine_to, try_array};
use crate::strategy::wire::stats::stat;
use crate::strategy::{
    Bounds, CapacityError, Class, Cost, Hit, Label, ReceiptOf, Scale, ScriptLimit, Strategy, StrategyError,
};
use crate::{Ratio, Timestamp, Verdict};

/// Gives every tier of customers its own ratio of one rate.
///
/// Choose it for plans such as free and pro. [`Priority`](crate::strategy::Priority) divides one limit by
/// urgency instead, and [`TimeOfDay`](crate::strategy::TimeOfDay) varies the rate by hour. The state is that
/// of the wrapped strategy.
///
/// The tier is that of the hit's [`Class`]. A tier that was not named, the default one included, counts as
/// the first that was. The limits of all tiers are computed once, each rounded down but never below 1.
///
/// * A [`Label`] MUST come from the server's own data about the customer, never from a key or a header that
///   the client wrote. Otherwise a client can promote itself.
/// * Cost used stays used when a key changes its tier. Between two hits the state drains at the rate of the
///   later hit's tier. A state forgotten once it is fresh for the tier of its last hit drained at the rate of
///   that tier.
///
/// Over any time it admits at most what the largest tier alone would. A client that stays in its tier gets at
/// least what that tier alone would admit.
///
/// 2 per minute, free at 1 and pro at 3 times that:
///
/// | at | tier | cost | decided | remaining |
/// |---|---|---|---|---|
/// | 0 s | free | 2 | allow | 0 |
/// | 0 s | free | 1 | deny, retry after 60 s | 0 |
/// | 0 s | pro | 3 | allow | 1 |
/// | 0 s | unknown | 3 | never | 0 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Class, FixedWindow, Hit, Label, Outcome, Ratio, Strategy, Tiered, Timestamp, rate};
///
/// const FREE: Label = Label(1);
/// const PRO: Label = Label(2);
/// let window = FixedWindow::new(rate!("2/min"));
/// let tiered = Tiered::new(window, [(FREE, Ratio::ONE), (PRO, "3".parse()?)])?;
/// let mut state = Default::default();
/// let mut decide = |tier, cost| {
///     let class = Class::new().with_tier(tier);
///     tiered.decide(&mut state, &Hit::new(cost).with_class(class), Timestamp::EPOCH)
/// };
///
/// assert_eq!(decide(FREE, 2).remaining(), 0);
/// assert_eq!(decide(FREE, 1).retry_after(), Some(Duration::from_secs(60)));
/// assert_eq!(decide(PRO, 3).remaining(), 1);
/// assert_eq!(decide(Label(77), 3).outcome(), Outcome::Never);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Figures
///
/// `limiter.stat("alice")?.effective_limit` reads one of them without charging the key, for the default
/// class; [`stat_for`](crate::Limiter::stat_for) reads those of another class.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `tier` | [`Label`](crate::Label) | tier that the hit counts as |
/// | `ratio` | `Ratio` | tier's ratio of the rate |
/// | `effective_limit` | `u32`, cost | most at once in this tier; the least of composed limits |
/// | `inner` | `S::Stat` | figures of the wrapped strategy |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiered<S, const N: usize> {
    /// The tier that stands for all that were not named.
    first: Tier<S>,
    tiers: [Tier<S>; N],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tier<S> {
    label: Label,
    ratio: Ratio,
    strategy: S,
}

stat! {
    /// The figures of a [`Tiered`] limit.
    ///
    /// ```
    /// use traffik::{Class, FixedWindow, Label, Ratio, Strategy, Tiered, Timestamp, rate};
    ///
    /// let strategy = Tiered::new(FixedWindow::new(rate!("2/min")), [(Label(1), Ratio::new(3, 1)?)])?;
    /// let stat = strategy.stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.tier, stat.effective_limit), (Label(1), 6));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub struct TieredStat<T> {
        /// The tier that the hit counts as.
        pub tier: Label,
        /// The tier's ratio of the rate.
        pub ratio: Ratio,
        /// The most that can be had at once in this tier; the least such limit of composed limits.
        pub effective_limit: u32,
        /// The figures of the wrapped strategy.
        pub inner: T,
    }
}

impl<S: Scale, const N: usize> Tiered<S, N> {
    /// Scales `strategy` by the ratio of each tier. Tiers not named count as the first.
    ///
    /// # Errors
    ///
    /// * [`NoTier`](StrategyError::NoTier) without tiers.
    /// * [`DuplicateTier`](StrategyError::DuplicateTier) if a tier is named twice.
    /// * [`ZeroTier`](StrategyError::ZeroTier) for a ratio of 0.
    /// * [`TierTooLarge`](StrategyError::TierTooLarge) if a scaled limit cannot be counted exactly.
    pub fn new(strategy: S, tiers: [(Label, Ratio); N]) -> Result<Self, StrategyError> {
        for (at, (label, ratio)) in tiers.iter().enumerate() {
            if tiers.iter().skip(at + 1).any(|(other, _)| other == label) {
                return Err(StrategyError::DuplicateTier(*label));
            }
            if ratio.num() == 0 {
                return Err(StrategyError::ZeroTier(*label));
            }
        }
        let tier = |(label, ratio): (Label, Ratio)| match strategy.scaled(ratio) {
            Ok(strategy) => Ok(Tier { label, ratio, strategy }),
            Err(error) => Err(StrategyError::TierTooLarge(label, error)),
        };
        // The first tier is kept apart, so that every class has one.
        let first = tier(*tiers.first().ok_or(StrategyError::NoTier)?)?;
        let tiers =
            try_array(&first, |at| tiers.get(at).map_or(Err(StrategyError::NoTier), |named| tier(*named)))?;
        Ok(Self { first, tiers })
    }

    /// Returns the strategy of a class.
    #[must_use]
    pub fn strategy(&self, class: Class) -> &S {
        &self.tier(class).strategy
    }

    #[inline]
    fn tier(&self, class: Class) -> &Tier<S> {
        // The first tier stands for all that were not named.
        self.tiers.iter().find(|tier| tier.label == class.tier).unwrap_or(&self.first)
    }

    fn strategies(&self) -> impl Iterator<Item = &S> {
        self.tiers.iter().map(|tier| &tier.strategy)
    }

    /// Returns the same tiers, with their strategies replaced.
    fn try_map(&self, make: impl Fn(&S) -> Result<S, CapacityError>) -> Result<Self, CapacityError> {
        let tier = |tier: &Tier<S>| Ok(Tier { strategy: make(&tier.strategy)?, ..*tier });
        let first = tier(&self.first)?;
        let tiers = try_array(&first, |at| self.tiers.get(at).map_or_else(|| Ok(first.clone()), tier))?;
        Ok(Self { first, tiers })
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Scale, const N: usize> Strategy for Tiered<S, N> {
    type State = S::State;
    type Cost = S::Cost;
    type Verdict = S::Verdict;
    type Stat = TieredStat<S::Stat>;

    #[inline]
    fn decide(&self, state: &mut S::State, hit: &Hit<S::Cost>, now: Timestamp) -> S::Verdict {
        self.strategy(hit.class).decide(state, hit, now)
    }

    #[inline]
    fn peek(&self, state: &S::State, hit: &Hit<S::Cost>, now: Timestamp) -> S::Verdict {
        self.strategy(hit.class).peek(state, hit, now)
    }

    fn charge(&self, state: &mut S::State, hit: &Hit<S::Cost>, now: Timestamp) {
        self.strategy(hit.class).charge(state, hit, now);
    }

    fn refund(&self, state: &mut S::State, hit: &Hit<S::Cost>, receipt: ReceiptOf<S>, now: Timestamp) {
        self.strategy(hit.class).refund(state, hit, receipt, now);
    }

    #[inline]
    fn expires_at(&self, state: &S::State, class: Class) -> Timestamp {
        self.strategy(class).expires_at(state, class)
    }

    fn max_ttl(&self) -> u64 {
        self.strategies().map(Strategy::max_ttl).max().unwrap_or(0)
    }

    fn rebase(&self, state: &mut S::State, now: Timestamp) -> bool {
        // A state may last as long as under the slowest tier, so only that tier can tell that it lies ahead.
        let slowest =
            self.strategies().max_by_key(|strategy| strategy.max_ttl()).unwrap_or(&self.first.strategy);
        slowest.rebase(state, now)
    }

    #[inline]
    fn records_demand(&self) -> bool {
        // All tiers are of one strategy, and differ only in scale.
        self.first.strategy.records_demand()
    }

    fn parts_of(&self, hit: &Hit<S::Cost>, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        self.strategy(hit.class).parts_of(hit, visit)
    }

    fn stat(&self, state: &S::State, class: Class, now: Timestamp) -> Self::Stat {
        let Tier { label, ratio, strategy } = self.tier(class);
        // Cost 0 passes and changes nothing, so it reads the figures.
        let nothing = Hit::new(S::Cost::uniform(0)).with_class(class);
        let mut effective_limit = u32::MAX;
        strategy
            .peek(state, &nothing, now)
            .for_each(&mut |decision| effective_limit = effective_limit.min(decision.limit()));
        TieredStat { tier: *label, ratio: *ratio, effective_limit, inner: strategy.stat(state, class, now) }
    }

    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.first.strategy.kinds(visit);
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.strategies().try_for_each(Strategy::fits_script)
    }
}

/// Scales the strategy of every tier.
#[deny(clippy::missing_trait_methods)]
impl<S: Scale, const N: usize> Scale for Tiered<S, N> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.try_map(|strategy| strategy.scaled(ratio))
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.try_map(|strategy| strategy.part(ratio))
    }

    fn advance(&self, state: &mut S::State, class: Class, to: Timestamp) {
        self.strategy(class).advance(state, class, to);
    }

    fn advance_receipt(&self, receipt: &mut ReceiptOf<S>, class: Class, to: Timestamp) {
        self.strategy(class).advance_receipt(receipt, class, to);
    }

    fn denominator(&self) -> u64 {
        denominator(self.strategies())
    }

    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        // All tiers count in the same units, so that a change of tier does not round.
        let denominator = self.denominator().saturating_mul(factor.max(1));
        self.try_map(|strategy| refine_to(denominator, strategy))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Scale + Bounds, const N: usize> Bounds for Tiered<S, N> {
    const QUEUES: bool = S::QUEUES;

    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        self.strategies().map(|strategy| strategy.most(first, last)).max().unwrap_or(0)
    }

    /// Promises what the tier of unnamed tiers does.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        self.strategy(Class::default()).least(first, last, cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FixedWindow, Gcra, Rate, TokenBucket};

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    fn tier(label: u32) -> Class {
        Class { tier: Label(label), ..Class::default() }
    }

    #[test]
    fn tiers_that_mean_nothing_are_refused() {
        let bucket = TokenBucket::new("1000000/31d".parse().unwrap()).burst(200_000_000).unwrap();
        let new = |tiers| Tiered::new(bucket, tiers).unwrap_err();
        assert_eq!(Tiered::new(bucket, []).unwrap_err(), StrategyError::NoTier);
        assert_eq!(
            new([(Label(3), Ratio::ONE), (Label(3), ratio("2"))]),
            StrategyError::DuplicateTier(Label(3))
        );
        assert_eq!(new([(Label(3), Ratio::ONE), (Label(4), ratio("0"))]), StrategyError::ZeroTier(Label(4)));
        let uneven = new([(Label(1), Ratio::ONE), (Label(2), ratio("999999/1000000"))]);
        assert_eq!(uneven, StrategyError::TierTooLarge(Label(2), CapacityError { largest: 185_955_081 }));
        assert!(
            uneven.to_string().starts_with("tier 2: the limit or burst is too large to be counted exactly"),
            "{uneven}"
        );
    }

    #[test]
    fn unnamed_tiers_count_as_the_first() {
        let limit = Tiered::new(
            FixedWindow::new(Rate::per_minute(10)),
            [(Label(5), ratio("1/2")), (Label(6), ratio("9"))],
        )
        .unwrap();
        for (label, counts_as, effective) in [(0, 5, 5), (5, 5, 5), (6, 6, 90), (7, 5, 5)] {
            let stat = limit.stat(&Default::default(), tier(label), Timestamp::EPOCH);
            assert_eq!((stat.tier, stat.effective_limit), (Label(counts_as), effective), "{label}");
        }
        assert_eq!(limit.most(Timestamp::EPOCH, Timestamp::EPOCH), 90);
        assert_eq!(limit.least(Timestamp::EPOCH, Timestamp::EPOCH, 1), 5);
    }

    #[test]
    fn a_new_tier_keeps_what_was_used() {
        let limit = Tiered::new(
            Gcra::new(Rate::per_minute(7)).burst(7).unwrap(),
            [(Label(1), Ratio::ONE), (Label(2), ratio("10/7"))],
        )
        .unwrap();
        let mut state = Default::default();
        let now = Timestamp::from_micros(1_000_000);
        assert!(limit.decide(&mut state, &Hit::new(5).with_class(tier(1)), now).is_allowed());
        let promoted = limit.peek(&state, &Hit::new(0).with_class(tier(2)), now);
        assert_eq!((promoted.limit(), promoted.remaining()), (7, 2));
    }

    /// Defect 13 of the original: a tier was read out of the key. Here a key has no say.
    #[test]
    fn defect_13_a_key_does_not_name_its_tier() {
        let limit = Tiered::new(
            FixedWindow::new(Rate::per_minute(1)),
            [(Label(1), Ratio::ONE), (Label(2), ratio("100"))],
        )
        .unwrap();
        let storage = crate::Fixed::<_, _, 4>::new(crate::ManualClock::default(), 7);
        let limiter = crate::Limiter::new(limit, storage);
        assert!(limiter.check("tier:2").unwrap().is_allowed());
        assert!(!limiter.check("tier:2").unwrap().is_allowed());
    }
}
