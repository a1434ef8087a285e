//! The factor of an adaptive limit from window to window.

use super::{Adaptive, AdaptiveState, WHOLE};

impl Adaptive {
    /// Whether the window of this state was loaded.
    #[inline]
    pub(super) fn is_loaded(&self, state: AdaptiveState) -> bool {
        u64::from(state.used.max(state.demand)) >= self.loaded_from
    }

    /// How much may be used in a window at this factor: at least 1, unless nothing may ever be.
    #[inline]
    pub(super) const fn effective(&self, factor: u32) -> u32 {
        let limit = self.rate().limit();
        // A factor is at most 1, so this fits.
        let scaled = (limit as u64 * factor as u64 / WHOLE as u64) as u32;
        if scaled == 0 && limit > 0 { 1 } else { scaled }
    }

    #[inline]
    pub(super) const fn reduced(&self, factor: u32) -> u32 {
        let reduced = (factor as u64 * self.reduction as u64 / WHOLE as u64) as u32;
        if reduced > self.floor { reduced } else { self.floor }
    }

    #[inline]
    pub(super) fn recovered(&self, factor: u32, windows: u64) -> u32 {
        let recovered = self.recovery.get().saturating_mul(windows).saturating_add(factor.into());
        recovered.min(WHOLE.into()) as u32
    }

    /// The factor of a window that follows silence, as that of a key never seen.
    #[inline]
    pub(super) const fn rested(&self) -> u32 {
        if self.loaded_outside { self.reduced(WHOLE) } else { WHOLE }
    }

    /// The factor some windows after that of a state, without what is told from outside.
    #[inline]
    pub(super) fn own_factor(&self, state: AdaptiveState, windows: u64) -> u32 {
        let factor = WHOLE.saturating_sub(state.lack);
        match windows {
            0 => factor,
            1 if self.is_loaded(state) => self.reduced(factor),
            _ if self.is_loaded(state) => self.recovered(self.reduced(factor), windows - 1),
            _ => self.recovered(factor, windows),
        }
    }

    /// The factor some windows after that of a state, if nothing else happens until then.
    #[inline]
    pub(super) fn factor(&self, state: AdaptiveState, windows: u64) -> u32 {
        if windows > 0 && self.loaded_outside {
            self.reduced(self.own_factor(state, windows - 1))
        } else {
            self.own_factor(state, windows)
        }
    }

    /// How many windows after that of a state, at least one, the factor alone has come back to `factor`, which
    /// is at most 1. In the window after the state's it is `next`.
    #[inline]
    pub(super) fn windows_until(&self, next: u32, factor: u32) -> u64 {
        match factor.saturating_sub(next) {
            0 => 1,
            missing => 1 + self.recovery.divide_up(missing.into()),
        }
    }
}
