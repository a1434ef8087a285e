//! The state of a cost-based bucket: its level, and the mean cost of its hits.

use crate::divide::{divide, divide_up};
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Level, Reader, State, Writer};

/// The state of a [`CostBased`](crate::CostBased) bucket, in 40 bytes.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{CostBased, Hit, Strategy, Timestamp, rate};
///
/// let (bucket, mut state) = (CostBased::new(rate!("4/s")), State::FRESH);
/// bucket.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CostBasedState {
    pub(super) level: Level,
    pub(super) mean: Mean,
    /// The mean before the last admission, which a refund of that admission restores.
    pub(super) mean_before: Mean,
}

/// A mean cost less 1, in units of 2⁻³². A mean of 1, where it starts, is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Mean(u64);

impl Mean {
    /// A mean cost of 1, in units of 2⁻³².
    pub(super) const ONE: u64 = 1 << 32;

    /// Returns the mean of hits that all cost this much.
    pub(super) const fn of(cost: u32) -> Self {
        Self(cost.saturating_sub(1) as u64 * Self::ONE)
    }

    /// Returns the mean in units of 2⁻³².
    pub(super) const fn parts(self) -> u64 {
        self.0.saturating_add(Self::ONE)
    }

    /// Returns the mean after one more hit: `mean + (cost − mean) / window`, rounded up.
    pub(super) const fn with(self, cost: u32, window: u32) -> Self {
        let Self(target) = Self::of(cost);
        match target.checked_sub(self.0) {
            // A rise is rounded up and a fall down, so both against the client.
            Some(dearer) => Self(self.0 + divide_up(dearer, window as u64)),
            None => Self(self.0 - divide(self.0 - target, window as u64).0),
        }
    }
}

serde_as_bytes!([] CostBasedState);

impl State for CostBasedState {
    const FRESH: Self = Self { level: Level::FRESH, mean: Mean(0), mean_before: Mean(0) };
    // A tag, the level with its own tag, and the two means.
    const MAX_LEN: usize = 1 + Level::MAX_LEN + 2 * 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::COST_BASED);
        self.level.encode(out);
        out.u64(self.mean.0);
        out.u64(self.mean_before.0);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::COST_BASED)?;
        let level = Level::decode(input)?;
        let (mean, mean_before) = (Mean(input.u64()?), Mean(input.u64()?));
        let state = Self { level, mean, mean_before };
        // No mean exceeds the largest cost, and an empty level has forgotten its means.
        let possible = mean.0.max(mean_before.0) <= Mean::of(u32::MAX).0;
        if possible && state == state.forgetting() { Ok(state) } else { Err(DecodeError) }
    }
}

impl CostBasedState {
    /// Returns the state of a key never seen if nothing is in use, and this state otherwise.
    pub(super) fn forgetting(self) -> Self {
        if self.level == Level::default() { Self::default() } else { self }
    }
}
