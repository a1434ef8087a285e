//! A hit: the cost of a request and its class.

use core::fmt;

/// The cost of a hit: a number, or a pair of them where two limits count different things.
pub trait Cost: Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The same number for every limit.
    #[must_use]
    fn uniform(cost: u32) -> Self;

    /// The largest number of it.
    #[must_use]
    fn largest(self) -> u32;

    /// Whether every limit that admits this cost admits `other` too. Defaults to whether both are the same.
    #[must_use]
    fn is_at_least(self, other: Self) -> bool {
        self == other
    }

    /// The sum of both: [charging](crate::Strategy::charge) it charges one and the other. Defaults to `None`.
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

    fn largest(self) -> u32 {
        self.0.largest().max(self.1.largest())
    }

    fn is_at_least(self, other: Self) -> bool {
        self.0.is_at_least(other.0) && self.1.is_at_least(other.1)
    }

    fn plus(self, other: Self) -> Option<Self> {
        Some((self.0.plus(other.0)?, self.1.plus(other.1)?))
    }
}

/// The name of a tier, priority, region or instance, as a number that the configuration chooses.
///
/// A label MUST NOT be made from text that a client wrote: a client could then name its own tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Label(pub u32);

impl Label {
    /// The label of a name from the configuration: the same in every process.
    ///
    /// A 32-bit hash (FNV-1a), never 0. Two names share a label with a chance of 2⁻³²; strategies refuse to
    /// be given the same label twice.
    #[must_use]
    pub const fn named(name: &str) -> Self {
        let (mut hash, mut at) = (0x811c_9dc5u32, 0);
        while let Some((byte, _)) = name.as_bytes().split_at(at).1.split_first() {
            hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
            at += 1;
        }
        Self(if hash == 0 { 1 } else { hash })
    }
}

/// The kind of a request, for strategies that treat kinds differently.
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
    /// The region that it comes from.
    pub region: Label,
    /// The instance of a service that handles it.
    pub instance: Label,
}

/// A request as a strategy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hit<C = u32> {
    /// Its cost.
    pub cost: C,
    /// Its class.
    pub class: Class,
}

impl<C: Cost> Hit<C> {
    /// A hit of this cost and the default class.
    #[must_use]
    pub fn new(cost: C) -> Self {
        Self { cost, class: Class::default() }
    }

    /// This hit at cost 0, to read the current figures without charging.
    #[must_use]
    pub fn free(self) -> Self {
        Self { cost: C::uniform(0), ..self }
    }

    /// This hit with another class.
    #[must_use]
    pub fn with_class(self, class: Class) -> Self {
        Self { class, ..self }
    }
}
