//! What was decided about a hit, and the figures a caller may want to pass on.

use core::fmt;
use core::time::Duration;

use crate::divide::micros;
use crate::{Origin, Outcome, Receipt, Receipts, Timestamp};

mod quotient;
#[cfg(test)]
mod tests;

pub(crate) use quotient::Quotient;

/// What a strategy answers with: a [`Decision`], or several where limits are composed.
pub trait Verdict: Clone + PartialEq + fmt::Debug + Send + 'static {
    /// What [`Strategy::refund`](crate::Strategy::refund) needs to take this admission back.
    type Receipt: Receipts;

    /// Whether the hit may pass; of several limits, whether all admit it.
    fn outcome(&self) -> Outcome;

    /// Whether the state was changed and has to be written back.
    fn is_recorded(&self) -> bool;

    /// How depleted the limit is: how often it has halved, from 0 (over half is left) to at most 64, and 255
    /// once not even a cost of 1 is left; of several, the most.
    fn pressure(&self) -> u8;

    /// What was charged; meaningless unless the hit was admitted.
    fn receipt(&self) -> Self::Receipt;

    /// Whether the hit may pass; of several limits, whether all admit it. It says what the [`outcome`](Self::outcome) does,
    /// without how long that takes.
    fn is_allowed(&self) -> bool {
        self.outcome().is_allowed()
    }

    /// Calls `change` with each of the receipts: it notes in them who admitted the hit. One that cannot, as is taken for granted
    /// if nothing is said, is taken for one of the storage that is asked first.
    fn each_receipt(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        let _ = change;
    }

    /// Calls `visit` with the decision of each limit, in the order they were composed.
    fn each(&self, visit: &mut dyn FnMut(&Decision));

    /// The same answer once so many microseconds have gone by in which nothing else happened: its waits are shorter by that, and
    /// what else it tells stays. `None` if the wait of a denial in it is over by then, or if this kind of verdict cannot tell,
    /// as is taken for granted if nothing is said.
    ///
    /// It is what a cache of denials answers with.
    fn later_by_micros(&self, by: u64) -> Option<Self> {
        let _ = by;
        None
    }

    /// Where it comes from: of several decisions, from what is the furthest from the store.
    fn origin(&self) -> Origin {
        let mut origin = Origin::Store;
        self.each(&mut |decision| origin = origin.max(decision.origin()));
        origin
    }

    /// The same verdict, coming from there; one that cannot tell, as is taken for granted if nothing is said, stays as it is.
    #[must_use]
    fn with_origin(self, origin: Origin) -> Self {
        let _ = origin;
        self
    }
}

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
    limit: u32,
    /// The period of the rate in microseconds; 0 if it has none.
    window: u64,
    remaining: Quotient,
    wait: Quotient,
    reset: Quotient,
    receipt: Receipt,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Allow,
    Unlimited,
    Deny,
    Never,
}

/// The figures every built-in strategy fills in; waits in microseconds, rounded up when read.
pub(crate) struct Figures {
    pub(crate) limit: u32,
    pub(crate) window: u64,
    pub(crate) remaining: Quotient,
    pub(crate) reset: Quotient,
    pub(crate) receipt: Receipt,
}

impl Figures {
    pub(crate) const fn allow(self, recorded: bool) -> Decision {
        self.decision(Kind::Allow, recorded, Quotient::ZERO)
    }

    pub(crate) const fn deny(self, wait: Quotient) -> Decision {
        self.decision(Kind::Deny, false, wait)
    }

    pub(crate) const fn never(self) -> Decision {
        self.decision(Kind::Never, false, Quotient::ZERO)
    }

    #[inline]
    pub(crate) const fn decision(self, kind: Kind, recorded: bool, wait: Quotient) -> Decision {
        let Self { limit, window, remaining, reset, receipt } = self;
        Decision { kind, recorded, origin: Origin::Store, limit, window, remaining, wait, reset, receipt }
    }
}

impl Decision {
    /// An admission, for a strategy of your own: of `limit`, `remaining` is left and all is back after
    /// `reset_after`. The state is taken as changed.
    pub const fn allow(limit: u32, remaining: u32, reset_after: Duration) -> Self {
        Self::plain(limit, remaining, reset_after).allow(true)
    }

    /// A denial that the same hit would not meet again after `retry_after`. The state is taken as unchanged.
    pub const fn deny(limit: u32, remaining: u32, retry_after: Duration, reset_after: Duration) -> Self {
        Self::plain(limit, remaining, reset_after)
            .deny(Quotient::whole(crate::time::micros_ceil(retry_after)))
    }

    /// A denial that no wait can end. The state is taken as unchanged.
    pub const fn never(limit: u32, remaining: u32, reset_after: Duration) -> Self {
        Self::plain(limit, remaining, reset_after).never()
    }

    /// The decision of a limit that does not limit.
    pub const fn unlimited() -> Self {
        Self::plain(u32::MAX, u32::MAX, Duration::ZERO).decision(Kind::Unlimited, false, Quotient::ZERO)
    }

    const fn plain(limit: u32, remaining: u32, reset_after: Duration) -> Figures {
        Figures {
            limit,
            window: 0,
            remaining: Quotient::whole(remaining as u64),
            reset: Quotient::whole(crate::time::micros_ceil(reset_after)),
            receipt: Receipt::new(Timestamp::EPOCH),
        }
    }

    /// The same decision of a delaying strategy: the hit may proceed only `after` this.
    pub const fn delayed(mut self, after: Duration) -> Self {
        self.wait = Quotient::whole(crate::time::micros_ceil(after));
        self
    }

    /// The same decision of a limit whose rate has this period.
    pub const fn with_window(mut self, window: Duration) -> Self {
        self.window = crate::time::micros_ceil(window);
        self
    }

    /// The same decision with what [`Strategy::refund`](crate::Strategy::refund) is to be given back.
    pub const fn with_receipt(mut self, receipt: Receipt) -> Self {
        self.receipt = receipt;
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

    /// The same decision with another outcome, as a wrapper makes it that knows more than the limit it wraps.
    pub const fn with_outcome(mut self, outcome: Outcome) -> Self {
        let (kind, wait) = match outcome {
            Outcome::Allow { after } if self.is_unlimited() => (Kind::Unlimited, after),
            Outcome::Allow { after } => (Kind::Allow, after),
            Outcome::Deny { retry_after } => (Kind::Deny, retry_after),
            Outcome::Never => (Kind::Never, Duration::ZERO),
        };
        self.kind = kind;
        self.wait = Quotient::whole(crate::time::micros_ceil(wait));
        self
    }

    /// The same decision of a limit that is all back after `reset_after`.
    pub const fn with_reset_after(mut self, reset_after: Duration) -> Self {
        self.reset = Quotient::whole(crate::time::micros_ceil(reset_after));
        self
    }

    /// The same decision of a limit of which `reserve` is kept for others: told neither as had at once nor as
    /// remaining. An unlimited decision stays one.
    pub const fn with_reserve(mut self, reserve: u32) -> Self {
        if self.is_unlimited() || reserve == 0 {
            return self;
        }
        let den = if self.remaining.den == 0 { 1 } else { self.remaining.den };
        let all = (self.limit as u64).saturating_mul(den);
        let num = if self.remaining.num < all { self.remaining.num } else { all };
        self.remaining = Quotient { num: num.saturating_sub((reserve as u64).saturating_mul(den)), den };
        self.limit = self.limit.saturating_sub(reserve);
        self
    }

    /// Whether the hit may pass, and when.
    pub const fn outcome(&self) -> Outcome {
        match self.kind {
            Kind::Allow | Kind::Unlimited => Outcome::Allow { after: micros(self.wait.ceil()) },
            Kind::Deny => Outcome::Deny { retry_after: micros(self.wait.ceil()) },
            Kind::Never => Outcome::Never,
        }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Microseconds to wait before the hit proceeds or is tried again, and until nothing is in use.
    pub(crate) const fn waits(&self) -> (u64, u64) {
        (self.wait.ceil(), self.reset.ceil())
    }

    /// Whether the hit may pass.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.kind, Kind::Allow | Kind::Unlimited)
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

    /// How long until nothing of the limit is in use any more, if nothing else happens: 2⁶⁴ − 1 microseconds if that
    /// is never.
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

    /// What was charged; meaningless unless the hit was admitted.
    #[must_use]
    pub const fn receipt(&self) -> Receipt {
        self.receipt
    }
}

impl Verdict for Decision {
    type Receipt = Receipt;

    fn outcome(&self) -> Outcome {
        self.outcome()
    }

    fn is_recorded(&self) -> bool {
        self.recorded
    }

    fn pressure(&self) -> u8 {
        let (left, all) = (self.remaining.num, (self.limit as u64).saturating_mul(self.remaining.den.max(1)));
        if left < self.remaining.den.max(1) {
            return u8::MAX;
        }
        left.leading_zeros().saturating_sub(all.leading_zeros()) as u8
    }

    fn receipt(&self) -> Receipt {
        self.receipt
    }

    fn is_allowed(&self) -> bool {
        self.is_allowed()
    }

    fn each_receipt(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        change(&mut self.receipt);
    }

    fn each(&self, visit: &mut dyn FnMut(&Decision)) {
        visit(self);
    }

    #[inline]
    fn later_by_micros(&self, by: u64) -> Option<Self> {
        let (wait, reset) = self.waits();
        if self.kind == Kind::Deny && wait <= by {
            return None;
        }
        // What takes for ever still does.
        let left = |wait| Quotient::whole(if wait == u64::MAX { wait } else { wait.saturating_sub(by) });
        Some(Self { wait: left(wait), reset: left(reset), ..*self })
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn with_origin(self, origin: Origin) -> Self {
        self.with_origin(origin)
    }
}

/// Two decisions are equal if everything that can be read off them is, but for where they come from.
impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        let told = |it: &Self| (it.outcome(), it.limit, it.window, it.remaining(), it.reset_after());
        let noted = |it: &Self| (it.recorded, it.is_unlimited());
        let is_same = told(self) == told(other) && noted(self) == noted(other);
        is_same && (!self.is_allowed() || self.receipt == other.receipt)
    }
}

impl Eq for Decision {}

debug_fields!(
    [] Decision: outcome = |it| it.outcome(), limit, remaining = |it| it.remaining(),
    reset_after = |it| it.reset_after(), origin
);
