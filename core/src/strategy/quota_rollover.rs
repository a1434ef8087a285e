//! Quota with rollover: a share of what a window leaves unused is added to the next.

use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;

use super::math::rebase::{is_ahead, told};
use super::wire::stats::stat;
use super::{
    Bounds, CapacityError, Class, DecodeError, FixedWindow, Hit, Reader, Scale, ScriptFormula, ScriptLimit,
    State, Strategy, StrategyError, Writer,
};
use crate::decision::{Figures, Quotient};
use crate::time::Halves;
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

#[cfg(test)]
mod tests;

/// Counts hits in windows of one period, aligned to the clock, with a quota that depends on the window before.
///
/// The quota of a window is the limit and `min(max, ⌊share · unused⌋)` more (but no more than 32 bits hold),
/// where `unused` is what the window before left of the *limit*. What rolled over does not roll over again, so
/// nothing adds up over several silent windows. A window without any use was wholly unused: it rolls over in
/// full, and so a key never seen, which cannot be told from one long idle, starts with the full rollover.
///
/// In any `n` windows in a row it admits at most `n · limit` and one full rollover; in each at least the whole
/// limit, but for what is left over when the next whole cost no longer fits.
///
/// By default the share is a half and there is no maximum. 10 per minute:
///
/// | at | cost | decided | remaining |
/// |---|---|---|---|
/// | 0 s | 4 | allow | 11 |
/// | 60 s | 14 | deny, retry after 60 s | 13 |
/// | 60 s | 13 | allow | 0 |
/// | 90 s | 10 | deny, retry after 30 s | 0 |
/// | 120 s | 10 | allow | 0 |
/// | 240 s | 15 | allow | 0 |
/// | 300 s | 16 | never | 10 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Hit, Outcome, QuotaRollover, Strategy, Timestamp, rate};
///
/// let quota = QuotaRollover::new(rate!("10/min"));
/// let mut state = Default::default();
/// let mut at = |second: u64, cost| {
///     quota.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000))
/// };
///
/// assert_eq!(at(0, 4).remaining(), 11);
/// assert_eq!(at(60, 14).retry_after(), Some(Duration::from_secs(60)));
/// assert_eq!(at(60, 13).remaining(), 0); // half of the 6 of 10 that were left
/// assert_eq!(at(90, 10).retry_after(), Some(Duration::from_secs(30)));
/// assert_eq!(at(120, 10).remaining(), 0); // more than the limit was used: nothing rolled over
/// assert_eq!(at(240, 15).remaining(), 0); // one silent window counts as much as many
/// assert_eq!(at(300, 16).outcome(), Outcome::Never);
/// ```
///
/// # Figures
///
/// `limiter.stat("alice")?.rollover` reads one of them and charges nobody.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `window_start` | `Timestamp` | start of the present window |
/// | `window_end` | `Timestamp` | end of the present window, and start of the next |
/// | `used` | `u32`, cost | use in the present window |
/// | `limit` | `u32`, cost | limit without the rollover |
/// | `rollover` | `u32`, cost | cost that rolled over from the window before |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaRollover {
    windows: FixedWindow,
    share: Ratio,
    max: u32,
}

/// The state of a quota: what was used in the window that holds the last hit, and in the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QuotaRolloverState {
    /// The time of the last hit that was booked.
    at: Halves,
    used: u32,
    /// What the window before used.
    before: u32,
}

stat! {
    /// A quota's own figures.
    pub struct QuotaRolloverStat {
        /// When the present window began.
        pub window_start: Timestamp,
        /// When it ends, and the next one begins.
        pub window_end: Timestamp,
        /// The cost used in it.
        pub used: u32,
        /// The limit without what rolled over.
        pub limit: u32,
        /// The cost that rolled over from the window before.
        pub rollover: u32,
    }
}

impl QuotaRolloverState {
    const fn at(self) -> Timestamp {
        self.at.whole()
    }

    fn new(at: Timestamp, used: u32, before: u32) -> Self {
        if used == 0 && before == 0 { Self::default() } else { Self { at: Halves::of(at), used, before } }
    }
}

serde_as_bytes!([] QuotaRolloverState);

impl State for QuotaRolloverState {
    const FRESH: Self = Self { at: Halves::of(Timestamp::EPOCH), used: 0, before: 0 };
    const MAX_LEN: usize = 1 + 8 + 2 * 4;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::QUOTA_ROLLOVER);
        out.u64(self.at().as_micros());
        out.u32(self.used);
        out.u32(self.before);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::QUOTA_ROLLOVER)?;
        let (at, used, before) = (Timestamp::from_micros(input.u64()?), input.u32()?, input.u32()?);
        let state = Self::new(at, used, before);
        // Nothing used is always written as the state never used.
        if state.at() == at { Ok(state) } else { Err(DecodeError) }
    }
}

impl QuotaRollover {
    /// The limit of `rate` in each window, and half of what the window before left of it.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { windows: FixedWindow::new(rate), share: Ratio::HALF, max: u32::MAX }
    }

    /// The same quota with this share of what was unused rolling over, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`RolloverShare`](StrategyError::RolloverShare) if it is above 1.
    pub fn share(self, share: Ratio) -> Result<Self, StrategyError> {
        if share.num() > share.den() {
            Err(StrategyError::RolloverShare(share))
        } else {
            Ok(Self { share, ..self })
        }
    }

    /// The same quota with at most `max` rolling over.
    #[must_use]
    pub fn max_rollover(self, max: u32) -> Self {
        Self { max, ..self }
    }

    /// The rate whose limit each window has at least.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }

    /// What rolls over from a window in which `used` was used.
    #[inline]
    fn rollover(&self, used: u32) -> u32 {
        let limit = self.rate().limit();
        self.share.floor_of(limit.saturating_sub(used)).min(self.max).min(u32::MAX - limit)
    }

    /// What may be used in a window after one in which `before` was used.
    #[inline]
    fn quota(&self, before: u32) -> u32 {
        // A rollover is at most what 32 bits hold beside the limit.
        self.rate().limit().saturating_add(self.rollover(before))
    }

    /// Whether a window after one in which `before` was used has room for this cost.
    #[inline]
    fn admits(&self, cost: u32, before: u32) -> bool {
        cost <= self.rate().limit() || cost <= self.quota(before)
    }

    /// Brings a state to the window that holds the time it decides at; tells that window's end too.
    #[inline]
    fn present(&self, state: QuotaRolloverState, now: Timestamp) -> (QuotaRolloverState, Timestamp) {
        let at = now.max(state.at());
        let (start, end) = self.windows.window(at);
        // The window before lasted a period, or less if it was the first.
        let (used, before) = if state.at() >= start {
            (state.used, state.before)
        } else if start.micros_since(state.at()) <= self.rate().period_micros() {
            (0, state.used)
        } else {
            (0, 0)
        };
        (QuotaRolloverState { at: Halves::of(at), used, before }, end)
    }

    /// How long after `now` a state that was brought to the present is fresh, whose window ends at `end`.
    fn reset(&self, present: QuotaRolloverState, end: Timestamp, now: Timestamp) -> u64 {
        match self.forgotten(present, end) {
            None => 0,
            Some(expires_at) => self.told(expires_at.micros_since(present.at()), present.at(), now),
        }
    }

    /// When nothing of a state shows any more, whose window ends at `end`; `None` if nothing does already.
    fn forgotten(&self, state: QuotaRolloverState, end: Timestamp) -> Option<Timestamp> {
        match (state.used, state.before) {
            (0, 0) => None,
            (0, _) => Some(end),
            _ => Some(end.plus_micros(self.rate().period_micros())),
        }
    }

    /// A wait from the time a state decides at, counted from a present that may lie behind it.
    fn told(&self, wait: u64, at: Timestamp, now: Timestamp) -> u64 {
        told(wait, at.micros_since(now), self.max_ttl())
    }
}

impl Strategy for QuotaRollover {
    type State = QuotaRolloverState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = QuotaRolloverStat;

    fn decide(&self, state: &mut QuotaRolloverState, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate().is_unlimited() {
            return Decision::unlimited();
        }
        let (present, end) = self.present(*state, now);
        let quota = self.quota(present.before);
        let period = self.rate().period_micros();
        let figures = |present: QuotaRolloverState| Figures {
            limit: quota,
            rate: self.rate(),
            remaining: Quotient::whole(quota.saturating_sub(present.used).into()),
            reset: Quotient::whole(self.reset(present, end, now)),
            receipt: Receipt::new(present.at()),
        };
        let next = end.micros_since(present.at());
        // The next window has what this one leaves; the one after it, the full rollover.
        let opens = |used: u32, cost: u32| {
            let wait = if self.admits(cost, used) { next } else { next.saturating_add(period) };
            Quotient::whole(self.told(wait, present.at(), now))
        };
        let more = |used: u32| match quota.saturating_sub(used).checked_add(1) {
            Some(more) if self.admits(more, 0) => opens(used, more),
            _ => Quotient::ZERO,
        };
        if hit.cost == 0 {
            return figures(present).allow(false, more(present.used));
        }
        let Some(used) = present.used.checked_add(hit.cost).filter(|used| *used <= quota) else {
            if !self.admits(hit.cost, 0) {
                return figures(present).never(more(present.used));
            }
            return figures(present).deny(opens(present.used, hit.cost));
        };
        let present = QuotaRolloverState { used, ..present };
        *state = present;
        figures(present).allow(true, more(used))
    }

    fn charge(&self, state: &mut QuotaRolloverState, hit: &Hit, now: Timestamp) {
        if !self.rate().is_unlimited() && hit.cost > 0 {
            let (present, _) = self.present(*state, now);
            *state = QuotaRolloverState { used: present.used.saturating_add(hit.cost), ..present };
        }
    }

    /// Takes the cost back in the window it was booked in: the present one, or the one before, which then
    /// rolls over more.
    fn refund(&self, state: &mut QuotaRolloverState, hit: &Hit, receipt: Receipt, _: Timestamp) {
        let (start, _) = self.windows.window(state.at());
        let (booked, next) = self.windows.window(receipt.at);
        if booked == start {
            *state = QuotaRolloverState::new(state.at(), state.used.saturating_sub(hit.cost), state.before);
        } else if next == start {
            *state = QuotaRolloverState::new(state.at(), state.used, state.before.saturating_sub(hit.cost));
        }
    }

    #[inline]
    fn expires_at(&self, state: &QuotaRolloverState, _: Class) -> Timestamp {
        self.forgotten(*state, self.windows.window(state.at()).1).unwrap_or(state.at())
    }

    fn max_ttl(&self) -> u64 {
        self.rate().period_micros().saturating_mul(2)
    }

    fn rebase(&self, state: &mut QuotaRolloverState, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.at(), now, self.max_ttl());
        if is_ahead {
            state.at = Halves::of(now);
        }
        is_ahead
    }

    fn stat(&self, state: &QuotaRolloverState, _: Class, now: Timestamp) -> QuotaRolloverStat {
        let (present, _) = self.present(*state, now);
        let (window_start, window_end) = self.windows.window(present.at());
        QuotaRolloverStat {
            window_start,
            window_end,
            used: present.used,
            limit: self.rate().limit(),
            rollover: self.rollover(present.before),
        }
    }

    /// The numerator of the share times the limit is the largest number there is.
    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let (period, limit) = (self.rate().period_micros(), self.rate().limit());
        let formula = ScriptFormula::Rollover {
            period,
            limit,
            share: self.share,
            most: self.max.min(u32::MAX - limit),
        };
        self.fits_script().is_ok() && ScriptLimit::windowed(self.rate(), hit, visit, formula)
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        CapacityError::unless_exact(self.rate().limit(), self.share.num())
    }
}

/// The rate changes; a maximum stays what it is.
impl Scale for QuotaRollover {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { windows: self.windows.scaled(ratio)?, ..*self })
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let max = if self.max == u32::MAX { self.max } else { ratio.floor_of(self.max) };
        self.max_rollover(max).scaled(ratio)
    }
}

impl Bounds for QuotaRollover {
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        self.windows.most(first, last).saturating_add(self.rollover(0).into())
    }

    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        self.windows.least(first, last, cost)
    }
}
