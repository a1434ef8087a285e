//! What a rate-limiting algorithm is: a pure function from a state, a hit and the time to a decision.

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
mod shares;
mod sliding_log;
mod sliding_window;
mod strict_window;
mod token_bucket;
pub(crate) mod wire;

/// The algorithms, which the crate shows at its root.
pub(crate) mod plain {
    #[cfg(feature = "alloc")]
    pub use super::HeapLog;
    pub use super::{
        Adaptive, CostBased, FairShare, FixedWindow, Gcra, LeakyBucket, LeakyBucketQueue, QuotaRollover,
        Regions, SlidingLog, SlidingWindow, StrictWindow, TokenBucket,
    };
}

pub use adaptive::Adaptive;
pub use compose::{All, Composite, Erased, ErasedScale, ErasedStrategy, Priority, Tiered, TimeOfDay};
pub use cost_based::CostBased;
pub use fair_share::FairShare;
pub use fixed_window::FixedWindow;
pub use gcra::Gcra;
pub use leaky_bucket::LeakyBucket;
pub use leaky_bucket_queue::LeakyBucketQueue;
pub use math::Bounds;
pub use quota_rollover::QuotaRollover;
pub use regions::Regions;
#[cfg(feature = "alloc")]
pub use sliding_log::HeapLog;
pub use sliding_log::SlidingLog;
pub use sliding_window::SlidingWindow;
pub use strict_window::StrictWindow;
pub use token_bucket::TokenBucket;
pub use wire::{DecodeError, Reader, StatValue, State, Stats, Writer, decode, encode};

pub use crate::capacity::CapacityError;
pub use crate::error::StrategyError;
pub use crate::hit::{Class, Cost, Hit, Label};
pub use crate::hours::Hours;
pub use crate::op::Op;

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
#[cfg(feature = "alloc")]
pub use sliding_log::{Heap, HeapLogState};
#[doc(hidden)]
pub use {
    adaptive::{AdaptiveStat, AdaptiveState},
    compose::{
        DecisionList, ErasedVerdict, InlineState, Parts, PerLimit, PriorityStat, TieredStat, TimeOfDayStat,
        TimeOfDayState,
    },
    cost_based::{CostBasedStat, CostBasedState},
    fair_share::{FairShareStat, FairShareState},
    fixed_window::{FixedWindowStat, FixedWindowState},
    gcra::GcraStat,
    leaky_bucket::LeakyBucketStat,
    leaky_bucket_queue::{LeakyBucketQueueStat, QueueState},
    math::Level,
    quota_rollover::{QuotaRolloverStat, QuotaRolloverState},
    regions::{RegionsStat, RegionsState},
    shares::Shares,
    sliding_log::{Inline, Log, LogState, SlidingLogStat, SlidingLogState},
    sliding_window::{SlidingWindowStat, SlidingWindowState},
    strict_window::{StrictWindowStat, StrictWindowState},
    token_bucket::TokenBucketStat,
    wire::{ActiveHours, ScriptFormula, ScriptLimit, StateNesting, StatsSnapshot},
};

/// The receipt of an admission by a strategy: what it took.
pub(crate) type Taken<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// A limit: an algorithm with its rate inside. Small, and cheap to make anew for every request.
///
/// Every implementation MUST keep the [laws](crate::laws) (feature `laws`), among them:
///
/// * `decide` depends on its arguments alone, and may be run any number of times.
/// * The admitted cost never exceeds the strategy's bound, for any rate, cost and time.
/// * A denial leaves the state as it was, but for a note of demand, or that the limit has changed.
/// * `retry_after` is exact: admitted then, denied one microsecond earlier.
/// * Once `expires_at` has come, the state decides as `Default` does.
/// * A time earlier than the state's own counts as the state's own, and [`rebase`](Self::rebase) brings a
///   state to the present that lies further ahead of it than it can last.
/// * Cost 0 always passes and changes nothing; a cost that can never pass is
///   [`Never`](crate::Outcome::Never).
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
    fn refund(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, receipt: Taken<Self>, now: Timestamp);

    /// When this state will decide as `Default` does; in the past if it does already.
    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp;

    /// The longest this limit takes to become fresh, in microseconds: an upper bound for what a clock that
    /// stepped back may cost a client in waiting.
    fn max_ttl(&self) -> u64;

    /// Moves a state to the present that lies so far ahead of `now` that the clock must have been set back:
    /// further than this limit lasts, and than a second. What was used stays used, and drains from now on.
    /// Reports whether the state was changed.
    ///
    /// A storage calls it when a hit is denied, if its clock is nobody else's. Otherwise a state from the
    /// future would be denied until the clock has caught up. Stores that several clocks write to forget such
    /// a state by its time to live instead.
    fn rebase(&self, state: &mut Self::State, now: Timestamp) -> bool {
        let _ = (state, now);
        false
    }

    /// The strategy's own figures at this time.
    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> Self::Stat;

    /// Whether a denial may be noted in the state as demand, at most once per member and window and never to
    /// the client's advantage; or may end sooner than it says. Then denials can be
    /// [recorded](Verdict::is_dirty), and may not be answered from a cache.
    ///
    /// Of any limit a check is recorded that is the first one after a change of the limit, whatever it comes
    /// to: what drains from then on does so at the new rate.
    #[inline]
    fn records_demand(&self) -> bool {
        false
    }

    /// Shows how this limit decides on a hit to a store that can run it itself: `visit` is called for each
    /// limit it is made of, in the order their states are encoded. `false` if one of them is none that a
    /// store could know, does not [fit](Self::fits_script), or decides by more than its state, the hit and
    /// the time.
    ///
    /// All of them have to admit the hit for any to be charged.
    fn parts_of(&self, hit: &Hit<Self::Cost>, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let _ = (hit, visit);
        false
    }

    /// Shows the kind of each limit that this one is made of: the form of its states, and its period in
    /// microseconds, 0 if it is unlimited or has none.
    ///
    /// Limits of the same kinds may take turns on the state of a key: what was used under one stays used
    /// under the other, and drains at the rate of the one that was asked last. Of limits of other kinds one
    /// would drain the state at its own pace, or begin anew, so each needs a state of its own.
    ///
    /// The kinds MUST NOT depend on anything but the limit, since they can be part of the name of a state. A
    /// strategy made of others shows theirs, and its own first if it adds to their states.
    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        let nothing = Hit::new(Self::Cost::uniform(0));
        let fresh = self.peek(&Self::State::default(), &nothing, Timestamp::EPOCH);
        fresh.for_each(&mut |decision| visit(wire::form::<Self::State>(), decision.window_micros()));
    }

    /// Whether a store may run this limit as a script, whose numbers are exact only below 2⁵³.
    ///
    /// Strategies that no store knows run elsewhere, and always fit.
    fn fits_script(&self) -> Result<(), CapacityError> {
        Ok(())
    }
}

/// A limit that can be made larger or smaller, as the wrappers do by tier or time of day.
///
/// * A state of the limit MUST be a state of every scaled one.
/// * [`advance`](Self::advance) MUST NOT change what this limit decides at `to` or later, nor
///   [`advance_receipt`](Self::advance_receipt) what a refund then takes back. What is fresh by `to` MUST
///   become `Default`, so that it is fresh for whichever limit takes over.
/// * A [refine](Self::refine) limit MUST decide as this one does.
pub trait Scale: Strategy {
    /// The same limit at `ratio` times its [rate](crate::Rate::scaled). What was given apart from the rate,
    /// such as a burst, stays what it is.
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError>;

    /// A part of the limit, for one of several that hold it together: the [scaled](Self::scaled) one, of
    /// which all that may come at once is that part as well, also where it was given apart from the rate.
    /// Parts that make up the whole admit no more than it does, as long as none of the numbers is less than
    /// there are parts: each is rounded down, but to no less than 1.
    ///
    /// A strategy to which nothing is given apart from its rate need not say.
    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.scaled(ratio)
    }

    /// Brings a state forward to the time at which another limit takes over, so that what drained until then
    /// did so at the rate of this one. For strategies whose states drain nothing before they are fresh there
    /// is no more to do than what is done here.
    #[inline]
    fn advance(&self, state: &mut Self::State, class: Class, to: Timestamp) {
        let expires_at = self.expires_at(state, class);
        // The end of time stands for never.
        if expires_at <= to && expires_at < Timestamp::MAX {
            *state = Self::State::default();
        }
    }

    /// Does the same for the receipt of an admission. Nothing to do where nothing drains.
    fn advance_receipt(&self, receipt: &mut Taken<Self>, class: Class, to: Timestamp) {
        let _ = (receipt, class, to);
    }

    /// Into how many parts a cost of 1 is divided to be counted exactly. Limits that count in the same parts
    /// pass a state to and fro without rounding.
    fn denominator(&self) -> u64 {
        1
    }

    /// The same limit, counting in parts `factor` times as fine.
    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        let _ = factor;
        Ok(self.clone())
    }
}
