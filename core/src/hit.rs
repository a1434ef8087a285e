//! The hit: the cost of a request and its class.

use core::fmt;

use crate::Key;

/// The cost of a hit: a number, or a pair of numbers where two limits count different things.
///
/// Callers pass a `u32`, or a pair for a strategy that is a pair. A cost, and the limit of a rate, is a whole
/// number up to 4 294 967 295. Count requests, or the tokens of a language model, one by one. Bytes beyond 4
/// GiB need a larger unit, the same one for rate and cost:
///
/// | unit | limits below | rounding adds less than |
/// |---|---|---|
/// | 1 byte | 4 GiB | 1 byte, so nothing |
/// | 1 KiB (`1 << 10`) | 4 TiB | 1 KiB |
/// | 1 MiB (`1 << 20`) | 4 PiB | 1 MiB |
///
/// ```
/// use traffik::{Cost, Fixed, Limiter, ManualClock, Rate, TokenBucket};
///
/// const KIB: u64 = 1 << 10;
/// // 10 GiB a day.
/// let daily = TokenBucket::new(Rate::per_day(10 << 20));
/// let limiter = Limiter::new(daily, Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1));
/// let body: u64 = 5_000_000_000;
///
/// assert_eq!(limiter.check_n("ann", u32::in_units(body, KIB))?.remaining(), 5_602_947);
/// // In bytes it exceeds 32 bits, and is never admitted.
/// assert_eq!(u32::in_units(body, 1), u32::MAX);
///
/// // Tokens: 90 000 a minute, and the most that a prompt and its answer can take.
/// let tokens = TokenBucket::new(Rate::per_minute(90_000));
/// let limiter = Limiter::new(tokens, Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1));
/// let (prompt, answer) = (1_200u64, 4_096u64);
/// assert!(limiter.check_n("ann", u32::in_units(prompt + answer, 1))?.is_allowed());
/// # Ok::<(), traffik::StorageError>(())
/// ```
pub trait Cost: Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Returns the same number for every limit.
    #[must_use]
    fn uniform(cost: u32) -> Self;

    /// Returns the cost of an amount, such as of bytes, in units of this size; of a pair, the same for both.
    ///
    /// It rounds up, so that nothing is free. An amount beyond 32 bits, or a unit of 0, costs `u32::MAX`,
    /// which every smaller limit refuses for ever. So a cost never wraps around to a small one, as
    /// `amount as u32` does.
    #[must_use]
    fn in_units(amount: u64, unit: u64) -> Self {
        // cost = ceil(amount / unit), and u32::MAX at most.
        let whole = amount.checked_div(unit).unwrap_or(u64::MAX);
        let part = amount.checked_rem(unit).unwrap_or_default() > 0;
        Self::uniform(u32::try_from(whole.saturating_add(part.into())).unwrap_or(u32::MAX))
    }

    /// Returns the largest of its numbers.
    #[must_use]
    fn largest(self) -> u32;

    /// Reports whether every limit that admits this cost admits `other` too. Defaults to whether both are
    /// equal.
    #[must_use]
    fn is_at_least(self, other: Self) -> bool {
        self == other
    }

    /// Returns the sum of both, whose [charge](crate::Strategy::charge) is that of one and the other.
    ///
    /// Defaults to `None`.
    #[must_use]
    fn plus(self, other: Self) -> Option<Self> {
        let _ = other;
        None
    }
}

impl Cost for u32 {
    fn uniform(cost: u32) -> Self {
        cost
    }

    fn largest(self) -> u32 {
        self
    }

    fn is_at_least(self, other: Self) -> bool {
        self >= other
    }

    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<A: Cost, B: Cost> Cost for (A, B) {
    fn uniform(cost: u32) -> Self {
        (A::uniform(cost), B::uniform(cost))
    }

    fn in_units(amount: u64, unit: u64) -> Self {
        (A::in_units(amount, unit), B::in_units(amount, unit))
    }

    fn largest(self) -> u32 {
        self.0.largest().max(self.1.largest())
    }

    fn is_at_least(self, other: Self) -> bool {
        // In both numbers: a limit that refuses one of them refuses the pair.
        self.0.is_at_least(other.0) && self.1.is_at_least(other.1)
    }

    fn plus(self, other: Self) -> Option<Self> {
        Some((self.0.plus(other.0)?, self.1.plus(other.1)?))
    }
}

/// The name of a tier, priority, region or instance, as a number that the configuration chooses.
///
/// Choose [`Label::named`] for a name, or a number of your own. A label MUST NOT be made from text that a
/// client wrote: a client could then name its own tier.
///
/// ```
/// use traffik::{Class, Label};
///
/// let plan = String::from("pro"); // from a database
/// assert_eq!(Class::new().with_tier(Label::named(&plan)), Class::new().with_tier("pro"));
/// assert_eq!(Class::new().with_tier(Label(7)).tier, Label(7));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Label(pub u32);

impl Label {
    /// Returns the label of a name from the configuration: the same in every process.
    ///
    /// It is a 32-bit hash (FNV-1a), never 0. Two names share a label with a chance of 2⁻³²; strategies
    /// refuse the same label twice.
    #[must_use]
    pub const fn named(name: &str) -> Self {
        let (mut hash, mut at) = (0x811c_9dc5u32, 0);
        while let Some((byte, _)) = name.as_bytes().split_at(at).1.split_first() {
            // FNV-1a: hash = (hash ^ byte) · 0x01000193 mod 2³².
            hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
            at += 1;
        }
        // 0 is the default label, which stands for none.
        Self(if hash == 0 { 1 } else { hash })
    }
}

/// The label of a name that is written in the program. A name from elsewhere needs [`Label::named`], so that
/// the caller considers whether a client wrote it.
impl From<&'static str> for Label {
    fn from(name: &'static str) -> Self {
        Self::named(name)
    }
}

/// The class of a request, for strategies that treat classes differently.
///
/// Choose it with [`Tiered`](crate::Tiered), [`Priority`](crate::Priority), [`Regions`](crate::Regions) or
/// [`FairShare`](crate::FairShare); other strategies ignore it.
///
/// ```
/// use traffik::{Class, FixedWindow, Hit, Label, Ratio, Strategy, Tiered, Timestamp, rate};
///
/// let tiers = [("free".into(), Ratio::ONE), ("pro".into(), Ratio::new(3, 1)?)];
/// let strategy = Tiered::new(FixedWindow::new(rate!("2/min")), tiers)?;
///
/// let class = Class::new().with_tier("pro").with_region("eu");
/// assert_eq!((class.tier, class.priority), (Label::named("pro"), Label::default()));
/// let hit = Hit::new(1).with_class(class);
/// assert_eq!(strategy.decide(&mut Default::default(), &hit, Timestamp::EPOCH).remaining(), 5);
/// # Ok::<(), traffik::StrategyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Class {
    /// The customer's plan.
    pub tier: Label,
    /// The urgency of the request.
    pub priority: Label,
    /// The region of the request.
    pub region: Label,
    /// The instance of a service that handles the request.
    pub instance: Label,
}

impl Class {
    /// Creates the class of a request without any label.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the tier, for [`Tiered`](crate::Tiered).
    #[must_use]
    pub fn with_tier(self, tier: impl Into<Label>) -> Self {
        Self { tier: tier.into(), ..self }
    }

    /// Sets the priority, for [`Priority`](crate::Priority).
    #[must_use]
    pub fn with_priority(self, priority: impl Into<Label>) -> Self {
        Self { priority: priority.into(), ..self }
    }

    /// Sets the region, for [`Regions`](crate::Regions).
    #[must_use]
    pub fn with_region(self, region: impl Into<Label>) -> Self {
        Self { region: region.into(), ..self }
    }

    /// Sets the instance of a service, for [`FairShare`](crate::FairShare).
    #[must_use]
    pub fn with_instance(self, instance: impl Into<Label>) -> Self {
        Self { instance: instance.into(), ..self }
    }

    /// Returns the key under which hits of this class queue for `key`; `key` itself for the default class.
    ///
    /// Each class has a queue of its own. Behind a class that must leave a reserve, or has used its share, a
    /// waiter would miss cost that only its own class may take.
    #[doc(hidden)]
    #[must_use]
    pub fn waiting_for<K: Key + ?Sized>(self, key: &K) -> impl Key {
        ClassKey { key, class: self }
    }
}

/// A key, and the class of its waiters.
struct ClassKey<'a, K: ?Sized> {
    key: &'a K,
    class: Class,
}

impl<K: Key + ?Sized> Key for ClassKey<'_, K> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        if self.class == Class::default() {
            return self.key.feed(sink);
        }
        let Class { tier, priority, region, instance } = self.class;
        (self.key, tier.0, priority.0, region.0, instance.0).feed(sink);
    }
}

/// A request as a strategy sees it: its cost and its class.
///
/// Limiters accept a plain cost; build a hit where the class matters.
///
/// ```
/// use traffik::{Class, Hit};
///
/// let upload = Hit::new(3).with_class(Class::new().with_tier("pro"));
/// assert_eq!((upload.cost, upload.free().cost), (3, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hit<C = u32> {
    /// The cost.
    pub cost: C,
    /// The class.
    pub class: Class,
}

impl<C: Cost> Hit<C> {
    /// Creates a hit of this cost and the default class.
    #[must_use]
    pub fn new(cost: C) -> Self {
        Self { cost, class: Class::default() }
    }

    /// Returns this hit at cost 0, to read the current figures without charging.
    #[must_use]
    pub fn free(self) -> Self {
        Self { cost: C::uniform(0), ..self }
    }

    /// Sets the class.
    #[must_use]
    pub fn with_class(self, class: Class) -> Self {
        Self { class, ..self }
    }
}

/// A hit of the default class: a limiter's methods take a plain cost, or a [`Hit`] where the class matters.
///
/// ```
/// use traffik::{Class, Hit};
///
/// assert_eq!(Hit::from(3), Hit::new(3).with_class(Class::new()));
/// ```
impl<C: Cost> From<C> for Hit<C> {
    #[inline]
    fn from(cost: C) -> Self {
        Self::new(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_never_counted_as_less_than_it_is() {
        const ENDS: [u64; 9] = [0, 1, 2, 1_023, 1_024, 1_025, u32::MAX as u64, u32::MAX as u64 + 1, u64::MAX];
        for amount in ENDS {
            for unit in ENDS {
                let cost = u32::in_units(amount, unit);
                let counted = u128::from(cost) * u128::from(unit);
                let least = (cost == 0 && amount == 0) || counted - u128::from(unit) < u128::from(amount);
                assert!(cost == u32::MAX || counted >= amount.into(), "{amount} in {unit}: {cost}");
                assert!(unit == 0 || least, "{amount} in {unit}: {cost}");
            }
        }
        assert_eq!([u32::in_units(5_000_000_000, 1), u32::in_units(5, 0)], [u32::MAX; 2]);
        assert_eq!(<(u32, u32)>::in_units(5_000_000_000, 1 << 10), (4_882_813, 4_882_813));
    }

    /// `5_000_000_000 as u32` is 705 032 704.
    #[test]
    fn an_amount_beyond_a_cost_is_never_admitted() {
        use crate::{Gcra, Outcome, Rate, Strategy, Timestamp};
        let limit = Gcra::new(Rate::per_day(u32::MAX - 1));
        let hit = Hit::new(u32::in_units(5_000_000_000, 1));
        let decided = limit.decide(&mut Default::default(), &hit, Timestamp::EPOCH);
        assert_eq!(decided.outcome(), Outcome::Never);
    }

    #[test]
    fn a_class_is_put_together_of_names_and_of_labels() {
        let class = Class::new().with_tier("pro").with_priority(Label(7));
        let class = class.with_region("eu").with_instance(Label::named("a"));
        let labels = [class.tier, class.priority, class.region, class.instance];
        assert_eq!(labels, [Label::named("pro"), Label(7), Label::named("eu"), Label::named("a")]);
        assert_eq!(Class::new(), Class::default());
    }
}
