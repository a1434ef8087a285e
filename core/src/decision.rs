//! The decision of one limit on a hit, with its figures.

use core::time::Duration;

use crate::divide::micros;
use crate::{Origin, Outcome, Rate, Receipt, Timestamp};

mod more;
mod quotient;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use quotient::Quotient;
pub use verdict::Verdict;

/// The decision of one limit on one hit: whether it may pass, and the figures for headers and logs.
///
/// [`Limiter::check`](crate::Limiter::check) returns it for a limit that is not composed. A strategy of your
/// own makes it with [`allow`](Self::allow), [`deny`](Self::deny) and [`never`](Self::never).
///
/// ```
/// use core::time::Duration;
/// use traffik::{Limiter, Memory, TokenBucket, rate};
///
/// let limiter = Limiter::new(TokenBucket::new(rate!("2/min")), Memory::new(1_000));
/// let decision = limiter.check("alice")?;
/// assert!(decision.is_allowed());
/// assert_eq!((decision.limit(), decision.remaining()), (2, 1));
///
/// limiter.check("alice")?;
/// let denied = limiter.check("alice")?;
/// assert!(denied.retry_after().is_some_and(|wait| wait <= Duration::from_secs(30)));
/// # Ok::<(), traffik::StorageError>(())
/// ```
///
/// It keeps its figures undivided, and divides when one is read. So a caller that reads only
/// [`is_allowed`](Self::is_allowed) pays for no division.
#[derive(Clone, Copy)]
#[must_use]
pub struct Decision {
    kind: Kind,
    recorded: bool,
    origin: Origin,
    more: MoreSource,
    /// Whether the limit is a bucket: a reserve takes room of it, and no part of its rate.
    is_bucket: bool,
    /// The routes of the receipt; the receipt itself would leave seven bytes unused.
    routes: u8,
    limit: u32,
    /// The limit of the rate.
    quota: u32,
    /// The period of the rate in microseconds; 0 if it has none.
    window: u64,
    remaining: Quotient,
    /// The wait of a denial or a delay; otherwise as [`MoreSource`] defines it.
    wait: Quotient,
    reset: Quotient,
    at: Timestamp,
    level: u64,
    unit: u64,
}

/// The source of the time until more can be had.
///
/// A delay and a denial keep their own wait in the field `wait`, where other decisions keep this source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MoreSource {
    /// The time is not known.
    Unknown,
    /// The field `wait`; 0 stands for never.
    Wait,
    /// The level of a bucket, by `reset` and `remaining`. The field `wait` then holds the units that can be
    /// had at once; for a delay those are the units of the limit.
    Level,
}

/// The kind of a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Allow,
    Delay,
    Unlimited,
    Deny,
    Never,
}

/// The figures that every built-in strategy fills in; waits in microseconds, rounded up when they are read.
pub(crate) struct Figures {
    pub(crate) limit: u32,
    pub(crate) rate: Rate,
    pub(crate) remaining: Quotient,
    pub(crate) reset: Quotient,
    pub(crate) receipt: Receipt,
}

impl Figures {
    pub(crate) const fn allow(self, recorded: bool, more: Quotient) -> Decision {
        self.decision(Kind::Allow, recorded, more)
    }

    pub(crate) const fn deny(self, wait: Quotient) -> Decision {
        self.decision(Kind::Deny, false, wait)
    }

    pub(crate) const fn never(self, more: Quotient) -> Decision {
        self.decision(Kind::Never, false, more)
    }

    /// Returns a decision whose `wait` is that of a denial, or else the time until more can be had; 0 if that
    /// is not known, or never.
    #[inline]
    pub(crate) const fn decision(self, kind: Kind, recorded: bool, wait: Quotient) -> Decision {
        self.build(kind, recorded, wait, MoreSource::Wait)
    }

    /// Returns a decision of a bucket, whose `wait` is that of a denial or a delay, or else as
    /// [`MoreSource::Level`] defines it.
    #[inline]
    pub(crate) const fn of_bucket(self, kind: Kind, recorded: bool, wait: Quotient) -> Decision {
        self.build(kind, recorded, wait, MoreSource::Level)
    }

    #[inline]
    const fn build(self, kind: Kind, recorded: bool, wait: Quotient, more: MoreSource) -> Decision {
        let Self { limit, rate, remaining, reset, receipt: Receipt { at, level, unit, routes } } = self;
        let ((quota, window), is_bucket) = (rate.plain(), matches!(more, MoreSource::Level));
        let origin = Origin::Store;
        Decision {
            kind,
            recorded,
            origin,
            more,
            is_bucket,
            routes,
            limit,
            quota,
            window,
            remaining,
            wait,
            reset,
            at,
            level,
            unit,
        }
    }
}

impl Decision {
    /// Creates an admission, for a strategy of your own: `remaining` of `limit` is left, and all is back
    /// after `reset_after`. The state counts as changed.
    pub const fn allow(limit: u32, remaining: u32, reset_after: Duration) -> Self {
        Self::plain(limit, remaining, reset_after).allow(true, Quotient::ZERO).of_limit(limit)
    }

    /// Creates a denial, for a strategy of your own: the same hit would be admitted after `retry_after`. The
    /// state counts as unchanged.
    pub const fn deny(limit: u32, remaining: u32, retry_after: Duration, reset_after: Duration) -> Self {
        let wait = Quotient::whole(crate::time::micros_ceil(retry_after));
        Self::plain(limit, remaining, reset_after).deny(wait).of_limit(limit)
    }

    /// Creates a denial that no wait can end. The state counts as unchanged.
    pub const fn never(limit: u32, remaining: u32, reset_after: Duration) -> Self {
        Self::plain(limit, remaining, reset_after).never(Quotient::ZERO).of_limit(limit)
    }

    /// Creates the decision of an unlimited rate.
    pub const fn unlimited() -> Self {
        Self::plain(u32::MAX, u32::MAX, Duration::ZERO).decision(Kind::Unlimited, false, Quotient::ZERO)
    }

    const fn plain(limit: u32, remaining: u32, reset_after: Duration) -> Figures {
        Figures {
            limit,
            rate: Rate::UNLIMITED,
            remaining: Quotient::whole(remaining as u64),
            reset: Quotient::whole(crate::time::micros_ceil(reset_after)),
            receipt: Receipt::new(Timestamp::EPOCH),
        }
    }

    /// Sets the limit of the rate to what can be had at once.
    const fn of_limit(mut self, limit: u32) -> Self {
        self.quota = limit;
        self
    }

    /// Makes this the decision of a delaying strategy: the hit may proceed only `after` this time.
    pub const fn delayed(mut self, after: Duration) -> Self {
        if matches!(self.kind, Kind::Never) {
            return self;
        }
        if matches!(self.kind, Kind::Allow) {
            (self.kind, self.more) = (Kind::Delay, MoreSource::Unknown);
        }
        self.wait = Quotient::whole(crate::time::micros_ceil(after));
        self
    }

    /// Sets the period of the rate.
    ///
    /// The limit of the rate is what can be had at once, unless [`with_rate`](Self::with_rate) sets another.
    pub const fn with_window(mut self, window: Duration) -> Self {
        self.window = crate::time::micros_ceil(window);
        self
    }

    /// Sets the rate, where its limit differs from the cost that can be had at once.
    pub const fn with_rate(mut self, rate: Rate) -> Self {
        (self.quota, self.window) = (rate.limit(), rate.period_micros());
        self
    }

    /// Sets the receipt that [`Strategy::refund`](crate::Strategy::refund) will take.
    pub const fn with_receipt(mut self, receipt: Receipt) -> Self {
        let Receipt { at, level, unit, routes } = receipt;
        (self.at, self.level, self.unit, self.routes) = (at, level, unit, routes);
        self
    }

    /// Sets whether the decision changed the state, which then has to be written back.
    pub const fn with_dirty(mut self, is_dirty: bool) -> Self {
        self.recorded = is_dirty;
        self
    }

    /// Sets where the decision comes from.
    pub const fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Returns whether the hit may pass, and when.
    pub const fn outcome(&self) -> Outcome {
        match self.kind {
            Kind::Allow => Outcome::Allow { after: Duration::ZERO },
            Kind::Delay | Kind::Unlimited => Outcome::Allow { after: micros(self.wait.ceil()) },
            Kind::Deny => Outcome::Deny { retry_after: micros(self.wait.ceil()) },
            Kind::Never => Outcome::Never,
        }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the microseconds until the hit proceeds or is tried again, and those until nothing is in use.
    pub(crate) const fn waits(&self) -> (u64, u64) {
        let wait = match self.kind {
            Kind::Allow | Kind::Never => 0,
            Kind::Delay | Kind::Unlimited | Kind::Deny => self.wait.ceil(),
        };
        (wait, self.reset.ceil())
    }

    /// Reports whether the hit may pass.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.kind, Kind::Allow | Kind::Delay | Kind::Unlimited)
    }

    /// Returns the wait until the same hit would be admitted; `None` if it was admitted or never will be.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.outcome() {
            Outcome::Deny { retry_after } => Some(retry_after),
            _ => None,
        }
    }

    /// Returns the most cost that can be had at once; `u32::MAX` if [unlimited](Self::is_unlimited).
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the rate behind this decision; `None` if the strategy reports none.
    ///
    /// The limit of the rate is what passes in a period, and need not be what can be [had at
    /// once](Self::limit). A spaced limit of 100 a minute lets 1 pass at once; a bucket with a burst can let
    /// pass more than its rate. A tier, an hour and a region have rates of their own. A reserve lowers the
    /// rate of a window.
    ///
    /// ```
    /// use traffik::{Gcra, Hit, Strategy, Timestamp, rate};
    ///
    /// let spaced = Gcra::new(rate!("100/min"));
    /// let decision = spaced.decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH);
    /// assert_eq!((decision.rate(), decision.limit()), (Some(rate!("100/min")), 1));
    /// ```
    #[must_use]
    pub const fn rate(&self) -> Option<Rate> {
        if self.is_unlimited() {
            return Some(Rate::UNLIMITED);
        }
        match Rate::new(self.quota, micros(self.window)) {
            Ok(rate) => Some(rate),
            Err(_) => None,
        }
    }

    /// Returns the period of the rate behind this decision; zero if it is unlimited or reports none.
    #[must_use]
    pub const fn window(&self) -> Duration {
        micros(self.window)
    }

    pub(crate) const fn window_micros(&self) -> u64 {
        self.window
    }

    /// Returns the whole cost that could be had right after this hit; `u32::MAX` if
    /// [unlimited](Self::is_unlimited).
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        let remaining = self.remaining.floor();
        if remaining > self.limit as u64 { self.limit } else { remaining as u32 }
    }

    /// Returns the time until nothing of the limit is in use any more, if nothing else happens.
    ///
    /// It is 2⁶⁴ − 1 microseconds if that never happens.
    #[must_use]
    pub const fn reset_after(&self) -> Duration {
        micros(self.reset.ceil())
    }

    /// Reports whether the rate behind this decision is unlimited.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        matches!(self.kind, Kind::Unlimited)
    }

    /// Returns where the decision comes from: the store, or its replacement.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the receipt of the charge; meaningless unless the hit was admitted.
    #[must_use]
    pub const fn receipt(&self) -> Receipt {
        let Self { at, level, unit, routes, .. } = *self;
        Receipt { at, level, unit, routes }
    }
}

/// Equality of all readable figures, except for the origin.
impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        let figures = |it: &Self| (it.outcome(), it.limit, it.remaining(), it.more_after(), it.reset_after());
        let settings = |it: &Self| (it.recorded, it.is_unlimited(), it.quota, it.window);
        let is_same = figures(self) == figures(other) && settings(self) == settings(other);
        is_same && (!self.is_allowed() || self.receipt() == other.receipt())
    }
}

impl Eq for Decision {}

debug_fields!(
    [] Decision: outcome = |it| it.outcome(), limit, remaining = |it| it.remaining(),
    reset_after = |it| it.reset_after(), origin
);
