//! Scaling and bounds of a limit by time of day.

use super::state::TimeOfDayState;
use super::{LONGEST, TimeOfDay};
use crate::divide::scale_down;
use crate::strategy::{Bounds, CapacityError, Class, Cost, Hit, Scale};
use crate::{Decision, Ratio, Receipt, Timestamp};

impl<S: Scale<Verdict = Decision>, const N: usize> TimeOfDay<S, N> {
    /// Returns the same hours of another strategy.
    fn over(&self, base: &S) -> Result<Self, CapacityError> {
        let scaled = Self::scale(base, self.day)?;
        if scaled.max_ttl <= LONGEST {
            return Ok(scaled);
        }
        // The time to become fresh is proportional to the burst: largest = limit · LONGEST / max_ttl.
        let nothing = Hit::new(S::Cost::uniform(0));
        let limit = scaled.base.peek(&S::State::default(), &nothing, Timestamp::EPOCH).limit();
        let largest = scale_down(limit.into(), LONGEST, scaled.max_ttl);
        Err(CapacityError { largest: u32::try_from(largest).unwrap_or(u32::MAX) })
    }
}

/// Scales the limits of all hours.
#[deny(clippy::missing_trait_methods)]
impl<S: Scale<Verdict = Decision>, const N: usize> Scale for TimeOfDay<S, N> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.over(&self.base.scaled(ratio)?)
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.over(&self.base.part(ratio)?)
    }

    fn advance(&self, state: &mut Self::State, class: Class, to: Timestamp) {
        // A state is only ever brought forward, never back.
        if to > state.at {
            let (mut inner, limit, _) = self.forward(state, class, to);
            limit.advance(&mut inner, class, to);
            *state = TimeOfDayState::new(to, inner);
        }
    }

    fn advance_receipt(&self, receipt: &mut Receipt, class: Class, to: Timestamp) {
        self.forward_receipt(receipt, class, to);
        self.holding(to).0.advance_receipt(receipt, class, to);
    }

    fn denominator(&self) -> u64 {
        self.base.denominator()
    }

    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        self.in_one_unit(factor)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Scale + Bounds, const N: usize> Bounds for TimeOfDay<S, N> {
    const QUEUES: bool = S::QUEUES;

    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        // At each time one of the limits holds, and each admits at most as much alone as the largest, and at
        // least as much as the smallest.
        self.limits().map(|strategy| strategy.most(first, last)).max().unwrap_or(0)
    }

    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        self.limits().map(|strategy| strategy.least(first, last, cost)).min().unwrap_or(0)
    }
}
