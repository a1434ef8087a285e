//! The factor of an adaptive limit, from window to window.

use super::{Adaptive, AdaptiveState, WHOLE};

impl Adaptive {
    /// Reports whether the window of this state was loaded.
    #[inline]
    pub(super) fn is_loaded(&self, state: AdaptiveState) -> bool {
        u64::from(state.used.max(state.demand)) >= self.loaded_from
    }

    /// Returns the most that may be used in a window: `⌊factor · limit⌋`, and at least 1 if the limit is not
    /// 0.
    #[inline]
    pub(super) const fn effective(&self, factor: u32) -> u32 {
        let limit = self.rate().limit();
        // A factor is at most 1, so this fits.
        let scaled = (limit as u64 * factor as u64 / WHOLE as u64) as u32;
        if scaled == 0 && limit > 0 { 1 } else { scaled }
    }

    /// Returns the factor after a loaded window: `max(factor · reduction, floor)`.
    #[inline]
    pub(super) const fn reduced(&self, factor: u32) -> u32 {
        let reduced = (factor as u64 * self.reduction as u64 / WHOLE as u64) as u32;
        if reduced > self.floor { reduced } else { self.floor }
    }

    /// Returns the factor after `windows` windows without load: `min(factor + windows · recovery, 1)`.
    #[inline]
    pub(super) fn recovered(&self, factor: u32, windows: u64) -> u32 {
        let recovered = self.recovery.get().saturating_mul(windows).saturating_add(factor.into());
        recovered.min(WHOLE.into()) as u32
    }

    /// Returns the factor of a window that follows silence, as for a key never seen.
    #[inline]
    pub(super) const fn rested(&self) -> u32 {
        if self.loaded_outside { self.reduced(WHOLE) } else { WHOLE }
    }

    /// Returns the factor `windows` windows after that of a state, without the load from outside.
    #[inline]
    pub(super) fn own_factor(&self, state: AdaptiveState, windows: u64) -> u32 {
        let factor = WHOLE.saturating_sub(state.lack);
        match windows {
            // The state's own window decides on the first step; all later windows are silent.
            0 => factor,
            1 if self.is_loaded(state) => self.reduced(factor),
            _ if self.is_loaded(state) => self.recovered(self.reduced(factor), windows - 1),
            _ => self.recovered(factor, windows),
        }
    }

    /// Returns the factor `windows` windows after that of a state, if nothing happens until then.
    #[inline]
    pub(super) fn factor(&self, state: AdaptiveState, windows: u64) -> u32 {
        // The load from outside counts as that of the window before the last.
        if windows > 0 && self.loaded_outside {
            self.reduced(self.own_factor(state, windows - 1))
        } else {
            self.own_factor(state, windows)
        }
    }

    /// Returns after how many windows (at least 1) the factor has recovered to `factor`, which is at most 1.
    ///
    /// `next` is the factor in the window after the state's: `1 + ⌈(factor − next) / recovery⌉`.
    #[inline]
    pub(super) fn windows_until(&self, next: u32, factor: u32) -> u64 {
        match factor.saturating_sub(next) {
            0 => 1,
            missing => 1 + self.recovery.divide_up(missing.into()),
        }
    }
}
