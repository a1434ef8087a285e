//! A limit's arithmetic as numbers, for a store that runs it itself.

use super::Hit;
use crate::{Rate, Ratio};

/// How one limit decides: what a store must know to come to the same decision, and to leave the same state.
///
/// All numbers are below 2⁵³, and so are those that the arithmetic makes of them and a state whose own are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Formula {
    /// Admits everything, and keeps nothing.
    Unlimited,
    /// Windows of `period` microseconds, one of which begins at `anchor`: see [`FixedWindow`](super::FixedWindow).
    Window {
        /// How long a window is.
        period: u64,
        /// How far after a multiple of the period it begins.
        anchor: u64,
        /// The most in one window.
        limit: u32,
    },
    /// The counts of two windows of `period` microseconds, the first weighed by how much of it is left: see
    /// [`SlidingWindow`](super::SlidingWindow).
    Sliding {
        /// How long a window is.
        period: u64,
        /// The most in one period.
        limit: u32,
    },
    /// Windows of `period` microseconds, with a share of what the one before left: see
    /// [`QuotaRollover`](super::QuotaRollover).
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
    /// A [`Level`](super::Level) that hits raise and time drains; see there for its units.
    Level {
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
pub struct Part {
    /// How it decides.
    pub formula: Formula,
    /// What has to fit. 0 always does.
    pub asked: u32,
    /// What is booked if all limits admit; at most what is asked. Where nothing is, the state stays as it is.
    pub booked: u32,
    /// Whether its state is encoded as an [`InlineState`](super::InlineState): empty if it was never seen, and then or
    /// if it is another strategy's that of a key never seen, whatever the others are.
    pub inline: bool,
}

/// Periods, and times in microseconds with them, are exact in a double up to this.
const LONGEST: u64 = 1 << 52;

impl Part {
    /// Shows a limit of this rate by its formula; `false` if its period is too long.
    pub(super) fn windowed(rate: Rate, hit: &Hit, visit: &mut dyn FnMut(Self), formula: Formula) -> bool {
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

    pub(super) const fn unlimited() -> Self {
        Self { formula: Formula::Unlimited, asked: 0, booked: 0, inline: false }
    }

    pub(super) const fn new(formula: Formula, hit: &Hit) -> Self {
        Self { formula, asked: hit.cost, booked: hit.cost, inline: false }
    }
}
