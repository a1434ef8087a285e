//! What a rate-limiting algorithm is: a pure function from a state, a hit and the time to a decision.

use core::fmt;

use crate::{Ratio, Timestamp, Verdict};

mod adaptive;
pub(crate) mod compose;
mod cost_based;
mod fair_share;
mod fixed_window;
mod gcra;
mod leaky_bucket;
mod leaky_bucket_queue;
pub(crate) mod math;
mod quota_rollover;
mod regions;
mod sliding_log;
mod sliding_window;
mod strict_window;
mod token_bucket;
pub(crate) mod wire;

pub use adaptive::{Adaptive, AdaptiveError, AdaptiveStat, AdaptiveState};
pub use compose::{
    All, Both, Each, Erased, ErasedScale, ErasedStrategy, Hours, HoursError, InlineState, Listed, Priority,
    PriorityError, PriorityStat, Several, Single, TierError, Tiered, TieredStat, TimeOfDay, TimeOfDayStat,
    TimeOfDayState,
};
pub use cost_based::{CostBased, CostBasedError, CostBasedStat, CostBasedState};
pub use fair_share::{FairShare, FairShareStat, FairShareState};
pub use fixed_window::{FixedWindow, FixedWindowStat, FixedWindowState};
pub use gcra::{Gcra, GcraStat};
pub use leaky_bucket::{LeakyBucket, LeakyBucketStat};
pub use leaky_bucket_queue::{LeakyBucketQueue, LeakyBucketQueueStat};
pub use math::{Bounds, Level, ShareError, Shares, TooLarge};
pub use quota_rollover::{QuotaRollover, QuotaRolloverStat, QuotaRolloverState, RolloverError};
pub use regions::{Regions, RegionsStat, RegionsState};
#[cfg(feature = "serde")]
pub(crate) use sliding_log::Room;
#[cfg(feature = "alloc")]
pub use sliding_log::{Heap, HeapLog, HeapLogState};
pub use sliding_log::{Inline, Log, LogState, LogTooSmall, SlidingLog, SlidingLogStat, SlidingLogState};
pub use sliding_window::{SlidingWindow, SlidingWindowStat, SlidingWindowState};
pub use strict_window::{BucketsError, StrictWindow, StrictWindowStat, StrictWindowState};
pub use token_bucket::{TokenBucket, TokenBucketStat};
pub use wire::{
    Corrupt, Figure, Formula, Held, Inlined, Part, Reader, Report, Reported, Writer, decode, encode,
};

/// How much a hit takes: a number, or a pair of them where two limits count different things.
pub trait Cost: Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The same number for every limit.
    #[must_use]
    fn uniform(cost: u32) -> Self;

    /// The largest number of it.
    #[must_use]
    fn largest(self) -> u32;

    /// Whether no limit admits this cost that denies `other`: it is nowhere below it. Only where both are the same, if
    /// nothing is said.
    #[must_use]
    fn is_at_least(self, other: Self) -> bool {
        self == other
    }

    /// The sum of both, if it can be told: then to [charge](Strategy::charge) it is to charge one and the other. `None`, if
    /// nothing is said.
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

/// The name of a tier, priority, region or instance, interned as a number by whoever configures them.
///
/// Never made out of text that a client wrote: a client must not be able to name its own tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Label(pub u32);

impl Label {
    /// The label of a name that whoever configures the limits has chosen: the same in every process.
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

/// What kind of request this is, for strategies that treat kinds differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Class {
    /// The customer's plan.
    pub tier: Label,
    /// How urgent the request is.
    pub priority: Label,
    /// Where it comes from.
    pub region: Label,
    /// Which instance of a service handles it.
    pub instance: Label,
}

/// All that a strategy may see of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hit<C = u32> {
    /// How much it takes.
    pub cost: C,
    /// What kind it is.
    pub class: Class,
}

impl<C: Cost> Hit<C> {
    /// A hit of this cost and the default class.
    #[must_use]
    pub fn new(cost: C) -> Self {
        Self { cost, class: Class::default() }
    }

    /// The same hit at no cost: what it is told tells what there is without it.
    #[must_use]
    pub fn free(self) -> Self {
        Self { cost: C::uniform(0), ..self }
    }

    /// The same hit with this class.
    #[must_use]
    pub fn with_class(self, class: Class) -> Self {
        Self { class, ..self }
    }
}

/// What a strategy remembers of a key.
///
/// * `Default` MUST be the state of a key never seen.
/// * The encoded form MUST tell its own end, start with a tag that names the strategy and the version of the
///   form, and be no longer than `MAX_LEN`.
/// * `decode` MUST refuse, without panicking, whatever `encode` cannot have written.
pub trait State: Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The longest encoded form, in bytes.
    const MAX_LEN: usize;

    /// Appends the encoded form.
    fn encode(&self, out: &mut Writer<'_>);

    /// Reads the encoded form.
    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt>;
}

/// A limit: an algorithm with its rate inside. Small, and cheap to make anew for every request.
///
/// Every implementation MUST keep the [laws](crate::laws) (feature `laws`), among them:
///
/// * `decide` depends on its arguments alone, and may be run any number of times.
/// * The admitted cost never exceeds the strategy's bound, for any rate, cost and time.
/// * A denial leaves the state as it was.
/// * `retry_after` is exact: admitted then, denied one microsecond earlier.
/// * Once `fresh_at` has come, the state decides as `Default` does.
/// * A time earlier than the state's own counts as the state's own.
/// * Cost 0 always passes and changes nothing; a cost that can never pass is [`Never`](crate::Outcome::Never).
pub trait Strategy: Clone + Send + Sync + 'static {
    /// What is remembered of a key.
    type State: State;
    /// How much a hit takes.
    type Cost: Cost;
    /// What is answered: a [`Decision`](crate::Decision), or several.
    type Verdict: Verdict;
    /// This strategy's own figures.
    type Stat;

    /// Decides on a hit and books it if it is admitted.
    fn decide(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict;

    /// What [`decide`](Self::decide) would answer, without booking anything.
    fn peek(&self, state: &Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict {
        self.decide(&mut state.clone(), hit, now)
    }

    /// Books what has already happened: never denies, and saturates instead of overflowing.
    fn charge(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, now: Timestamp);

    /// Takes an admission back, as much of it as is still in use: never more than `receipt` says was taken,
    /// and never what other hits have used since.
    fn refund(
        &self,
        state: &mut Self::State,
        hit: &Hit<Self::Cost>,
        receipt: <Self::Verdict as Verdict>::Receipt,
        now: Timestamp,
    );

    /// When this state will decide as `Default` does; in the past if it does already.
    fn fresh_at(&self, state: &Self::State, class: Class) -> Timestamp;

    /// The longest this limit takes to become fresh, in microseconds: an upper bound for what a clock that
    /// stepped back may cost a client in waiting.
    fn horizon(&self) -> u64;

    /// The strategy's own figures at this time.
    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> Self::Stat;

    /// Whether a denial may be noted in the state as demand, at most once per member and window and never to
    /// the client's advantage; or may end sooner than it says. Then denials can be
    /// [recorded](Verdict::is_recorded), and may not be answered from a cache.
    #[inline]
    fn records_demand(&self) -> bool {
        false
    }

    /// Shows how this limit decides on a hit to a store that can run it itself: `visit` is called for each limit it is
    /// made of, in the order their states are encoded. `false` if one of them is none that a store could know, does
    /// not [fit](Self::fits_script), or decides by more than its state, the hit and the time.
    ///
    /// All of them have to admit the hit for any to be charged.
    fn parts_of(&self, hit: &Hit<Self::Cost>, visit: &mut dyn FnMut(Part)) -> bool {
        let _ = (hit, visit);
        false
    }

    /// Whether a store may run this limit as a script, whose numbers are exact only below 2⁵³.
    ///
    /// Strategies that no store knows run elsewhere, and always fit.
    fn fits_script(&self) -> Result<(), TooLarge> {
        Ok(())
    }
}

/// A limit that can be made larger or smaller, as the wrappers do by tier or time of day.
///
/// * A state of the limit MUST be a state of every scaled one.
/// * [`advance`](Self::advance) MUST NOT change what this limit decides at `to` or later, nor
///   [`advance_receipt`](Self::advance_receipt) what a refund then takes back. What is fresh by `to` MUST become
///   `Default`, so that it is fresh for whichever limit takes over.
/// * A [finer](Self::finer) limit MUST decide as this one does.
pub trait Scale: Strategy {
    /// The same limit at `ratio` times its [rate](crate::Rate::scaled). What was given apart from the rate, such as a burst,
    /// stays what it is.
    fn scaled(&self, ratio: Ratio) -> Result<Self, TooLarge>;

    /// Brings a state forward to the time at which another limit takes over, so that what drained until then
    /// did so at the rate of this one. For strategies whose states drain nothing before they are fresh there is
    /// no more to do than what is done here.
    #[inline]
    fn advance(&self, state: &mut Self::State, class: Class, to: Timestamp) {
        let fresh_at = self.fresh_at(state, class);
        // The end of time stands for never.
        if fresh_at <= to && fresh_at < Timestamp::MAX {
            *state = Self::State::default();
        }
    }

    /// Does the same for the receipt of an admission. Nothing to do where nothing drains.
    fn advance_receipt(
        &self,
        receipt: &mut <Self::Verdict as Verdict>::Receipt,
        class: Class,
        to: Timestamp,
    ) {
        let _ = (receipt, class, to);
    }

    /// Into how many parts a cost of 1 is divided to be counted exactly. Limits that count in the same parts
    /// pass a state to and fro without rounding.
    fn parts(&self) -> u64 {
        1
    }

    /// The same limit, counting in parts `factor` times as fine.
    fn finer(&self, factor: u64) -> Result<Self, TooLarge> {
        let _ = factor;
        Ok(self.clone())
    }
}

/// What a storage applies to the state of one key, as one atomic step.
///
/// Every operation answers with a verdict: a check and a peek with the one on their hit, the others with that
/// of a peek of cost 0 afterwards, which tells the figures they leave behind.
#[derive(Debug)]
pub enum Op<S: Strategy> {
    /// Decide on a hit and book it if it is admitted.
    Check(Hit<S::Cost>),
    /// Decide on a hit without booking it.
    Peek(Hit<S::Cost>),
    /// Book what has already happened.
    Charge(Hit<S::Cost>),
    /// Take an admission back.
    Refund(Hit<S::Cost>, <S::Verdict as Verdict>::Receipt),
    /// Forget the key.
    Reset,
}

impl<S: Strategy> Clone for Op<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Strategy> Copy for Op<S> {}

impl<S: Strategy> Op<S> {
    /// Runs the operation on a state. The answer is what is to be told, and whether the state was changed.
    pub fn apply(&self, limit: &S, state: &mut S::State, now: Timestamp) -> (S::Verdict, bool) {
        let verdict = self.run(limit, state, now);
        let written = self.writes(&verdict);
        (verdict, written)
    }

    /// Runs the operation on a state, and answers what is to be told.
    #[inline]
    pub fn run(&self, limit: &S, state: &mut S::State, now: Timestamp) -> S::Verdict {
        let nothing = || Hit::new(S::Cost::uniform(0)).with_class(self.class());
        let hit = match self {
            Self::Check(hit) => return limit.decide(state, hit, now),
            Self::Peek(hit) => *hit,
            Self::Charge(hit) => {
                limit.charge(state, hit, now);
                nothing()
            }
            Self::Refund(hit, receipt) => {
                limit.refund(state, hit, *receipt, now);
                nothing()
            }
            Self::Reset => {
                *state = S::State::default();
                nothing()
            }
        };
        limit.peek(state, &hit, now)
    }

    /// Whether the operation, having been answered with this verdict, changed the state.
    #[inline]
    pub fn writes(&self, verdict: &S::Verdict) -> bool {
        match self {
            Self::Check(_) => verdict.is_recorded(),
            Self::Peek(_) => false,
            Self::Charge(_) | Self::Refund(..) | Self::Reset => true,
        }
    }

    /// The class of the hit, or the default one.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Check(hit) | Self::Peek(hit) | Self::Charge(hit) | Self::Refund(hit, _) => hit.class,
            Self::Reset => Class::default(),
        }
    }
}
