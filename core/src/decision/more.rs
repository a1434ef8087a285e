//! The time until more of a limit can be had, and the changes of a decision on which it depends.

use core::time::Duration;

use super::{Decision, Kind, MoreSource, Quotient};
use crate::Outcome;
use crate::divide::micros;
use crate::time::micros_ceil;

impl Decision {
    /// Returns the time until more can be had than [`remaining`](Self::remaining), if nothing else happens.
    ///
    /// For a bucket that is one more; for a window all of it, when it begins anew. For a denial it is the
    /// [wait](Self::retry_after) until the hit would pass.
    ///
    /// Returns `None` if nothing is in use, if no more can ever be had, or if the time is not known. It is
    /// not known for an admission by a [`SlidingLog`], or by a strategy of your own that does not
    /// [set](Self::with_more_after) it. Nor is it known while something remains of a [`FairShare`], or of
    /// [`Regions`] that spill over.
    ///
    /// [`FairShare`]: crate::FairShare
    /// [`Regions`]: crate::Regions
    /// [`SlidingLog`]: crate::SlidingLog
    ///
    /// ```
    /// use core::time::Duration;
    /// use traffik::{Hit, Strategy, Timestamp, TokenBucket, rate};
    ///
    /// let bucket = TokenBucket::new(rate!("5/10s"));
    /// let decision = bucket.decide(&mut Default::default(), &Hit::new(5), Timestamp::EPOCH);
    /// assert_eq!(decision.more_after(), Some(Duration::from_secs(2)));
    /// assert_eq!(decision.reset_after(), Duration::from_secs(10));
    /// ```
    #[must_use]
    pub const fn more_after(&self) -> Option<Duration> {
        if let Some(retry_after) = self.retry_after() {
            return Some(retry_after);
        }
        match self.more().ceil() {
            0 | u64::MAX => None,
            more => Some(micros(more)),
        }
    }

    /// Returns the time until more can be had of a limit that does not deny; 0 if it is not known.
    const fn more(&self) -> Quotient {
        match (self.kind, self.more) {
            _ if self.limit == 0 => Quotient::ZERO,
            (Kind::Unlimited, _)
            | (_, MoreSource::Unknown)
            | (Kind::Delay | Kind::Deny, MoreSource::Wait) => Quotient::ZERO,
            (Kind::Allow | Kind::Never, MoreSource::Wait) => self.wait,
            (_, MoreSource::Level) => self.more_by_level(),
        }
    }

    /// Computes the time from the level of a bucket.
    ///
    /// Of `offered` units that can be had at once `used` are in use. So `remaining + 1` can be had once `used
    /// − (offered − (remaining + 1) · unit)` have drained. The time by which the clock stepped back counts as
    /// used.
    const fn more_by_level(&self) -> Quotient {
        let (used, unit, next) = (self.reset.num, self.remaining.den, self.remaining() as u64 + 1);
        if used == 0 || next > self.limit as u64 {
            return Quotient::ZERO;
        }
        let offered = match self.kind {
            Kind::Delay => (self.limit as u64).saturating_mul(unit),
            _ => self.wait.num,
        };
        // before = offered - next · unit: the units that may be in use when `next` can be had.
        let before = offered.saturating_sub(next.saturating_mul(unit));
        Quotient { num: used.saturating_sub(before), den: self.reset.den }
    }

    /// Computes the time until more can be had now, so that it no longer depends on other figures.
    pub(super) const fn settled(mut self) -> Self {
        match self.kind {
            Kind::Allow | Kind::Never => (self.wait, self.more) = (self.more(), MoreSource::Wait),
            Kind::Delay | Kind::Unlimited | Kind::Deny => self.more = MoreSource::Unknown,
        }
        self
    }

    /// Sets the time until [more](Self::more_after) can be had. A denial and a delay keep their own wait.
    pub const fn with_more_after(mut self, more_after: Option<Duration>) -> Self {
        if matches!(self.kind, Kind::Allow | Kind::Never) {
            self.more = MoreSource::Wait;
            self.wait = match more_after {
                Some(more) => Quotient::whole(micros_ceil(more)),
                None => Quotient::ZERO,
            };
        }
        self
    }

    /// Sets another outcome, for a wrapper that knows more than the limit it wraps.
    pub const fn with_outcome(mut self, outcome: Outcome) -> Self {
        let (kind, wait) = match outcome {
            Outcome::Allow { after } if self.is_unlimited() => (Kind::Unlimited, after),
            Outcome::Allow { after } if after.is_zero() => (Kind::Allow, after),
            Outcome::Allow { after } => (Kind::Delay, after),
            Outcome::Deny { retry_after } => (Kind::Deny, retry_after),
            Outcome::Never => (Kind::Never, Duration::ZERO),
        };
        // Where the meaning of the field `wait` stays the same, the figure in it stays valid.
        match (self.kind, kind) {
            (Kind::Allow | Kind::Never, Kind::Allow | Kind::Never) => {}
            (Kind::Delay, Kind::Delay) => self.wait = Quotient::whole(micros_ceil(wait)),
            _ => (self.wait, self.more) = (Quotient::whole(micros_ceil(wait)), MoreSource::Unknown),
        }
        self.kind = kind;
        self
    }

    /// Sets the time after which all of the limit is back.
    pub const fn with_reset_after(self, reset_after: Duration) -> Self {
        let mut settled = self.settled();
        settled.reset = Quotient::whole(micros_ceil(reset_after));
        settled
    }

    /// Takes off a reserve that is kept for others: of the limit, of the rest and, for a window, of the rate.
    ///
    /// An unlimited decision stays unlimited.
    pub const fn with_reserve(mut self, reserve: u32) -> Self {
        if self.is_unlimited() || reserve == 0 {
            return self;
        }
        // remaining = num / den, so in the same units: all = limit · den and reserved = reserve · den.
        let den = if self.remaining.den == 0 { 1 } else { self.remaining.den };
        let (all, reserved) = ((self.limit as u64).saturating_mul(den), (reserve as u64).saturating_mul(den));
        let num = if self.remaining.num < all { self.remaining.num } else { all };
        match (self.kind, self.more) {
            (Kind::Allow | Kind::Never, MoreSource::Level) => {
                self.wait.num = self.wait.num.saturating_sub(reserved)
            }
            // The reserve fills up first, so the time until more can be had is not known.
            (Kind::Allow | Kind::Never, MoreSource::Wait) if num < reserved => {
                self.more = MoreSource::Unknown
            }
            _ => {}
        }
        self.remaining = Quotient { num: num.saturating_sub(reserved), den };
        self.limit = self.limit.saturating_sub(reserve);
        if !self.is_bucket {
            self.quota = self.quota.saturating_sub(reserve);
        }
        self
    }
}
