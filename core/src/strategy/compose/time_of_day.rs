//! Time of day: the rate times a ratio that depends on the hour.

use crate::decision::Kind;
use crate::hours::{DAY, Hours};
use crate::strategy::compose::family::{counted_in, parts, try_array};
use crate::strategy::math::rebase::is_ahead;
use crate::strategy::wire::form;
use crate::strategy::wire::stats::stat;
use crate::strategy::{
    ActiveHours, CapacityError, Class, Cost, Hit, Scale, ScriptFormula, ScriptLimit, StateNesting, Strategy,
    StrategyError,
};
use crate::{Decision, Ratio, Receipt, Timestamp, Verdict};

mod across;
mod day;
mod scale;
mod state;
#[cfg(test)]
mod tests;

use day::Day;
pub use state::TimeOfDayState;

/// Wraps a strategy and gives hours of the local day their own ratio of the rate.
///
/// In hours that were not given the ratio is 1. The counter survives a change of ratio, and what drains does
/// so at the rate that holds at the time. All limits count in the same parts, so that a change rounds nothing.
///
/// * Times MUST count from the Unix epoch, as those of `MonotonicClock`, `SystemClock` and `CoarseClock` do.
///   A clock that counts from when a device was switched on decides as lawfully, but by hours of its own.
/// * A wait is exact across changes of ratio, both when the limit grows meanwhile and when it shrinks. A cost
///   that fits only in other hours is told to wait for them, also by a key never seen.
/// * The offset from UTC is fixed: a switch to summer time is a new limit, under which the old states go on.
/// * Changes of ratio are followed for thirty years after the last hit of a key, one by one; a limit that may
///   still be in use then is refused, and a key charged beyond its limit forgets it then.
/// * A queue tells the delay of a place in it at the rate of the present hour. Around a strategy that records
///   demand a wait beyond the present hours may be told too long: as if the hit were denied again when they
///   change. What such a strategy concludes from a window, it concludes in the hours of the next hit.
///
/// Over any time it admits at most what its largest limit alone would, and at least what its smallest
/// alone would.
///
/// 2 per hour, at night from 22:00 to 06:00 half of it, in UTC:
///
/// | at | cost | decided | remaining | |
/// |---|---|---|---|---|
/// | 21:00 | 2 | allow | 0 | |
/// | 21:30 | 2 | deny, retry after 30 min and 8 h | 1 | 2 do not fit at night |
/// | 21:45 | 1 | allow | 0 | half a token is left |
/// | 22:00 | 1 | deny, retry after 60 min | 0 | a token each hour, 1 in use |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Hit, Hours, Strategy, TimeOfDay, Timestamp, TokenBucket, rate};
///
/// let night = Hours::new((22, 0), (6, 0), "1/2".parse()?);
/// let limit = TimeOfDay::new(TokenBucket::new(rate!("2/h")), [night])?;
/// let mut state = Default::default();
/// let mut at = |hour: u64, minute: u64, cost| {
///     limit.decide(&mut state, &Hit::new(cost), Timestamp::from_micros((hour * 60 + minute) * 60_000_000))
/// };
///
/// assert_eq!(at(21, 0, 2).remaining(), 0);
/// assert_eq!(at(21, 30, 2).retry_after(), Some(Duration::from_secs(30 * 60 + 8 * 3600)));
/// assert_eq!(at(21, 45, 1).remaining(), 0);
/// assert_eq!(at(22, 0, 1).retry_after(), Some(Duration::from_secs(60 * 60)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Figures
///
/// `limiter.stat("alice")?.effective_limit` reads one of them and charges nobody.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `hour` | `u8` | local hour, from 0 to 23 |
/// | `ratio` | `Ratio` | ratio of the rate that holds in this hour |
/// | `effective_limit` | `u32`, cost | most that can be had at once in this hour |
/// | `inner` | `S::Stat` | figures of the wrapped strategy |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay<S, const N: usize> {
    /// Holds outside the hours.
    base: S,
    limits: [S; N],
    day: Day<N>,
    max_ttl: u64,
}

stat! {
    /// The figures of a limit by time of day.
    pub struct TimeOfDayStat<T> {
        /// The local hour, from 0 to 23.
        pub hour: u8,
        /// The ratio of the rate that holds in it.
        pub ratio: Ratio,
        /// The most that can be had at once in it.
        pub effective_limit: u32,
        /// The figures of the wrapped strategy.
        pub inner: T,
    }
}

/// The state of a limit by time of day around a strategy.
type StateOf<S> = TimeOfDayState<<S as Strategy>::State>;

/// For how long changes of ratio are followed, in microseconds: thirty years.
const LONGEST: u64 = 10_958 * DAY;

impl<S: Scale<Verdict = Decision>, const N: usize> TimeOfDay<S, N> {
    /// `limit` scaled by the ratio of each of these hours of the day, in UTC.
    ///
    /// # Errors
    ///
    /// The variants of [`StrategyError`] about [`Hours`], [`TooSlow`](StrategyError::TooSlow), and
    /// [`Capacity`](StrategyError::Capacity) if a scaled limit cannot be counted exactly.
    pub fn new(strategy: S, hours: [Hours; N]) -> Result<Self, StrategyError> {
        Self::from_slice(strategy, &hours)
    }

    /// The same for at most `N` hours, for a program that reads them at run time.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and with [`StrategyError::TooManyHours`] for more hours than `N`.
    ///
    /// ```
    /// use traffik::{Hours, TimeOfDay, TokenBucket, rate};
    ///
    /// let configured = vec![Hours::new((22, 0), (6, 0), "1/2".parse()?)];
    /// let limit = TimeOfDay::<_, 6>::from_slice(TokenBucket::new(rate!("2/h")), &configured)?;
    /// # let _ = limit;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_slice(strategy: S, hours: &[Hours]) -> Result<Self, StrategyError> {
        let strategy = Self::scale(&strategy, Day::new(hours)?).map_err(StrategyError::Capacity)?;
        if strategy.max_ttl > LONGEST { Err(StrategyError::TooSlow) } else { Ok(strategy) }
    }

    /// The same hours in a local time that is this many minutes ahead of UTC (east of it), or behind it if
    /// less than 0.
    ///
    /// # Errors
    ///
    /// [`UtcOffset`](StrategyError::UtcOffset) for a day or more; else as [`new`](Self::new).
    pub fn utc_offset(self, minutes: i32) -> Result<Self, StrategyError> {
        Ok(Self { day: self.day.with_offset(minutes)?, ..self })
    }

    fn scale(strategy: &S, day: Day<N>) -> Result<Self, CapacityError> {
        let scaled =
            |at: usize| day.hours().get(at).map_or(Ok(strategy.clone()), |it| strategy.scaled(it.ratio()));
        let limits = try_array(strategy, scaled)?;
        let max_ttl = max_ttl(strategy, &day, &limits);
        Self { base: strategy.clone(), limits, day, max_ttl }.in_one_unit(1)
    }

    fn in_one_unit(&self, factor: u64) -> Result<Self, CapacityError> {
        let parts = parts([&self.base].into_iter().chain(&self.limits)).saturating_mul(factor.max(1));
        let counted = |limit| counted_in(parts, limit);
        let limits = try_array(&self.base, |at| counted(self.limits.get(at).unwrap_or(&self.base)))?;
        Ok(Self { base: counted(&self.base)?, limits, ..*self })
    }

    /// The limit that holds at a time, and when another may take over.
    #[inline]
    fn holding(&self, at: Timestamp) -> (&S, Timestamp) {
        let (holding, end) = self.day.at(at);
        (self.limits.get(holding).unwrap_or(&self.base), end)
    }

    /// The limits that hold at some time of the day.
    fn limits(&self) -> impl Iterator<Item = &S> {
        let base = [&self.base].into_iter().filter(|_| !self.day.is_whole());
        base.chain(self.limits.iter().take(self.day.hours().len()))
    }

    /// A state brought forward to the beginning of the hours that hold at `to`, with the limit that then holds
    /// and when another may take over.
    #[inline]
    fn forward(&self, state: &StateOf<S>, class: Class, to: Timestamp) -> (S::State, &S, Timestamp) {
        let (mut at, fresh) = (state.at, S::State::default());
        let mut inner = if to.micros_since(at) < LONGEST { state.inner.clone() } else { fresh.clone() };
        while inner != fresh {
            let (limit, end) = self.holding(at);
            if end > to || end <= at {
                return (inner, limit, end);
            }
            limit.advance(&mut inner, class, end);
            at = end;
        }
        let (limit, end) = self.holding(to);
        (inner, limit, end)
    }

    /// Brings the receipt of an admission forward likewise.
    fn forward_receipt(&self, receipt: &mut Receipt, class: Class, to: Timestamp) {
        let mut at = receipt.at();
        if to.micros_since(at) >= LONGEST {
            *receipt = Receipt::default();
            return;
        }
        loop {
            let (limit, end) = self.holding(at);
            if end > to || end <= at {
                break;
            }
            limit.advance_receipt(receipt, class, end);
            at = end;
        }
    }
}

/// An upper bound for the time that a state takes to become fresh, whichever limits hold meanwhile.
///
/// What fills the largest limit drains in the slowest hours. Their limits are as far apart as the ratios, and
/// by a factor of 2 at most more because they are rounded down.
fn max_ttl<S: Scale, const N: usize>(base: &S, day: &Day<N>, limits: &[S; N]) -> u64 {
    let slowest = limits.iter().map(Strategy::max_ttl).fold(base.max_ttl(), u64::max);
    let ratios = || day.hours().iter().map(Hours::ratio);
    let largest = ratios().fold(Ratio::ONE, Ratio::max);
    let least = ratios().fold(Ratio::ONE, Ratio::min);
    let cross = |one: Ratio, other: Ratio| u128::from(one.num()) * u128::from(other.den());
    let apart = match cross(largest, least).div_ceil(cross(least, largest).max(1)) {
        1 => 1,
        apart => apart.saturating_mul(2),
    };
    slowest.saturating_mul(u64::try_from(apart).unwrap_or(u64::MAX))
}

#[deny(clippy::missing_trait_methods)]
impl<S: Scale<Verdict = Decision>, const N: usize> Strategy for TimeOfDay<S, N> {
    type State = StateOf<S>;
    type Cost = S::Cost;
    type Verdict = Decision;
    type Stat = TimeOfDayStat<S::Stat>;

    #[inline]
    fn decide(&self, state: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Decision {
        let at = now.max(state.at);
        let (mut inner, limit, end) = self.forward(state, hit.class, at);
        let decision = limit.decide(&mut inner, hit, at);
        if decision.is_unlimited() {
            return decision;
        }
        let recorded = decision.is_dirty();
        let forgotten = if recorded { at } else { state.at }.plus_micros(LONGEST);
        if recorded {
            *state = TimeOfDayState::new(at, inner.clone());
        }
        // Until then nothing changes but what this limit knows of itself.
        let alone = if at < forgotten { end.min(forgotten) } else { end };
        let (wait, reset) = decision.waits();
        let is_alone = match decision.kind() {
            // What begins as the next hours do is theirs to tell: a pass, and how much more there is.
            Kind::Allow | Kind::Delay | Kind::Unlimited => at.plus_micros(reset) < alone,
            Kind::Deny => at.plus_micros(wait) < alone && at.plus_micros(reset) <= alone,
            Kind::Never => false,
        };
        if now == at && is_alone {
            return decision;
        }
        self.across_hours(decision, inner, hit, (at, now, forgotten))
    }

    fn peek(&self, state: &Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Decision {
        self.decide(&mut state.clone(), hit, now)
    }

    fn charge(&self, state: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) {
        let at = now.max(state.at);
        let (before, limit, _) = self.forward(state, hit.class, at);
        let mut inner = before.clone();
        limit.charge(&mut inner, hit, at);
        if inner != before {
            *state = TimeOfDayState::new(at, inner);
        }
    }

    fn refund(&self, state: &mut Self::State, hit: &Hit<S::Cost>, mut receipt: Receipt, now: Timestamp) {
        let at = now.max(state.at);
        let (mut inner, limit, _) = self.forward(state, hit.class, at);
        self.forward_receipt(&mut receipt, hit.class, at);
        limit.refund(&mut inner, hit, receipt, at);
        *state = TimeOfDayState::new(at, inner);
    }

    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.fresh_from(state.inner.clone(), class, state.at, state.at.plus_micros(LONGEST))
    }

    fn max_ttl(&self) -> u64 {
        self.max_ttl
    }

    fn rebase(&self, state: &mut Self::State, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.at, now, self.max_ttl);
        if is_ahead {
            // What is in it decides at this time, and may lie somewhat behind it.
            let (limit, _) = self.holding(state.at);
            limit.advance(&mut state.inner, Class::default(), state.at);
            let _ = limit.rebase(&mut state.inner, now);
            *state = TimeOfDayState::new(now, state.inner.clone());
        }
        is_ahead
    }

    #[inline]
    fn records_demand(&self) -> bool {
        self.base.records_demand()
    }

    /// The limits of all hours, of which the store is to find the one that holds.
    fn parts_of(&self, hit: &Hit<S::Cost>, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let (mut unlimited, ahead) = (false, self.day.ahead());
        let length = self.day.hours().len();
        let complete = (0..=length).all(|at| {
            let span = self.day.span(at);
            let limit = span.and_then(|_| self.limits.get(at)).unwrap_or(&self.base);
            let Ok(more) = u8::try_from(length - at) else { return false };
            let mut parts = 0;
            let complete = limit.parts_of(hit, &mut |part| {
                parts += if part.hours.is_none() { 1 } else { 2 };
                if part.formula == ScriptFormula::Unlimited {
                    unlimited = true;
                } else {
                    let hours = ActiveHours { span, ahead, more, inline: part.inline };
                    visit(ScriptLimit { hours: Some(hours), inline: StateNesting::default(), ..part });
                }
            });
            complete && parts == 1
        });
        // Without a limit it is so at all hours, and there is nothing to keep.
        if unlimited {
            visit(ScriptLimit::unlimited());
        }
        complete
    }

    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> Self::Stat {
        let at = now.max(state.at);
        let (inner, limit, _) = self.forward(state, class, at);
        let nothing = Hit::new(S::Cost::uniform(0)).with_class(class);
        TimeOfDayStat {
            hour: (self.day.time(at) / (DAY / 24)) as u8,
            ratio: self.day.hours().get(self.day.at(at).0).map_or(Ratio::ONE, Hours::ratio),
            effective_limit: limit.peek(&inner, &nothing, at).limit(),
            inner: limit.stat(&inner, class, at),
        }
    }

    /// Around those of the limit, states have a form of their own.
    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        visit(form::<Self::State>(), 0);
        self.base.kinds(visit);
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.limits().try_for_each(Strategy::fits_script)
    }
}
