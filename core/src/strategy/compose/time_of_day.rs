//! The time of day: the rate times a ratio that depends on the hour.

use crate::decision::Kind;
use crate::hours::{DAY, Hours};
use crate::strategy::compose::family::{denominator, refine_to, try_array};
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

/// Gives hours of the local day their own ratio of a rate.
///
/// Choose it for limits that differ at night or in peak hours. [`Tiered`](crate::strategy::Tiered) varies the
/// rate by customer instead. The state is that of the wrapped strategy and 8 bytes more, rounded up to 8.
///
/// In hours that were not given the ratio is 1. The use survives a change of ratio, and drains at the rate
/// that holds at the time. All limits count in the same units, so a change rounds nothing.
///
/// * Times MUST count from the Unix epoch, as those of `MonotonicClock`, `SystemClock` and `CoarseClock` do.
///   By a clock that counts from the start of a device, the hours count from that start.
/// * A wait is exact across changes of ratio, both when the limit grows meanwhile and when it shrinks. A cost
///   that fits only in other hours waits for them, also for a key never seen.
/// * The offset from UTC is fixed. A switch to summer time is a new limit, which takes over the old states.
/// * Changes of ratio are followed one by one for thirty years after the last hit of a key. A limit that may
///   still be in use then is refused, and a key charged beyond its limit forgets it then.
/// * A queue computes the delay of a place at the rate of the present hour.
/// * Around a strategy that records demand, a wait beyond the present hours may be too long: as if the hit
///   were denied again when they change. Such a strategy judges a window by the limit of the next hit's
///   hours.
///
/// Over any time it admits at most what its largest limit alone would, and at least what its smallest alone
/// would.
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
/// let strategy = TimeOfDay::new(TokenBucket::new(rate!("2/h")), [night])?;
/// let mut state = Default::default();
/// let mut at = |hour: u64, minute: u64, cost| {
///     let at = Timestamp::from_micros((hour * 60 + minute) * 60_000_000);
///     strategy.decide(&mut state, &Hit::new(cost), at)
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
/// `limiter.stat("alice")?.effective_limit` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `hour` | `u8` | local hour, from 0 to 23 |
/// | `ratio` | `Ratio` | ratio of the rate that holds in this hour |
/// | `effective_limit` | `u32`, cost | most that can be had at once in this hour |
/// | `inner` | `S::Stat` | figures of the wrapped strategy |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay<S, const N: usize> {
    /// Holds outside the given hours.
    base: S,
    limits: [S; N],
    day: Day<N>,
    max_ttl: u64,
}

stat! {
    /// The figures of a [`TimeOfDay`] limit.
    ///
    /// ```
    /// use traffik::{Class, Hours, Ratio, Strategy, TimeOfDay, Timestamp, TokenBucket, rate};
    ///
    /// let night = Hours::new((22, 0), (6, 0), Ratio::new(1, 2)?);
    /// let strategy = TimeOfDay::new(TokenBucket::new(rate!("2/h")), [night])?;
    /// let stat = strategy.stat(&Default::default(), Class::new(), Timestamp::EPOCH); // 00:00 in UTC
    /// assert_eq!((stat.hour, stat.ratio, stat.effective_limit), (0, Ratio::new(1, 2)?, 1));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub struct TimeOfDayStat<T> {
        /// The local hour, from 0 to 23.
        pub hour: u8,
        /// The ratio of the rate in this hour.
        pub ratio: Ratio,
        /// The most that can be had at once in this hour.
        pub effective_limit: u32,
        /// The figures of the wrapped strategy.
        pub inner: T,
    }
}

/// The state of a [`TimeOfDay`] around the strategy `S`.
type TimedState<S> = TimeOfDayState<<S as Strategy>::State>;

/// The time for which changes of ratio are followed, in microseconds: thirty years.
const LONGEST: u64 = 10_958 * DAY;

impl<S: Scale<Verdict = Decision>, const N: usize> TimeOfDay<S, N> {
    /// Scales `strategy` by the ratio of each of these hours of the day, in UTC.
    ///
    /// # Errors
    ///
    /// * [`NoHours`](StrategyError::NoHours) without hours.
    /// * [`NotATime`](StrategyError::NotATime), [`EmptyHours`](StrategyError::EmptyHours) or
    ///   [`ZeroHours`](StrategyError::ZeroHours) if one of the [`Hours`] is no part of a day, is empty, or
    ///   has a ratio of 0.
    /// * [`OverlappingHours`](StrategyError::OverlappingHours) if two of them overlap.
    /// * [`TooSlow`](StrategyError::TooSlow) if the limit may take more than thirty years to become fresh.
    /// * [`Capacity`](StrategyError::Capacity) if a scaled limit cannot be counted exactly.
    pub fn new(strategy: S, hours: [Hours; N]) -> Result<Self, StrategyError> {
        Self::from_slice(strategy, &hours)
    }

    /// Scales `strategy` by at most `N` hours that a program reads at run time.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does, and with [`StrategyError::TooManyHours`] for more hours than `N`.
    ///
    /// ```
    /// use traffik::{Class, Hours, Strategy, TimeOfDay, Timestamp, TokenBucket, rate};
    ///
    /// let configured = vec![Hours::new((22, 0), (6, 0), "1/2".parse()?)];
    /// let strategy = TimeOfDay::<_, 6>::from_slice(TokenBucket::new(rate!("2/h")), &configured)?;
    /// let stat = strategy.stat(&Default::default(), Class::new(), Timestamp::EPOCH); // 00:00 in UTC
    /// assert_eq!(stat.effective_limit, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_slice(strategy: S, hours: &[Hours]) -> Result<Self, StrategyError> {
        let strategy = Self::scale(&strategy, Day::new(hours)?).map_err(StrategyError::Capacity)?;
        if strategy.max_ttl > LONGEST { Err(StrategyError::TooSlow) } else { Ok(strategy) }
    }

    /// Sets the offset of local time from UTC in minutes: positive to the east. Defaults to 0.
    ///
    /// # Errors
    ///
    /// Fails with [`UtcOffset`](StrategyError::UtcOffset) for a day (1440 minutes) or more.
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

    /// Brings all limits to one denominator, so that a change of hours rounds nothing.
    fn in_one_unit(&self, factor: u64) -> Result<Self, CapacityError> {
        let all = [&self.base].into_iter().chain(&self.limits);
        let denominator = denominator(all).saturating_mul(factor.max(1));
        let counted = |strategy| refine_to(denominator, strategy);
        let limits = try_array(&self.base, |at| counted(self.limits.get(at).unwrap_or(&self.base)))?;
        Ok(Self { base: counted(&self.base)?, limits, ..*self })
    }

    /// Returns the strategy that holds at a time, and when another may take over.
    #[inline]
    fn holding(&self, at: Timestamp) -> (&S, Timestamp) {
        let (holding, end) = self.day.at(at);
        (self.limits.get(holding).unwrap_or(&self.base), end)
    }

    /// Returns the strategies that hold at some time of the day.
    fn limits(&self) -> impl Iterator<Item = &S> {
        let base = [&self.base].into_iter().filter(|_| !self.day.is_whole());
        base.chain(self.limits.iter().take(self.day.hours().len()))
    }

    /// Brings a state forward to the beginning of the hours that hold at `to`.
    ///
    /// Returns it with the strategy that holds then, and when another may take over.
    #[inline]
    fn forward(&self, state: &TimedState<S>, class: Class, to: Timestamp) -> (S::State, &S, Timestamp) {
        let (mut at, fresh) = (state.at, S::State::default());
        // A state older than thirty years is forgotten, which bounds the loop below.
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

    /// Brings the receipt of an admission forward in the same way.
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

/// Returns an upper bound for the time that a state takes to become fresh, whichever limits hold meanwhile.
///
/// The use of the largest limit drains in the slowest hours. Limits differ as the ratios do, and by a factor
/// of at most 2 more since they are rounded down: `slowest · ⌈largest / least⌉ · 2`.
fn max_ttl<S: Scale, const N: usize>(base: &S, day: &Day<N>, limits: &[S; N]) -> u64 {
    let slowest = limits.iter().map(Strategy::max_ttl).fold(base.max_ttl(), u64::max);
    let ratios = || day.hours().iter().map(Hours::ratio);
    let largest = ratios().fold(Ratio::ONE, Ratio::max);
    let least = ratios().fold(Ratio::ONE, Ratio::min);
    // largest / least = (largest.num · least.den) / (least.num · largest.den)
    let cross = |one: Ratio, other: Ratio| u128::from(one.num()) * u128::from(other.den());
    let apart = match cross(largest, least).div_ceil(cross(least, largest).max(1)) {
        1 => 1,
        apart => apart.saturating_mul(2),
    };
    slowest.saturating_mul(u64::try_from(apart).unwrap_or(u64::MAX))
}

#[deny(clippy::missing_trait_methods)]
impl<S: Scale<Verdict = Decision>, const N: usize> Strategy for TimeOfDay<S, N> {
    type State = TimedState<S>;
    type Cost = S::Cost;
    type Verdict = Decision;
    type Stat = TimeOfDayStat<S::Stat>;

    #[inline]
    fn decide(&self, state: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Decision {
        // A time before the state's own counts as the state's own.
        let at = now.max(state.at);
        let (mut inner, limit, end) = self.forward(state, hit.class, at);
        let decision = limit.decide(&mut inner, hit, at);
        if decision.is_unlimited() {
            return decision;
        }
        let recorded = decision.is_dirty();
        // A state is forgotten thirty years after its last charge.
        let forgotten = if recorded { at } else { state.at }.plus_micros(LONGEST);
        if recorded {
            *state = TimeOfDayState::new(at, inner.clone());
        }
        // Up to this time only the present limit decides.
        let alone = if at < forgotten { end.min(forgotten) } else { end };
        let (wait, reset) = decision.waits();
        let is_alone = match decision.kind() {
            // A pass, and the time until more can be had, may depend on the hours that begin then.
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
            // The inner state may lie a little before its time, which must be followed up first.
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

    /// Shows the limits of all hours; the store finds the one that holds.
    fn parts_of(&self, hit: &Hit<S::Cost>, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let (mut unlimited, ahead) = (false, self.day.ahead());
        let length = self.day.hours().len();
        let complete = (0..=length).all(|at| {
            let span = self.day.span(at);
            let limit = span.and_then(|_| self.limits.get(at)).unwrap_or(&self.base);
            let Ok(more) = u8::try_from(length - at) else { return false };
            // A script decides by one limit at each hour, so a composed one, or hours within hours (2), do
            // not fit.
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
        // An unlimited rate is so at all hours, and keeps no state.
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

    /// Shows the form of its own state first, then the kinds of the wrapped strategy.
    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        visit(form::<Self::State>(), 0);
        self.base.kinds(visit);
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.limits().try_for_each(Strategy::fits_script)
    }
}
