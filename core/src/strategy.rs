//! Rate-limiting algorithms: pure functions from a state, a hit and the time to a decision.

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

/// The algorithms, which the crate re-exports at its root.
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

// Types of signatures that users do not name.
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

/// The receipt of an admission by the strategy `S`: the record that a refund needs.
pub(crate) type ReceiptOf<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// A rate-limiting algorithm with its rate inside: small, and cheap to make anew for every request.
///
/// Choose one of the crate's strategies first; [`TokenBucket`] suits most services. Implement the trait for
/// an algorithm of your own. Most callers use a [`Limiter`](crate::Limiter) and never call these methods.
///
/// ```
/// use traffik::{Hit, Strategy, Timestamp, TokenBucket, rate};
///
/// let strategy = TokenBucket::new(rate!("2/s"));
/// let (mut state, now) = (Default::default(), Timestamp::from_micros(5));
/// assert!(strategy.decide(&mut state, &Hit::new(2), now).is_allowed());
/// assert!(!strategy.decide(&mut state, &Hit::new(1), now).is_allowed());
/// assert!(strategy.decide(&mut state, &Hit::new(1), now.plus_micros(500_000)).is_allowed());
/// ```
///
/// Every implementation MUST keep the [laws](crate::laws) (feature `laws`), among them:
///
/// * `decide` depends on its arguments alone, and may be run any number of times.
/// * The admitted cost never exceeds the strategy's bound, for any rate, cost and time.
/// * A denial leaves the state unchanged, except to record demand or a change of the limit.
/// * `retry_after` is exact: the hit is admitted then, and denied one microsecond earlier.
/// * From `expires_at` on, the state decides as `Default` does.
/// * A time earlier than the state's own counts as the state's own. [`rebase`](Self::rebase) brings a state
///   to the present if it lies further ahead than it can last.
/// * Cost 0 always passes and changes nothing. A cost that can never pass is
///   [`Never`](crate::Outcome::Never).
pub trait Strategy: Clone + Send + Sync + 'static {
    /// The state of one key.
    type State: State;
    /// The cost of a hit.
    type Cost: Cost;
    /// The result of a check: a [`Decision`](crate::Decision), or several.
    type Verdict: Verdict;
    /// The strategy's own figures.
    type Stat;

    /// Decides on a hit, and charges the state if the hit is admitted.
    fn decide(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict;

    /// Returns the verdict that [`decide`](Self::decide) would return, without charging anything.
    fn peek(&self, state: &Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict {
        self.decide(&mut state.clone(), hit, now)
    }

    /// Charges a hit that has already happened. Never denies, and saturates instead of overflowing.
    fn charge(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, now: Timestamp);

    /// Takes back an admission, as much of it as is still in use.
    ///
    /// Takes back no more than `receipt` recorded, and nothing that other hits have used since.
    fn refund(
        &self,
        state: &mut Self::State,
        hit: &Hit<Self::Cost>,
        receipt: ReceiptOf<Self>,
        now: Timestamp,
    );

    /// Returns the time from which on this state decides as `Default` does; a past time if it does already.
    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp;

    /// Returns the longest time this strategy takes to become fresh, in microseconds.
    ///
    /// A clock that stepped back prolongs no client's wait beyond this.
    fn max_ttl(&self) -> u64;

    /// Moves a state to the present if the clock must have been set back, and reports whether it did.
    ///
    /// A state that lies ahead of `now` by at most 1 second MUST stay: that may be a late reading. One that
    /// lies further ahead, and by more than [`max_ttl`](Self::max_ttl), MUST move. In between a strategy may
    /// do either. The cost in use stays in use, and drains from now on.
    ///
    /// A storage calls this before each operation if all of its writers read one clock: that of the process,
    /// of the machine, or of a database. Without it, a key would be denied until the clock has caught up. A
    /// storage writes a moved state even if the hit is denied. It passes the present as `now`: a time from
    /// before a wait for a lock would look like a clock that was set back. Stores that several clocks write
    /// to forget such a state by its time to live instead.
    fn rebase(&self, state: &mut Self::State, now: Timestamp) -> bool {
        let _ = (state, now);
        false
    }

    /// Returns the strategy's own figures at this time.
    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> Self::Stat;

    /// Reports whether a denial may be recorded, or may end sooner than its wait says.
    ///
    /// Such a strategy records a denial as demand, at most once per member and window, and never to the
    /// client's advantage. Its denials can be [dirty](Verdict::is_dirty), and may not be answered from a
    /// cache.
    ///
    /// Any strategy records the first check after a change of the limit, whatever the outcome: the state
    /// drains at the new rate from then on.
    #[inline]
    fn records_demand(&self) -> bool {
        false
    }

    /// Shows how this strategy decides on a hit, to a store that can run it as a script.
    ///
    /// Calls `visit` for each limit that this strategy consists of, in the order in which their states are
    /// encoded. All of them have to admit the hit for any to be charged.
    ///
    /// Returns `false` if a store cannot run one of them: its form is unknown, it does not
    /// [fit](Self::fits_script), or it decides by more than its state, the hit and the time.
    fn parts_of(&self, hit: &Hit<Self::Cost>, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let _ = (hit, visit);
        false
    }

    /// Shows the kind of each limit that this strategy consists of.
    ///
    /// A kind is the form of a state, and the period in microseconds (0 for an unlimited rate, or if there is
    /// no period). A strategy made of others shows their kinds, after its own if it adds to their states.
    ///
    /// Limits of the same kinds may take turns on the state of a key: cost used under one stays used under
    /// the other, and drains at the rate of the one used last. Limits of different kinds would drain the
    /// state at another pace, or start anew, so each needs a state of its own.
    ///
    /// The kinds MUST depend on the strategy alone, since they can be part of the name of a state.
    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        let nothing = Hit::new(Self::Cost::uniform(0));
        let fresh = self.peek(&Self::State::default(), &nothing, Timestamp::EPOCH);
        fresh.for_each(&mut |decision| visit(wire::form::<Self::State>(), decision.window_micros()));
    }

    /// Checks that a store may run this strategy as a script, whose numbers are exact only below 2⁵³.
    ///
    /// Strategies without a script run in the client, and always fit.
    ///
    /// # Errors
    ///
    /// Fails with the largest limit that fits, if this one does not.
    fn fits_script(&self) -> Result<(), CapacityError> {
        Ok(())
    }
}

/// A strategy that can be made larger or smaller, as the wrappers do by tier or time of day.
///
/// [`Tiered`] and [`TimeOfDay`] need it of the strategy they wrap. Every strategy of this crate has it,
/// except [`All`], pairs, and an [`Erased`] one that is not behind [`ErasedScale`].
///
/// ```
/// use traffik::strategy::Scale;
/// use traffik::{Ratio, TokenBucket, rate};
///
/// let strategy = TokenBucket::new(rate!("10/s"));
/// assert_eq!(strategy.scaled(Ratio::new(1, 2)?)?, TokenBucket::new(rate!("5/s")));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// * A state of the strategy MUST be a state of every scaled one.
/// * [`advance`](Self::advance) MUST NOT change a decision of this strategy at `to` or later.
///   [`advance_receipt`](Self::advance_receipt) MUST NOT change the amount that a refund then takes back.
/// * A state that is fresh by `to` MUST become `Default`, so that it is fresh for the strategy that takes
///   over.
/// * A [refined](Self::refine) strategy MUST decide as this one does.
pub trait Scale: Strategy {
    /// Returns this strategy at `ratio` times its [rate](crate::Rate::scaled).
    ///
    /// Settings given beside the rate, such as a burst, stay the same.
    ///
    /// # Errors
    ///
    /// Fails if the scaled limit cannot be counted exactly, with the largest that can.
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError>;

    /// Returns one share of this strategy, for members that hold the limit together.
    ///
    /// The rate is [scaled](Self::scaled) by `ratio`, and so is every setting that admits cost at once, such
    /// as a burst. Shares that add up to 1 admit no more than the whole, as long as no number is smaller than
    /// the count of shares: each is rounded down, but never below 1.
    ///
    /// The default suits strategies without settings beside the rate.
    ///
    /// # Errors
    ///
    /// Fails if the share cannot be counted exactly, with the largest limit that can.
    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.scaled(ratio)
    }

    /// Brings a state forward to the time at which another limit takes over.
    ///
    /// The state drains until then at the rate of this strategy. The default suits strategies whose states do
    /// not drain before they are fresh.
    #[inline]
    fn advance(&self, state: &mut Self::State, class: Class, to: Timestamp) {
        let expires_at = self.expires_at(state, class);
        // `Timestamp::MAX` stands for "never fresh".
        if expires_at <= to && expires_at < Timestamp::MAX {
            *state = Self::State::default();
        }
    }

    /// Brings the receipt of an admission forward to the same time. The default suits states that do not
    /// drain.
    fn advance_receipt(&self, receipt: &mut ReceiptOf<Self>, class: Class, to: Timestamp) {
        let _ = (receipt, class, to);
    }

    /// Returns the denominator of this strategy's units: a cost of 1 is this many units.
    ///
    /// Limits with equal denominators pass a state to each other without rounding.
    fn denominator(&self) -> u64 {
        1
    }

    /// Returns this strategy with its denominator multiplied by `factor`.
    ///
    /// # Errors
    ///
    /// Fails if the capacity cannot be counted in units that fine, with the largest that can.
    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        let _ = factor;
        Ok(self.clone())
    }
}

// Where 64-bit numbers are aligned to less, as on 32-bit x86, some states are smaller.
#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use core::mem::size_of;

    use super::*;

    #[test]
    fn states_are_as_large_as_the_docs_say() {
        assert_eq!((size_of::<Level>(), size_of::<QueueState>(), size_of::<CostBasedState>()), (24, 32, 40));
        assert_eq!((size_of::<FixedWindowState>(), size_of::<SlidingWindowState>()), (12, 24));
        assert_eq!((size_of::<StrictWindowState<5>>(), size_of::<SlidingLogState<5>>()), (48, 72));
        assert_eq!((size_of::<AdaptiveState>(), size_of::<QuotaRolloverState>()), (24, 16));
        assert_eq!((size_of::<FairShareState<3>>(), size_of::<RegionsState<3>>()), (72, 72));
        assert_eq!(size_of::<TimeOfDayState<FixedWindowState>>(), 24);
    }
}
