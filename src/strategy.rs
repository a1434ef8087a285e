//! The rate-limiting algorithms, and the interface for one of your own.
//!
//! A strategy decides on a hit as a pure function of a state and the time. Give it to a
//! [`Limiter`](crate::Limiter) or to a throttle, together with a [storage](crate::storage) that keeps the
//! states.
//!
//! | to | choose |
//! |---|---|
//! | admit bursts up to a size, then a steady rate; the usual choice for an API | [`TokenBucket`] |
//! | space hits evenly, with or without a burst | [`Gcra`] |
//! | count per minute, hour or day, as cheaply as possible | [`FixedWindow`] |
//! | count without the double burst at the edge of a window | [`SlidingWindow`] |
//! | keep to the limit in every window | [`StrictWindow`]; to the microsecond: [`SlidingLog`], [`HeapLog`] |
//! | space hits evenly, in terms of how full a bucket is | [`LeakyBucket`] |
//! | delay hits instead of denying them | [`LeakyBucketQueue`] |
//! | carry unused quota over to the next window | [`QuotaRollover`] |
//! | slow down callers whose hits are expensive | [`CostBased`] |
//! | lower the limit under load | [`Adaptive`] |
//! | share one limit between instances, or between regions | [`FairShare`], [`Regions`] |
//! | give each tier, time of day or priority its own limit | [`Tiered`], [`TimeOfDay`], [`Priority`] |
//! | keep to several limits at once | a tuple `(A, B)`, or [`All`] |
//! | choose the strategy at run time | [`Erased`] |
//!
//! ```
//! use traffik::{Limiter, Memory, TokenBucket, rate};
//!
//! let limiter = Limiter::new(TokenBucket::new(rate!("100/min")), Memory::new(10_000));
//! assert!(limiter.check("alice")?.is_allowed());
//! # Ok::<(), traffik::StorageError>(())
//! ```
//!
//! A strategy of your own implements [`Strategy`], and [`State`] for its state.

#[cfg(any(feature = "alloc", feature = "std"))]
#[doc(inline)]
pub use traffik_core::strategy::HeapLog;
#[doc(inline)]
pub use traffik_core::strategy::{
    Adaptive, All, Bounds, CapacityError, Class, Composite, Cost, CostBased, DecodeError, Erased,
    ErasedScale, ErasedStrategy, FairShare, FixedWindow, Gcra, Hit, Hours, Label, LeakyBucket,
    LeakyBucketQueue, Op, Priority, QuotaRollover, Reader, Regions, Scale, SlidingLog, SlidingWindow,
    StatValue, State, Stats, Strategy, StrategyError, StrictWindow, Tiered, TimeOfDay, TokenBucket, Writer,
    decode, encode,
};

// Types of signatures.
#[doc(inline)]
pub use traffik_core::strategy::{
    ActiveHours, AdaptiveStat, AdaptiveState, CostBasedStat, CostBasedState, DecisionList, ErasedVerdict,
    FairShareStat, FairShareState, FixedWindowStat, FixedWindowState, GcraStat, Inline, InlineState,
    LeakyBucketQueueStat, LeakyBucketStat, Level, Log, LogState, Parts, PerLimit, PriorityStat, QueueState,
    QuotaRolloverStat, QuotaRolloverState, RegionsStat, RegionsState, ScriptFormula, ScriptLimit, Shares,
    SlidingLogStat, SlidingLogState, SlidingWindowStat, SlidingWindowState, StateNesting, StatsSnapshot,
    StrictWindowStat, StrictWindowState, TieredStat, TimeOfDayStat, TimeOfDayState, TokenBucketStat,
};
#[cfg(any(feature = "alloc", feature = "std"))]
#[doc(inline)]
pub use traffik_core::strategy::{Heap, HeapLogState};
