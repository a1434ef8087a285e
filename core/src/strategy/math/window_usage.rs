//! What strategies that count share: how a count is held against its limit, and told.

use super::rebase::told;
use crate::decision::{Figures, Quotient};
use crate::strategy::Hit;
use crate::{Decision, Rate, Receipt, Timestamp};

/// What is counted at the time a state decides at.
pub(crate) struct Tally {
    /// The limit, and the period told with it. Not unlimited.
    pub(crate) rate: Rate,
    /// The present; earlier than the time of the receipt if the clock stepped back.
    pub(crate) now: Timestamp,
    /// What is in use.
    pub(crate) used: u64,
    /// The longest wait that a clock which stepped back may add.
    pub(crate) max_ttl: u64,
    /// What an admission is booked as.
    pub(crate) receipt: Receipt,
}

impl Tally {
    /// Decides on a hit. `wait` tells, if it is denied, how many microseconds after the time of the receipt
    /// it would pass, given how much may then be in use beside it; and `reset` how many it is until nothing
    /// is in use, once so much more is booked. `more` tells when no more than its second argument is in use,
    /// once its first is booked: the most that leaves one more of the limit.
    #[inline]
    pub(crate) fn decide(
        self,
        hit: &Hit,
        wait: impl FnOnce(u32) -> u64,
        reset: impl Fn(u32) -> Quotient,
        more: impl Fn(u32, u32) -> Quotient,
    ) -> Decision {
        let behind = self.receipt.at.micros_since(self.now);
        let limit = self.rate.limit();
        let late = |it: Quotient| {
            let (behind, max_ttl) = (behind.saturating_mul(it.den), self.max_ttl.saturating_mul(it.den));
            Quotient { num: told(it.num, behind, max_ttl), ..it }
        };
        let total = |booked: u32| self.used.saturating_add(booked.into());
        let figures = |booked: u32| Figures {
            limit,
            rate: self.rate,
            remaining: Quotient::whole(u64::from(limit).saturating_sub(total(booked))),
            reset: if total(booked) == 0 { Quotient::ZERO } else { late(reset(booked)) },
            receipt: self.receipt,
        };
        let more = |booked: u32| match total(booked).min(limit.into()).checked_sub(1) {
            // Less than the limit, which fits.
            Some(room) => late(more(booked, room as u32)),
            None => Quotient::ZERO,
        };
        if hit.cost == 0 {
            return figures(0).allow(false, more(0));
        }
        let Some(room) = limit.checked_sub(hit.cost) else { return figures(0).never(more(0)) };
        if self.used > room.into() {
            let wait = told(wait(room), behind, self.max_ttl);
            return figures(0).deny(Quotient::whole(wait));
        }
        figures(hit.cost).allow(true, more(hit.cost))
    }
}
