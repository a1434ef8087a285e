//! The decision that strategies with a counter share.

use super::rebase::bounded_wait;
use crate::decision::{Figures, Quotient};
use crate::strategy::Hit;
use crate::{Decision, Rate, Receipt, Timestamp};

/// The use at the time of decision, under a limit that counts.
pub(crate) struct WindowUsage {
    /// The limit, and the period shown with it. Must not be unlimited.
    pub(crate) rate: Rate,
    /// The present; earlier than the time of the receipt if the clock stepped back.
    pub(crate) now: Timestamp,
    /// The cost in use.
    pub(crate) used: u64,
    /// The longest wait that a clock which stepped back may add.
    pub(crate) max_ttl: u64,
    /// The receipt of an admission.
    pub(crate) receipt: Receipt,
}

impl WindowUsage {
    /// Decides on a hit. All times are in microseconds after the time of the receipt.
    ///
    /// * `wait(room)`: until at most `room` is in use.
    /// * `reset(booked)`: until nothing is in use, once `booked` has been charged.
    /// * `more(booked, room)`: until at most `room` is in use, once `booked` has been charged. `room` leaves
    ///   one more of the limit than remains.
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
        // A clock that stepped back by `behind` waits longer by that, but within `max_ttl`.
        let late = |it: Quotient| {
            let (behind, max_ttl) = (behind.saturating_mul(it.den), self.max_ttl.saturating_mul(it.den));
            Quotient { num: bounded_wait(it.num, behind, max_ttl), ..it }
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
            // min(total, limit) − 1 is less than the limit, which fits 32 bits.
            Some(room) => late(more(booked, room as u32)),
            None => Quotient::ZERO,
        };
        if hit.cost == 0 {
            return figures(0).allow(false, more(0));
        }
        let Some(room) = limit.checked_sub(hit.cost) else { return figures(0).never(more(0)) };
        if self.used > room.into() {
            let wait = bounded_wait(wait(room), behind, self.max_ttl);
            return figures(0).deny(Quotient::whole(wait));
        }
        figures(hit.cost).allow(true, more(hit.cost))
    }
}
