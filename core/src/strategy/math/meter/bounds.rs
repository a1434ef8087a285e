//! The most and the least that a meter admits.

use super::Meter;

impl Meter {
    /// Returns the most cost admitted within `span` µs, both ends included:
    /// `⌊(capacity + span · drain) / unit⌋`.
    pub(crate) fn most(self, span: u64) -> u128 {
        let units = u128::from(self.capacity) + u128::from(span) * u128::from(self.drain());
        units.checked_div(self.unit.into()).unwrap_or(u128::MAX)
    }

    /// Returns the least cost admitted within `span` µs to a client that asks for `cost` as soon as it may.
    pub(crate) fn least(self, span: u64, cost: u32) -> u128 {
        let units = self.units(cost.into());
        match u128::from(self.capacity).checked_sub(units) {
            None => 0,
            Some(room) if room >= self.drain().into() => {
                self.most(span).saturating_sub(u128::from(cost.saturating_sub(1)))
            }
            // With less slack than the drain of 1 µs, every hit waits for the next whole microsecond.
            Some(_) => self.least_spaced(span, cost),
        }
    }

    /// Returns the least cost admitted within `span` µs if each hit may lose a part of a microsecond's drain.
    ///
    /// That is `cost · (1 + ⌊span / interval⌋)` with `interval = ⌈cost · unit / drain⌉`.
    pub(crate) fn least_spaced(self, span: u64, cost: u32) -> u128 {
        let interval = self.units(cost.into()).div_ceil(self.drain().max(1).into()).max(1);
        u128::from(cost) * (1 + u128::from(span) / interval)
    }
}
