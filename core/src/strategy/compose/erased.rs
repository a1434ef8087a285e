//! A strategy chosen at run time: any of them behind one pointer, with its state as inline bytes.

use core::ops::Deref;

use crate::strategy::wire::stats::StatsSnapshot;
use crate::strategy::{CapacityError, Class, Hit, ReceiptOf, Scale, ScriptLimit, Strategy};
use crate::{Ratio, Timestamp, Verdict};

mod decision_list;
mod inline;
mod object;
mod ratios;

pub use decision_list::{DecisionList, ErasedVerdict};
pub use inline::InlineState;
use object::ErasedTarget;
pub use object::{ErasedScale, ErasedStrategy};
use ratios::{Ratios, product};

/// A strategy chosen at run time, behind the pointer `P`.
///
/// Choose it where a configuration file names the strategy; otherwise use the strategy's own type, which is
/// faster. The pointer is a `&'static dyn ErasedStrategy<LEN>` in firmware, or an
/// `Arc<dyn ErasedStrategy<LEN>>` on a server. Behind a `dyn` [`ErasedScale<LEN>`](ErasedScale) it can be
/// scaled too, and so be wrapped by tier or time of day. Only the pointer may allocate.
///
/// * `LEN` is the length of the longest encoded state. The verdict is a [`Decision`](crate::Decision).
/// * Behind a `dyn ErasedStrategy<LEN, Composite<DecisionList<N>>>` the verdict is a
///   [`Composite`](crate::strategy::Composite) of at most `N` decisions, for composed strategies.
/// * A strategy that needs a larger `LEN` or `N` does not compile:
///
///   ```compile_fail
///   use traffik::{Gcra, rate, strategy::ErasedStrategy};
///   static TOO_SHORT: &dyn ErasedStrategy<24> = &Gcra::new(rate!("1/s")); // the state of GCRA takes 25
///   # fn main() { let _ = TOO_SHORT.max_ttl_erased(); }
///   ```
/// * Every limit of a composed strategy is charged the same cost.
/// * A state left by another strategy counts as that of a key never seen. After a change of strategy every
///   key starts fresh, unless the new strategy [migrates from](Erased::migrating_from) the old one.
/// * Two are equal if they point at the same strategy, scaled by the same ratios. Strategies made alike but
///   stored apart are not equal.
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
    strategy: P,
    /// The strategy whose states it takes over.
    before: Option<P>,
    ratios: Ratios,
    /// The share of the scaled strategy.
    part: Ratio,
    /// The factor by which the denominator is refined.
    factor: u64,
}

impl<P, const LEN: usize> Erased<P, LEN> {
    /// Wraps the strategy behind this pointer.
    #[must_use]
    pub const fn new(strategy: P) -> Self {
        Self { strategy, before: None, ratios: Ratios::NONE, part: Ratio::ONE, factor: 1 }
    }

    /// Takes over the states of another strategy, so that a change of strategy grants nothing.
    ///
    /// At the next hit of a key, the cost in use under the old limit is charged to the new one. Of a composed
    /// limit the part with the most use counts. Cost owed beyond the old limit is forgotten, and so are
    /// states that the old strategy had itself taken over. A store cannot run such a limit as a script.
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
    /// assert!(Erased::new(NEW).decide(&mut state, &Hit::new(1), now).is_allowed()); // starts fresh
    /// ```
    #[must_use]
    pub fn migrating_from(self, before: P) -> Self {
        Self { before: Some(before), ..self }
    }
}

/// Compares strategies by their addresses, without calling them.
impl<P: Deref, const LEN: usize> PartialEq for Erased<P, LEN> {
    fn eq(&self, other: &Self) -> bool {
        // `ptr::eq` also compares the vtable: a strategy may share its address with its first field, and one
        // without size with anything.
        let is_same = |one: &P, other: &P| core::ptr::eq(&raw const **one, &raw const **other);
        let is_same_before = match (&self.before, &other.before) {
            (Some(one), Some(other)) => is_same(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same(&self.strategy, &other.strategy)
            && is_same_before
            && (self.factor, self.part) == (other.factor, other.part)
            && self.ratios.list() == other.ratios.list()
    }
}

debug_fields!([P, const LEN: usize] Erased<P, LEN>: ratios = |it| it.ratios.list());

/// The verdict of the strategy behind a pointer.
type VerdictOf<P, const LEN: usize> = <<P as Deref>::Target as ErasedTarget<LEN>>::Verdict;

impl<P: Deref<Target: ErasedTarget<LEN>>, const LEN: usize> Erased<P, LEN> {
    /// Calls `question` with the scaled strategy, or with the plain one if it is not scaled.
    fn ask<T>(&self, mut question: impl FnMut(&dyn ErasedStrategy<LEN, VerdictOf<P, LEN>>) -> T) -> T {
        let mut answer = None;
        if !self.ratios.list().is_empty() || (self.part, self.factor) != (Ratio::ONE, 1) {
            let mut ask =
                |scaled: &dyn ErasedStrategy<LEN, VerdictOf<P, LEN>>| answer = Some(question(scaled));
            self.strategy.show((self.ratios.list(), self.part), self.factor, &mut ask);
        }
        // A pointer that cannot be scaled shows nothing, and has no ratios either.
        answer.unwrap_or_else(|| question(self.strategy.plain()))
    }

    /// Returns the state to decide upon: a state of the strategy it migrates from is converted.
    fn inherited(&self, state: &InlineState<LEN>, class: Class, now: Timestamp) -> InlineState<LEN> {
        let Some(before) = self.before.as_ref().map(|before| before.plain()) else { return *state };
        if self.strategy.plain().knows_erased(state) || !before.knows_erased(state) {
            return *state;
        }
        // used = max(limit − remaining) over the parts of the old limit, for each of them was charged the
        // cost.
        let mut used = 0;
        before.peek_erased(state, &Hit::new(0).with_class(class), now).for_each(&mut |decision| {
            if !decision.is_unlimited() {
                used = used.max(decision.limit().saturating_sub(decision.remaining()));
            }
        });
        let mut own = InlineState::default();
        if used > 0 {
            let hit = Hit::new(used).with_class(class);
            self.ask(|strategy| strategy.charge_erased(&mut own, &hit, now));
        }
        own
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P, const LEN: usize> Strategy for Erased<P, LEN>
where
    P: Deref<Target: ErasedTarget<LEN>> + Clone + Send + Sync + 'static,
{
    type State = InlineState<LEN>;
    type Cost = u32;
    type Verdict = VerdictOf<P, LEN>;
    type Stat = StatsSnapshot;

    fn decide(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) -> Self::Verdict {
        if self.before.is_none() {
            return self.ask(|strategy| strategy.decide_erased(state, hit, now));
        }
        // The old state stays as it is until something is recorded, so that a denial writes nothing.
        let mut own = self.inherited(state, hit.class, now);
        let verdict = self.ask(|strategy| strategy.decide_erased(&mut own, hit, now));
        if verdict.is_dirty() {
            *state = own;
        }
        verdict
    }

    fn peek(&self, state: &InlineState<LEN>, hit: &Hit, now: Timestamp) -> Self::Verdict {
        let own = self.inherited(state, hit.class, now);
        self.ask(|strategy| strategy.peek_erased(&own, hit, now))
    }

    fn charge(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) {
        *state = self.inherited(state, hit.class, now);
        self.ask(|strategy| strategy.charge_erased(state, hit, now));
    }

    fn refund(&self, state: &mut InlineState<LEN>, hit: &Hit, receipt: ReceiptOf<Self>, now: Timestamp) {
        *state = self.inherited(state, hit.class, now);
        self.ask(|strategy| strategy.refund_erased(state, hit, receipt, now));
    }

    fn expires_at(&self, state: &InlineState<LEN>, class: Class) -> Timestamp {
        match &self.before {
            // A state that is not this strategy's own is still the old one's, and lasts as long as there.
            Some(before) if !self.strategy.plain().knows_erased(state) => {
                before.plain().expires_at_erased(state, class)
            }
            _ => self.ask(|strategy| strategy.expires_at_erased(state, class)),
        }
    }

    fn max_ttl(&self) -> u64 {
        let before = self.before.as_ref().map_or(0, |before| before.plain().max_ttl_erased());
        self.ask(|strategy| strategy.max_ttl_erased()).max(before)
    }

    fn rebase(&self, state: &mut InlineState<LEN>, now: Timestamp) -> bool {
        match &self.before {
            Some(before) if !self.strategy.plain().knows_erased(state) => {
                before.plain().rebase_erased(state, now)
            }
            _ => self.ask(|strategy| strategy.rebase_erased(state, now)),
        }
    }

    /// Returns `true` for a migration too: its wait depends on how the old limit drains, so it may end
    /// sooner.
    #[inline]
    fn records_demand(&self) -> bool {
        self.before.is_some() || self.strategy.plain().records_demand_erased()
    }

    fn stat(&self, state: &InlineState<LEN>, class: Class, now: Timestamp) -> StatsSnapshot {
        let own = self.inherited(state, class, now);
        self.ask(|strategy| strategy.stat_erased(&own, class, now))
    }

    /// Shows a single limit only: the states of several would share one [`InlineState`].
    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        if self.before.is_some() {
            return false;
        }
        self.ask(|strategy| {
            let mut states = 0;
            let complete = strategy.parts_of_erased(hit, &mut |part| {
                states += u32::from(part.is_last());
                visit(ScriptLimit { inline: part.inline.within(LEN), ..part });
            });
            complete && states == 1
        })
    }

    /// Shows the kinds of the strategy that it migrates from, whose states it takes over.
    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.before.as_ref().unwrap_or(&self.strategy).plain().kinds_erased(visit);
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.ask(|strategy| strategy.fits_script_erased())
    }
}

/// Keeps the ratio, and scales the strategy by it for every call.
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
        self.ask_scaled(|strategy| strategy.advance_erased(state, class, to));
    }

    fn advance_receipt(&self, receipt: &mut V::Receipt, class: Class, to: Timestamp) {
        self.ask_scaled(|strategy| strategy.advance_receipt_erased(receipt, class, to));
    }

    fn denominator(&self) -> u64 {
        self.ask_scaled(|strategy| strategy.denominator_erased()).unwrap_or(1)
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
    /// Returns itself, if the strategy can be scaled by its ratios.
    fn checked(self) -> Result<Self, CapacityError> {
        self.strategy.scaled_erased((self.ratios.list(), self.part), self.factor, &mut |_| ())?;
        Ok(self)
    }

    /// Calls `question` with the scaled strategy. Ratios that it cannot have were refused by `checked`.
    fn ask_scaled<T>(&self, mut question: impl FnMut(&dyn ErasedScale<LEN, V>) -> T) -> Option<T> {
        let mut answer = None;
        let mut ask = |scaled: &dyn ErasedScale<LEN, V>| answer = Some(question(scaled));
        let _ = self.strategy.scaled_erased((self.ratios.list(), self.part), self.factor, &mut ask);
        answer
    }
}
