//! What strategies that count share: how a count is held against its limit, and told.

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
    /// Microseconds from the time of the receipt until nothing is in use: as it is, and with the hit booked.
    pub(crate) reset: [u64; 2],
    /// The longest wait that a clock which stepped back may add.
    pub(crate) horizon: u64,
    /// What an admission is booked as.
    pub(crate) receipt: Receipt,
}

impl Tally {
    /// Decides on a hit. `wait` tells, if it is denied, how many microseconds after the time of the receipt it
    /// would pass, given how much may then be in use beside it.
    #[inline]
    pub(crate) fn decide(self, hit: &Hit, wait: impl FnOnce(u32) -> u64) -> Decision {
        let behind = self.receipt.at.micros_since(self.now).min(self.horizon);
        let limit = self.rate.limit();
        let figures = |used: u64, reset: u64| Figures {
            limit,
            window: self.rate.period_micros(),
            remaining: Quotient::whole(u64::from(limit).saturating_sub(used)),
            reset: Quotient::whole(if used == 0 { 0 } else { reset.saturating_add(behind) }),
            receipt: self.receipt,
        };
        let [reset, reset_booked] = self.reset;
        if hit.cost == 0 {
            return figures(self.used, reset).allow(false);
        }
        let Some(room) = limit.checked_sub(hit.cost) else {
            return figures(self.used, reset).never();
        };
        if self.used > room.into() {
            let wait = wait(room).saturating_add(behind);
            return figures(self.used, reset).deny(Quotient::whole(wait));
        }
        figures(self.used.saturating_add(hit.cost.into()), reset_booked).allow(true)
    }
}
