//! What was decided about a hit, and the figures a caller may want to pass on.

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

/// One limit's decision on one hit.
///
/// Holds raw figures: what needs a division is computed when it is read, so that asking only whether a hit
/// may pass costs nothing more.
#[derive(Clone, Copy)]
#[must_use]
pub struct Decision {
    kind: Kind,
    recorded: bool,
    origin: Origin,
    more: MoreSource,
    /// Whether the limit is a bucket, of which a reserve takes room and no part of the rate.
    is_bucket: bool,
    /// The receipt's; the receipt itself would leave seven bytes unused.
    routes: u8,
    limit: u32,
    /// The limit of the rate.
    quota: u32,
    /// The period of the rate in microseconds; 0 if it has none.
    window: u64,
    remaining: Quotient,
    /// The wait of a denial or a delay; else as [`MoreSource`] has it.
    wait: Quotient,
    reset: Quotient,
    at: Timestamp,
    level: u64,
    unit: u64,
}

/// How a decision knows when more can be had. Told of what waits for nothing: a delay and a denial have a
/// wait of their own where these keep what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MoreSource {
    /// Nothing is known of it.
    Unknown,
    /// The wait says it; 0 stands for never.
    Wait,
    /// The level of a bucket says it, by `reset` and `remaining`: `wait` holds the units that can be had at
    /// once, which of a delay are those of the limit.
    Level,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Allow,
    Delay,
    Unlimited,
    Deny,
    Never,
}

/// The figures every built-in strategy fills in; waits in microseconds, rounded up when read.
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

    /// A decision whose `wait` is that of a denial, or else the time until more can be had; 0 if that is not
    /// known, or never.
    #[inline]
    pub(crate) const fn decision(self, kind: Kind, recorded: bool, wait: Quotient) -> Decision {
        self.build(kind, recorded, wait, MoreSource::Wait)
    }

    /// A decision of a bucket, whose `wait` is that of a denial or a delay, or else as [`MoreSource::Level`] has
    /// it.
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
    /// An admission, for a strategy of your own: of `limit`, `remaining` is left and all is back after
    /// `reset_after`. The state is taken as changed.
    pub const fn allow(limit: u32, remaining: u32, reset_after: Duration) -> Self {
        Self::plain(limit, remaining, reset_after).allow(true, Quotient::ZERO).of_limit(limit)
    }

    /// A denial that the same hit would not meet again after `retry_after`. The state is taken as unchanged.
    pub const fn deny(limit: u32, remaining: u32, retry_after: Duration, reset_after: Duration) -> Self {
        let wait = Quotient::whole(crate::time::micros_ceil(retry_after));
        Self::plain(limit, remaining, reset_after).deny(wait).of_limit(limit)
    }

    /// A denial that no wait can end. The state is taken as unchanged.
    pub const fn never(limit: u32, remaining: u32, reset_after: Duration) -> Self {
        Self::plain(limit, remaining, reset_after).never(Quotient::ZERO).of_limit(limit)
    }

    /// The decision of a limit that does not limit.
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

    /// The same decision of a limit whose rate allows what can be had at once.
    const fn of_limit(mut self, limit: u32) -> Self {
        self.quota = limit;
        self
    }

    /// The same decision of a delaying strategy: the hit may proceed only `after` this.
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

    /// The same decision of a limit whose rate has this period. What the rate allows in it is what can be had
    /// at once, unless [said otherwise](Self::with_rate).
    pub const fn with_window(mut self, window: Duration) -> Self {
        self.window = crate::time::micros_ceil(window);
        self
    }

    /// The same decision of a limit of this rate, where it is another than what can be had at once.
    pub const fn with_rate(mut self, rate: Rate) -> Self {
        (self.quota, self.window) = (rate.limit(), rate.period_micros());
        self
    }

    /// The same decision with what [`Strategy::refund`](crate::Strategy::refund) is to be given back.
    pub const fn with_receipt(mut self, receipt: Receipt) -> Self {
        let Receipt { at, level, unit, routes } = receipt;
        (self.at, self.level, self.unit, self.routes) = (at, level, unit, routes);
        self
    }

    /// The same decision, saying whether the state was changed by it and has to be written back.
    pub const fn recorded(mut self, recorded: bool) -> Self {
        self.recorded = recorded;
        self
    }

    /// The same decision, coming from there.
    pub const fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Whether the hit may pass, and when.
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

    /// Microseconds to wait before the hit proceeds or is tried again, and until nothing is in use.
    pub(crate) const fn waits(&self) -> (u64, u64) {
        let wait = match self.kind {
            Kind::Allow | Kind::Never => 0,
            Kind::Delay | Kind::Unlimited | Kind::Deny => self.wait.ceil(),
        };
        (wait, self.reset.ceil())
    }

    /// Whether the hit may pass.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.kind, Kind::Allow | Kind::Delay | Kind::Unlimited)
    }

    /// The wait until the same hit would be admitted; `None` if it was admitted or never will be.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.outcome() {
            Outcome::Deny { retry_after } => Some(retry_after),
            _ => None,
        }
    }

    /// The most cost that can be had at once; `u32::MAX` if [unlimited](Self::is_unlimited).
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The rate behind this decision; `None` if it tells none.
    ///
    /// Its limit is what passes in a period, and need not be what can be [had at once](Self::limit): a spaced
    /// limit of 100 a minute lets 1 pass at once, a bucket with a burst more than its rate. A tier and an
    /// hour have a rate of their own, a region that of its share, and a window what a reserve leaves of it.
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

    /// The period of the rate behind this decision; zero if it is unlimited or does not tell one.
    #[must_use]
    pub const fn window(&self) -> Duration {
        micros(self.window)
    }

    pub(crate) const fn window_micros(&self) -> u64 {
        self.window
    }

    /// The whole cost that could be had right after this hit; `u32::MAX` if [unlimited](Self::is_unlimited).
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        let remaining = self.remaining.floor();
        if remaining > self.limit as u64 { self.limit } else { remaining as u32 }
    }

    /// How long until nothing of the limit is in use any more, if nothing else happens: 2⁶⁴ − 1 microseconds
    /// if that is never.
    #[must_use]
    pub const fn reset_after(&self) -> Duration {
        micros(self.reset.ceil())
    }

    /// Whether the rate behind this decision is unlimited.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        matches!(self.kind, Kind::Unlimited)
    }

    /// Where it comes from: the store, or what stands in its stead.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The receipt of the charge; meaningless unless the hit was admitted.
    #[must_use]
    pub const fn receipt(&self) -> Receipt {
        let Self { at, level, unit, routes, .. } = *self;
        Receipt { at, level, unit, routes }
    }
}

/// Two decisions are equal if everything that can be read off them is, but for where they come from.
impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        let told = |it: &Self| (it.outcome(), it.limit, it.remaining(), it.more_after(), it.reset_after());
        let noted = |it: &Self| (it.recorded, it.is_unlimited(), it.quota, it.window);
        let is_same = told(self) == told(other) && noted(self) == noted(other);
        is_same && (!self.is_allowed() || self.receipt() == other.receipt())
    }
}

impl Eq for Decision {}

debug_fields!(
    [] Decision: outcome = |it| it.outcome(), limit, remaining = |it| it.remaining(),
    reset_after = |it| it.reset_after(), origin
);
