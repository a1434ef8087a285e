//! The arithmetic of a limit as numbers, for a store that runs it as a script.

use crate::strategy::Hit;
use crate::{Rate, Ratio};

/// The arithmetic of one limit: the numbers from which a script makes the same decision and the same state.
///
/// All numbers are below 2⁵³, and so are the results of the arithmetic on them and on such a state.
///
/// ```
/// use traffik::strategy::ScriptFormula;
/// use traffik::{FixedWindow, Hit, Strategy, rate};
///
/// FixedWindow::new(rate!("5/s")).parts_of(&Hit::new(1), &mut |limit| {
///     assert_eq!(limit.formula, ScriptFormula::Window { period: 1_000_000, anchor: 0, limit: 5 });
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScriptFormula {
    /// No limit: admits everything, and keeps no state.
    Unlimited,
    /// Windows of `period` microseconds, one of which begins at `anchor`: see
    /// [`FixedWindow`](crate::strategy::FixedWindow).
    Window {
        /// The length of a window, in microseconds.
        period: u64,
        /// The offset of a window's start from a multiple of the period, in microseconds.
        anchor: u64,
        /// The most in one window.
        limit: u32,
    },
    /// The counts of two windows of `period` microseconds, the first weighted by the part that is left: see
    /// [`SlidingWindow`](crate::strategy::SlidingWindow).
    Sliding {
        /// The length of a window, in microseconds.
        period: u64,
        /// The most in one period.
        limit: u32,
    },
    /// Windows of `period` microseconds, with a share of the limit that the previous one left: see
    /// [`QuotaRollover`](crate::strategy::QuotaRollover).
    Rollover {
        /// The length of a window, in microseconds.
        period: u64,
        /// The most in one window, if nothing rolls over.
        limit: u32,
        /// The share of the unused limit that rolls over.
        share: Ratio,
        /// The most cost that rolls over.
        most: u32,
    },
    /// The use in each of several buckets per period: see [`StrictWindow`](crate::strategy::StrictWindow).
    Strict {
        /// The length of all buckets together, in microseconds.
        period: u64,
        /// The number of buckets.
        buckets: u32,
        /// The most in one period, wherever it starts.
        limit: u32,
        /// The most buckets that a state may have.
        room: u32,
    },
    /// The use at each time in a period: see [`Log`](crate::strategy::Log).
    Log {
        /// The time for which a cost counts, in microseconds.
        period: u64,
        /// The most in one period, wherever it starts.
        limit: u32,
        /// The most entries that a state may have; no less than the limit.
        room: u32,
    },
    /// A [`Level`](crate::strategy::Level) that hits raise and time drains.
    Level {
        /// Units drained in a microsecond.
        drain: u64,
        /// Units per cost of 1.
        unit: u64,
        /// Units that may be in use after an admission.
        capacity: u64,
    },
    /// The level of a queue, whose turns stay the same when the rate changes: see
    /// [`LeakyBucketQueue`](crate::strategy::LeakyBucketQueue).
    Queue {
        /// Units drained in a microsecond.
        drain: u64,
        /// Units per cost of 1.
        unit: u64,
        /// Units that may be in use after an admission.
        capacity: u64,
    },
}

/// One of the limits that decide on a hit, with the cost of the hit.
///
/// ```
/// use traffik::{FixedWindow, Hit, Strategy, rate};
///
/// let mut cost = 0;
/// let complete = FixedWindow::new(rate!("5/s")).parts_of(&Hit::new(3), &mut |limit| cost = limit.cost);
/// assert!(complete && cost == 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimit {
    /// The arithmetic of the limit.
    pub formula: ScriptFormula,
    /// The cost that has to fit. 0 always does.
    pub cost: u32,
    /// The cost to charge if all limits admit; at most `cost`. A charge of 0 leaves the state unchanged.
    pub charge: u32,
    /// The encoding of the state.
    pub inline: StateNesting,
    /// The hours in which it decides, if it depends on the hour.
    pub hours: Option<ActiveHours>,
}

/// The number of [`InlineState`](crate::strategy::InlineState)s that a state is encoded in, one in another.
///
/// Each is empty for a key never seen, and counts as empty if it holds another strategy's state.
///
/// ```
/// use traffik::strategy::StateNesting;
/// use traffik::{FixedWindow, Hit, Strategy, rate};
///
/// FixedWindow::new(rate!("5/s")).parts_of(&Hit::new(1), &mut |limit| {
///     assert_eq!(limit.inline, StateNesting::default()); // encoded as it is
/// });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateNesting {
    /// The number of layers.
    pub layers: u8,
    /// The most bytes in the outermost layer.
    pub room: u16,
}

/// The hours of the day in which one of several limits decides, all on one
/// [`TimeOfDayState`](crate::strategy::TimeOfDayState).
///
/// ```
/// use traffik::{Hit, Hours, Ratio, Strategy, TimeOfDay, TokenBucket, rate};
///
/// let night = Hours::new((22, 0), (6, 0), Ratio::new(1, 2)?);
/// let strategy = TimeOfDay::new(TokenBucket::new(rate!("2/h")), [night])?;
/// let mut spans = Vec::new();
/// strategy.parts_of(&Hit::new(1), &mut |limit| spans.push(limit.hours.and_then(|hours| hours.span)));
/// assert_eq!(spans, [Some((79_200_000_000, 21_600_000_000)), None]); // the night, and the rest of the day
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveHours {
    /// The start and the end, in microseconds of the local day, possibly over midnight; `None` for the rest
    /// of the day.
    pub span: Option<(u64, u64)>,
    /// The lead of local time over UTC, in microseconds.
    pub ahead: u64,
    /// The number of limits still to be shown.
    pub more: u8,
    /// The encoding of the state within that of the hours.
    pub inline: StateNesting,
}

/// The longest period, in microseconds, for which times with a period added are exact in a double.
const LONGEST: u64 = 1 << 52;

impl ScriptLimit {
    /// Shows a limit of this rate by its formula; returns `false` if its period is too long.
    pub(crate) fn windowed(
        rate: Rate,
        hit: &Hit,
        visit: &mut dyn FnMut(Self),
        formula: ScriptFormula,
    ) -> bool {
        if rate.is_unlimited() {
            visit(Self::unlimited());
            return true;
        }
        // at + period stays below 2⁵³ for times of the calendar.
        let fits = rate.period_micros() <= LONGEST;
        if fits {
            visit(Self::new(formula, hit));
        }
        fits
    }

    /// Returns a limit that admits everything.
    pub(crate) const fn unlimited() -> Self {
        Self {
            formula: ScriptFormula::Unlimited,
            cost: 0,
            charge: 0,
            inline: StateNesting::NONE,
            hours: None,
        }
    }

    /// Returns a limit in which the cost of the hit has to fit, and is charged.
    pub(crate) const fn new(formula: ScriptFormula, hit: &Hit) -> Self {
        Self { formula, cost: hit.cost, charge: hit.cost, inline: StateNesting::NONE, hours: None }
    }

    /// Reports whether this is the last limit that is shown of one state.
    pub(crate) const fn is_last(&self) -> bool {
        match self.hours {
            // All hours share one state, and `more` counts the hours still to be shown.
            Some(held) => held.more == 0,
            None => true,
        }
    }
}

impl StateNesting {
    const NONE: Self = Self { layers: 0, room: 0 };

    /// Adds one layer of at most `room` bytes around the state.
    pub(crate) fn within(self, room: usize) -> Self {
        // The outermost layer bounds the bytes of all layers within.
        Self { layers: self.layers.saturating_add(1), room: u16::try_from(room).unwrap_or(u16::MAX) }
    }
}
