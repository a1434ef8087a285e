//! A strategy chosen at run time: any of them behind one pointer, with its state as bytes inline.

use core::ops::Deref;

use crate::strategy::wire::stats::StatsSnapshot;
use crate::strategy::{CapacityError, Class, Hit, Scale, ScriptLimit, Strategy, Taken};
use crate::{Ratio, Timestamp, Verdict};

mod decision_list;
mod inline;
mod object;
mod ratios;

pub use decision_list::{DecisionList, ErasedVerdict};
pub use inline::InlineState;
use object::Chosen;
pub use object::{ErasedScale, ErasedStrategy};
use ratios::{Ratios, product};

/// Whatever strategy stands behind the pointer `P`, as a strategy.
///
/// The pointer is a `&'static dyn ErasedStrategy<LEN>` in firmware or an `Arc<dyn ErasedStrategy<LEN>>` on a
/// server; behind a `dyn` [`ErasedScale<LEN>`](ErasedScale) it can be scaled too, and so be wrapped by tier or
/// time of day. Nothing is allocated but what the pointer itself needs.
///
/// * `LEN` is the longest encoded state. The verdict is a [`Decision`](crate::Decision). Behind a
///   `dyn ErasedStrategy<LEN, Composite<DecisionList<N>>>` it is a [`Composite`](crate::strategy::Composite) of
///   at most `N` decisions, for composed strategies. A strategy that needs more does not compile:
///
///   ```compile_fail
///   use traffik::{Gcra, rate, strategy::ErasedStrategy};
///   static TOO_SHORT: &dyn ErasedStrategy<24> = &Gcra::new(rate!("1/s")); // the state of GCRA takes 25
///   # fn main() { let _ = TOO_SHORT.horizon_erased(); }
///   ```
/// * Every limit of a composed strategy is charged the same cost.
/// * A state left by another strategy counts as that of a key never seen: after a change of strategy every
///   key starts afresh, unless the new one is told whom it [succeeds](Erased::migrating_from).
/// * Two are equal if they point at the same strategy, scaled by the same ratios: of two that were made alike nobody can tell.
///
/// ```
/// use traffik::strategy::{Erased, ErasedStrategy, StatValue};
/// use traffik::{Fixed, FixedWindow, Gcra, Limiter, ManualClock, rate};
///
/// static STEADY: Gcra = Gcra::new(rate!("1/s"));
/// static COARSE: FixedWindow = FixedWindow::new(rate!("100/min"));
///
/// # let configured = "coarse";
/// let chosen: &'static dyn ErasedStrategy<32> = match configured {
///     "steady" => &STEADY,
///     _ => &COARSE,
/// };
/// let storage = Fixed::<Erased<_, 32>, _, 16>::new(ManualClock::default(), 1);
/// let limiter = Limiter::new(Erased::new(chosen), storage);
/// let verdict = limiter.check_n("alice", 40)?;
/// assert!(verdict.is_allowed());
/// assert_eq!(verdict.remaining(), 60);
/// assert_eq!(limiter.stat("alice")?.find("current_count"), Some(StatValue::Count(40)));
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Erased<P, const LEN: usize> {
    limit: P,
    /// Whose states it takes over.
    before: Option<P>,
    ratios: Ratios,
    /// The part of it that it is to be then.
    part: Ratio,
    /// How many times finer than the strategy itself it is to count.
    factor: u64,
}

impl<P, const LEN: usize> Erased<P, LEN> {
    /// The strategy behind this pointer.
    #[must_use]
    pub const fn new(limit: P) -> Self {
        Self { limit, before: None, ratios: Ratios::NONE, part: Ratio::ONE, factor: 1 }
    }

    /// The same strategy in the place of another one, whose states it takes over: what is in use of the old limit when a
    /// key is next asked for counts as used at that moment, in cost. So a change of strategy grants nothing.
    ///
    /// Of a composed limit the one that is used most counts. What was owed beyond the limit is forgotten, as are the
    /// states of whatever the old strategy itself succeeded. A store cannot run such a limit as a script.
    ///
    /// ```
    /// use traffik::strategy::{Erased, ErasedStrategy};
    /// use traffik::{FixedWindow, Gcra, Hit, Strategy, Timestamp, Verdict, rate};
    ///
    /// static OLD: &dyn ErasedStrategy<32> = &FixedWindow::new(rate!("100/h"));
    /// static NEW: &dyn ErasedStrategy<32> = &Gcra::new(rate!("1/min"));
    ///
    /// let (old, mut state, now) = (Erased::new(OLD), Default::default(), Timestamp::EPOCH);
    /// assert!(old.decide(&mut state, &Hit::new(40), now).is_allowed());
    /// assert!(!Erased::new(NEW).migrating_from(OLD).decide(&mut state, &Hit::new(1), now).is_allowed());
    /// assert!(Erased::new(NEW).decide(&mut state, &Hit::new(1), now).is_allowed()); // afresh
    /// ```
    #[must_use]
    pub fn migrating_from(self, before: P) -> Self {
        Self { before: Some(before), ..self }
    }
}

/// What is pointed at is compared by where it is, so nothing is asked of it.
impl<P: Deref, const LEN: usize> PartialEq for Erased<P, LEN> {
    fn eq(&self, other: &Self) -> bool {
        // Also by the kind of what is there: a strategy lies where its first field does, and one without size anywhere.
        let is_same = |one: &P, other: &P| core::ptr::eq(&raw const **one, &raw const **other);
        let is_same_before = match (&self.before, &other.before) {
            (Some(one), Some(other)) => is_same(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same(&self.limit, &other.limit)
            && is_same_before
            && (self.factor, self.part) == (other.factor, other.part)
            && self.ratios.list() == other.ratios.list()
    }
}

debug_fields!([P, const LEN: usize] Erased<P, LEN>: ratios = |it| it.ratios.list());

/// The verdict of the strategy that a pointer points at.
type Answer<P, const LEN: usize> = <<P as Deref>::Target as Chosen<LEN>>::Verdict;

impl<P: Deref<Target: Chosen<LEN>>, const LEN: usize> Erased<P, LEN> {
    fn ask<T>(&self, mut question: impl FnMut(&dyn ErasedStrategy<LEN, Answer<P, LEN>>) -> T) -> T {
        let mut answer = None;
        if !self.ratios.list().is_empty() || (self.part, self.factor) != (Ratio::ONE, 1) {
            let mut ask = |limit: &dyn ErasedStrategy<LEN, Answer<P, LEN>>| answer = Some(question(limit));
            self.limit.show((self.ratios.list(), self.part), self.factor, &mut ask);
        }
        answer.unwrap_or_else(|| question(self.limit.plain()))
    }

    /// The state as it is to be decided upon: one that the strategy takes over is brought into its own form.
    fn inherited(&self, state: &InlineState<LEN>, class: Class, now: Timestamp) -> InlineState<LEN> {
        let Some(before) = self.before.as_ref().map(|before| before.plain()) else { return *state };
        if self.limit.plain().knows_erased(state) || !before.knows_erased(state) {
            return *state;
        }
        let mut used = 0;
        before.peek_erased(state, &Hit::new(0).with_class(class), now).for_each(&mut |decision| {
            if !decision.is_unlimited() {
                used = used.max(decision.limit().saturating_sub(decision.remaining()));
            }
        });
        let mut own = InlineState::default();
        if used > 0 {
            let hit = Hit::new(used).with_class(class);
            self.ask(|limit| limit.charge_erased(&mut own, &hit, now));
        }
        own
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P, const LEN: usize> Strategy for Erased<P, LEN>
where
    P: Deref<Target: Chosen<LEN>> + Clone + Send + Sync + 'static,
{
    type State = InlineState<LEN>;
    type Cost = u32;
    type Verdict = Answer<P, LEN>;
    type Stat = StatsSnapshot;

    fn decide(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) -> Self::Verdict {
        if self.before.is_none() {
            return self.ask(|limit| limit.decide_erased(state, hit, now));
        }
        let mut own = self.inherited(state, hit.class, now);
        let verdict = self.ask(|limit| limit.decide_erased(&mut own, hit, now));
        if verdict.is_dirty() {
            *state = own;
        }
        verdict
    }

    fn peek(&self, state: &InlineState<LEN>, hit: &Hit, now: Timestamp) -> Self::Verdict {
        let own = self.inherited(state, hit.class, now);
        self.ask(|limit| limit.peek_erased(&own, hit, now))
    }

    fn charge(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) {
        *state = self.inherited(state, hit.class, now);
        self.ask(|limit| limit.charge_erased(state, hit, now));
    }

    fn refund(&self, state: &mut InlineState<LEN>, hit: &Hit, receipt: Taken<Self>, now: Timestamp) {
        *state = self.inherited(state, hit.class, now);
        self.ask(|limit| limit.refund_erased(state, hit, receipt, now));
    }

    fn expires_at(&self, state: &InlineState<LEN>, class: Class) -> Timestamp {
        match &self.before {
            Some(before) if !self.limit.plain().knows_erased(state) => {
                before.plain().fresh_at_erased(state, class)
            }
            _ => self.ask(|limit| limit.fresh_at_erased(state, class)),
        }
    }

    fn max_ttl(&self) -> u64 {
        let before = self.before.as_ref().map_or(0, |before| before.plain().horizon_erased());
        self.ask(|limit| limit.horizon_erased()).max(before)
    }

    fn rebase(&self, state: &mut InlineState<LEN>, now: Timestamp) -> bool {
        match &self.before {
            Some(before) if !self.limit.plain().knows_erased(state) => {
                before.plain().rebase_erased(state, now)
            }
            _ => self.ask(|limit| limit.rebase_erased(state, now)),
        }
    }

    /// Also of one that takes states over: what it denies is judged anew by what is in use of the old limit then.
    #[inline]
    fn records_demand(&self) -> bool {
        self.before.is_some() || self.limit.plain().records_demand_erased()
    }

    fn stat(&self, state: &InlineState<LEN>, class: Class, now: Timestamp) -> StatsSnapshot {
        let own = self.inherited(state, class, now);
        self.ask(|limit| limit.stat_erased(&own, class, now))
    }

    /// Of one limit: the states of several would share one [`InlineState`].
    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        if self.before.is_some() {
            return false;
        }
        self.ask(|limit| {
            let mut states = 0;
            let complete = limit.parts_of_erased(hit, &mut |part| {
                states += u32::from(part.is_last());
                visit(ScriptLimit { inline: part.inline.within(LEN), ..part });
            });
            complete && states == 1
        })
    }

    /// One that succeeds another is of the kinds of that one, whose states it takes over.
    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.before.as_ref().unwrap_or(&self.limit).plain().kinds_erased(visit);
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.ask(|limit| limit.fits_script_erased())
    }
}

/// The ratio is kept, and the strategy scaled by it whenever it is asked something.
#[deny(clippy::missing_trait_methods)]
impl<P, const LEN: usize, V: ErasedVerdict> Scale for Erased<P, LEN>
where
    P: Deref<Target = dyn ErasedScale<LEN, V>> + Clone + Send + Sync + 'static,
{
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Self { ratios: self.ratios.then(ratio), factor: 1, ..self.clone() }.checked()
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Self { part: product(self.part, ratio), factor: 1, ..self.clone() }.checked()
    }

    fn advance(&self, state: &mut InlineState<LEN>, class: Class, to: Timestamp) {
        self.ask_scaled(|limit| limit.advance_erased(state, class, to));
    }

    fn advance_receipt(&self, receipt: &mut V::Receipt, class: Class, to: Timestamp) {
        self.ask_scaled(|limit| limit.advance_receipt_erased(receipt, class, to));
    }

    fn denominator(&self) -> u64 {
        self.ask_scaled(|limit| limit.parts_erased()).unwrap_or(1)
    }

    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        let factor = self.factor.saturating_mul(factor.max(1));
        Self { factor, ..self.clone() }.checked()
    }
}

impl<P, const LEN: usize, V: ErasedVerdict> Erased<P, LEN>
where
    P: Deref<Target = dyn ErasedScale<LEN, V>>,
{
    /// Itself, if the strategy can be had at its ratios.
    fn checked(self) -> Result<Self, CapacityError> {
        self.limit.scaled_erased((self.ratios.list(), self.part), self.factor, &mut |_| ())?;
        Ok(self)
    }

    /// The answer of the scaled strategy; what it cannot be had at was refused when it was given.
    fn ask_scaled<T>(&self, mut question: impl FnMut(&dyn ErasedScale<LEN, V>) -> T) -> Option<T> {
        let mut answer = None;
        let mut ask = |limit: &dyn ErasedScale<LEN, V>| answer = Some(question(limit));
        let _ = self.limit.scaled_erased((self.ratios.list(), self.part), self.factor, &mut ask);
        answer
    }
}
