//! The quota with rollover: a share of the unused limit of a window is added to the next.

use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;

use super::math::rebase::{bounded_wait, is_ahead};
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

/// Adds a share of the previous window's unused limit to the next window's quota.
///
/// Choose it for billing-like quotas that should carry over, such as "1000 per week, half of the rest kept".
/// [`FixedWindow`] forgets the rest; a [`TokenBucket`](crate::TokenBucket) with a large burst keeps all of
/// it. The state takes 16 bytes.
///
/// Windows have one period and are aligned to the clock. The quota of a window is
/// `limit + min(max, ⌊share · unused⌋)`, and no more than 32 bits hold. `unused` is the part of the *limit*
/// that the previous window left. Cost that rolled over does not roll over again, so nothing adds up over
/// silent windows. A window without use rolls over in full, and so a key never seen starts with the full
/// rollover.
///
/// In any `n` consecutive windows it admits at most `n · limit` and one full rollover. Each window admits at
/// least the whole limit, less the rest that is smaller than one more whole cost.
///
/// The share defaults to a half, without a maximum. 10 per minute:
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
/// `limiter.stat("alice")?.rollover` reads one of them without charging the key.
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

/// The state of a [`QuotaRollover`]: the use in the window of the last hit, and in the one before.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{Hit, QuotaRollover, Strategy, Timestamp, rate};
///
/// let (quota, mut state) = (QuotaRollover::new(rate!("4/s")), State::FRESH);
/// quota.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QuotaRolloverState {
    /// The time of the last charged hit.
    at: Halves,
    used: u32,
    /// The use in the previous window.
    before: u32,
}

stat! {
    /// The figures of a [`QuotaRollover`].
    ///
    /// ```
    /// use traffik::{Class, QuotaRollover, Strategy, Timestamp, rate};
    ///
    /// let stat = QuotaRollover::new(rate!("4/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.limit, stat.rollover), (4, 2)); // a fresh key has the full rollover
    /// ```
    pub struct QuotaRolloverStat {
        /// The start of the present window.
        pub window_start: Timestamp,
        /// The end of the present window, and the start of the next.
        pub window_end: Timestamp,
        /// The cost used in the present window.
        pub used: u32,
        /// The limit without the rollover.
        pub limit: u32,
        /// The cost that rolled over from the previous window.
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
        // A state with nothing in use has one encoded form: that of a key never seen.
        if state.at() == at { Ok(state) } else { Err(DecodeError) }
    }
}

impl QuotaRollover {
    /// Returns the limit of `rate` in each window, plus half of the limit that the previous window left.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { windows: FixedWindow::new(rate), share: Ratio::HALF, max: u32::MAX }
    }

    /// Sets the share of the unused limit that rolls over, from 0 to 1. Defaults to a half.
    ///
    /// # Errors
    ///
    /// Fails with [`RolloverShare`](StrategyError::RolloverShare) if the share is above 1.
    pub fn share(self, share: Ratio) -> Result<Self, StrategyError> {
        if share.num() > share.den() {
            Err(StrategyError::RolloverShare(share))
        } else {
            Ok(Self { share, ..self })
        }
    }

    /// Sets the most cost that rolls over. Defaults to no maximum.
    #[must_use]
    pub fn max_rollover(self, max: u32) -> Self {
        Self { max, ..self }
    }

    /// Returns the rate, whose limit each window has at least.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }

    /// Returns the rollover from a window with this use: `min(⌊share · (limit − used)⌋, max)`.
    #[inline]
    fn rollover(&self, used: u32) -> u32 {
        let limit = self.rate().limit();
        self.share.floor_of(limit.saturating_sub(used)).min(self.max).min(u32::MAX - limit)
    }

    /// Returns the quota of a window after one in which `before` was used.
    #[inline]
    fn quota(&self, before: u32) -> u32 {
        // The rollover is at most what 32 bits hold beside the limit.
        self.rate().limit().saturating_add(self.rollover(before))
    }

    /// Reports whether a window after one in which `before` was used has room for this cost.
    #[inline]
    fn admits(&self, cost: u32, before: u32) -> bool {
        cost <= self.rate().limit() || cost <= self.quota(before)
    }

    /// Brings a state to the window that holds the time of decision, and returns the end of that window.
    #[inline]
    fn present(&self, state: QuotaRolloverState, now: Timestamp) -> (QuotaRolloverState, Timestamp) {
        let at = now.max(state.at());
        let (start, end) = self.windows.window(at);
        // The previous window lasted one period, or less if it was the first.
        let (used, before) = if state.at() >= start {
            (state.used, state.before)
        } else if start.micros_since(state.at()) <= self.rate().period_micros() {
            (0, state.used)
        } else {
            (0, 0)
        };
        (QuotaRolloverState { at: Halves::of(at), used, before }, end)
    }

    /// Returns the microseconds after `now` until a state in the present window, which ends at `end`, is
    /// fresh.
    fn reset(&self, present: QuotaRolloverState, end: Timestamp, now: Timestamp) -> u64 {
        match self.forgotten(present, end) {
            None => 0,
            Some(expires_at) => self.wait_from(expires_at.micros_since(present.at()), present.at(), now),
        }
    }

    /// Returns the time at which a state, whose window ends at `end`, is fresh; `None` if it is fresh
    /// already.
    fn forgotten(&self, state: QuotaRolloverState, end: Timestamp) -> Option<Timestamp> {
        match (state.used, state.before) {
            (0, 0) => None,
            (0, _) => Some(end),
            _ => Some(end.plus_micros(self.rate().period_micros())),
        }
    }

    /// Returns a wait from the time of decision, counted from a present that may lie before it.
    fn wait_from(&self, wait: u64, at: Timestamp, now: Timestamp) -> u64 {
        bounded_wait(wait, at.micros_since(now), self.max_ttl())
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
        // The next window has what this one leaves; the one after it has the full rollover.
        let opens = |used: u32, cost: u32| {
            let wait = if self.admits(cost, used) { next } else { next.saturating_add(period) };
            Quotient::whole(self.wait_from(wait, present.at(), now))
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

    /// Takes the cost back from the window that it was charged to.
    ///
    /// That may be the state's own window, or the one before it, which then rolls over more.
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
        // The present window, and the next, whose quota it still determines.
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

    /// Checks the largest number of the script, which is the numerator of the share times the limit.
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

/// Scales the rate; a maximum stays the same.
impl Scale for QuotaRollover {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { windows: self.windows.scaled(ratio)?, ..*self })
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        // Without a maximum each share of the limit has none either.
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
