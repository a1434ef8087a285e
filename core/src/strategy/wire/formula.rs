//! A limit's arithmetic as numbers, for a store that runs it itself.

use crate::strategy::Hit;
use crate::{Rate, Ratio};

/// How one limit decides: what a store must know to come to the same decision, and to leave the same state.
///
/// All numbers are below 2⁵³, and so are those that the arithmetic makes of them and a state whose own are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScriptFormula {
    /// Admits everything, and keeps nothing.
    Unlimited,
    /// Windows of `period` microseconds, one of which begins at `anchor`: see [`FixedWindow`](crate::strategy::FixedWindow).
    Window {
        /// How long a window is.
        period: u64,
        /// How far after a multiple of the period it begins.
        anchor: u64,
        /// The most in one window.
        limit: u32,
    },
    /// The counts of two windows of `period` microseconds, the first weighed by how much of it is left: see
    /// [`SlidingWindow`](crate::strategy::SlidingWindow).
    Sliding {
        /// How long a window is.
        period: u64,
        /// The most in one period.
        limit: u32,
    },
    /// Windows of `period` microseconds, with a share of what the one before left: see
    /// [`QuotaRollover`](crate::strategy::QuotaRollover).
    Rollover {
        /// How long a window is.
        period: u64,
        /// The most in one window, if the one before left nothing.
        limit: u32,
        /// How much of what it left rolls over.
        share: Ratio,
        /// The most that does.
        most: u32,
    },
    /// The use in each of so many buckets to a period: see [`StrictWindow`](crate::strategy::StrictWindow).
    Strict {
        /// How long the buckets are together.
        period: u64,
        /// How many they are.
        buckets: u32,
        /// The most in one period, wherever it starts.
        limit: u32,
        /// The most buckets that a state may have.
        room: u32,
    },
    /// The use at each time in a period: see [`Log`](crate::strategy::Log).
    Log {
        /// For how long what was used counts.
        period: u64,
        /// The most in one period, wherever it starts.
        limit: u32,
        /// The most entries that a state may have; no less than the limit.
        room: u32,
    },
    /// A [`Level`](crate::strategy::Level) that hits raise and time drains; see there for its units.
    Level {
        /// Units drained in a microsecond.
        drain: u64,
        /// Units per cost of 1.
        unit: u64,
        /// Units that may be in use after an admission.
        capacity: u64,
    },
    /// The same of a queue, whose turns stay told when the rate changes: see
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

/// One of the limits that decide on a hit, with the hit put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimit {
    /// How it decides.
    pub formula: ScriptFormula,
    /// What has to fit. 0 always does.
    pub asked: u32,
    /// What is booked if all limits admit; at most what is asked. Where nothing is, the state stays as it is.
    pub booked: u32,
    /// How its state is encoded.
    pub inline: StateNesting,
    /// When it decides, if that depends on the hour.
    pub hours: Option<ActiveHours>,
}

/// In how many [`InlineState`](crate::strategy::InlineState)s a state is encoded, one in the other: each is empty for a key never
/// seen, and holds nothing if what is in it is another strategy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateNesting {
    /// How many.
    pub layers: u8,
    /// How long what is in the outermost of them may be.
    pub room: u16,
}

/// Hours of the day in which one of several limits decides, all on one state: a
/// [`TimeOfDayState`](crate::strategy::TimeOfDayState) of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveHours {
    /// When they begin and end, in microseconds of the local day, perhaps over midnight; `None` for all that the others
    /// do not hold in.
    pub span: Option<(u64, u64)>,
    /// How far local time is ahead of UTC, in microseconds.
    pub ahead: u64,
    /// How many of the limits are still to be shown.
    pub more: u8,
    /// How the state is encoded within that of the hours.
    pub inline: StateNesting,
}

/// Periods, and times in microseconds with them, are exact in a double up to this.
const LONGEST: u64 = 1 << 52;

impl ScriptLimit {
    /// Shows a limit of this rate by its formula; `false` if its period is too long.
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
        let fits = rate.period_micros() <= LONGEST;
        if fits {
            visit(Self::new(formula, hit));
        }
        fits
    }

    pub(crate) const fn unlimited() -> Self {
        Self {
            formula: ScriptFormula::Unlimited,
            asked: 0,
            booked: 0,
            inline: StateNesting::NOT,
            hours: None,
        }
    }

    pub(crate) const fn new(formula: ScriptFormula, hit: &Hit) -> Self {
        Self { formula, asked: hit.cost, booked: hit.cost, inline: StateNesting::NOT, hours: None }
    }

    /// Whether this is the last limit that is shown of one state.
    pub(crate) const fn is_last(&self) -> bool {
        match self.hours {
            Some(held) => held.more == 0,
            None => true,
        }
    }
}

impl StateNesting {
    const NOT: Self = Self { layers: 0, room: 0 };

    /// The same state, encoded in one more, of so many bytes at most.
    pub(crate) fn within(self, room: usize) -> Self {
        Self { layers: self.layers.saturating_add(1), room: u16::try_from(room).unwrap_or(u16::MAX) }
    }
}
