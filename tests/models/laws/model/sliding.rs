//! The sliding strategies from their definitions.

use traffik::Rate;

use super::{History, Model};

/// The use that each kind of sliding window counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The aligned window of the present, and the overlapping part of the one before.
    Weighted,
    /// All that was used in any bucket, of this many to a period, with a moment in the last period.
    Buckets(u32),
    /// All that was used in the last period.
    Exact,
}

pub(crate) struct SlidingModel {
    pub(crate) rate: Rate,
    pub(crate) kind: Kind,
}

impl SlidingModel {
    pub(crate) fn used(&self, history: &History, now: u128) -> u128 {
        let period = self.rate.period().as_micros();
        let sum = |counts: &dyn Fn(u128) -> bool| -> u128 {
            history.iter().filter(|(at, _)| counts(*at)).map(|(_, cost)| u128::from(*cost)).sum()
        };
        match self.kind {
            Kind::Weighted => {
                let previous = sum(&|at| at / period + 1 == now / period);
                let overlap = period - now % period;
                sum(&|at| at / period == now / period) + previous * overlap / period
            }
            Kind::Buckets(buckets) => sum(&|at| {
                let number = at * u128::from(buckets) / period;
                let last_moment = ((number + 1) * period).div_ceil(buckets.into()) - 1;
                last_moment + period > now
            }),
            Kind::Exact => sum(&|at| at + period > now),
        }
    }
}

impl Model for SlidingModel {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn passes(&self, history: &History, now: u128, cost: u32) -> bool {
        self.used(history, now) + u128::from(cost) <= self.rate.limit().into()
    }

    fn possible(&self, cost: u32) -> bool {
        cost <= self.rate.limit()
    }

    fn remaining(&self, history: &History, now: u128) -> u32 {
        u128::from(self.rate.limit()).saturating_sub(self.used(history, now)) as u32
    }

    fn fresh(&self, history: &History, now: u128) -> bool {
        self.used(history, now) == 0
    }
}
