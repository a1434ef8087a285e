//! The traits behind the pointer of an erased strategy.

use super::decision_list::{ErasedVerdict, converted};
use super::inline::InlineState;
use crate::strategy::wire::stats::{Stats, StatsSnapshot};
use crate::strategy::{CapacityError, Class, Cost, Hit, Scale, ScriptLimit, State, Strategy};
use crate::{Decision, Ratio, Receipts, Timestamp, Verdict};

/// A strategy whose type is not known. Every [`Strategy`] is one, if its figures implement [`Stats`].
///
/// Each method does the same as the method of [`Strategy`] of that name, with the state as bytes. Use it
/// behind an [`Erased`](super::Erased).
///
/// ```
/// use traffik::strategy::{Erased, ErasedStrategy};
/// use traffik::{Gcra, Hit, Strategy, Timestamp, rate};
///
/// static STEADY: Gcra = Gcra::new(rate!("1/s"));
/// let chosen: &'static dyn ErasedStrategy<32> = &STEADY;
/// let decision = Erased::new(chosen).decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH);
/// assert!(decision.is_allowed());
/// ```
#[allow(missing_docs, reason = "they are those of Strategy")]
pub trait ErasedStrategy<const LEN: usize, V: ErasedVerdict = Decision>: Send + Sync {
    fn decide_erased(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) -> V;
    fn peek_erased(&self, state: &InlineState<LEN>, hit: &Hit, now: Timestamp) -> V;
    fn charge_erased(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp);
    fn refund_erased(&self, state: &mut InlineState<LEN>, hit: &Hit, receipt: V::Receipt, now: Timestamp);
    fn expires_at_erased(&self, state: &InlineState<LEN>, class: Class) -> Timestamp;
    fn max_ttl_erased(&self) -> u64;
    fn rebase_erased(&self, state: &mut InlineState<LEN>, now: Timestamp) -> bool;
    fn stat_erased(&self, state: &InlineState<LEN>, class: Class, now: Timestamp) -> StatsSnapshot;
    fn parts_of_erased(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool;
    fn kinds_erased(&self, visit: &mut dyn FnMut(u32, u64));
    /// See [`Strategy::fits_script`].
    ///
    /// # Errors
    ///
    /// Fails with the largest limit that fits, if this one does not.
    fn fits_script_erased(&self) -> Result<(), CapacityError>;
    fn records_demand_erased(&self) -> bool;

    /// Reports whether a state is one of this strategy. The state of a key never seen is one of every
    /// strategy.
    fn knows_erased(&self, state: &InlineState<LEN>) -> bool;
}

/// A strategy whose type is not known, but that can be scaled. Every [`Scale`] is one, if its figures
/// implement [`Stats`].
///
/// ```
/// use traffik::strategy::{Erased, ErasedScale, Scale};
/// use traffik::{Gcra, Hit, Ratio, Strategy, Timestamp, rate};
///
/// static STEADY: Gcra = Gcra::new(rate!("1/s"));
/// let chosen: &'static dyn ErasedScale<32> = &STEADY;
/// let slower = Erased::new(chosen).scaled(Ratio::new(1, 2)?)?;
/// assert!(slower.decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH).is_allowed());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub trait ErasedScale<const LEN: usize, V: ErasedVerdict = Decision>: ErasedStrategy<LEN, V> {
    /// See [`Scale::advance`].
    fn advance_erased(&self, state: &mut InlineState<LEN>, class: Class, to: Timestamp);

    /// See [`Scale::advance_receipt`].
    fn advance_receipt_erased(&self, receipt: &mut V::Receipt, class: Class, to: Timestamp);

    /// See [`Scale::denominator`].
    fn denominator_erased(&self) -> u64;

    /// Calls `visit` with the strategy scaled by each ratio in turn, then by the share, then refined by
    /// `factor`.
    ///
    /// See [`Scale::scaled`], [`Scale::part`] and [`Scale::refine`].
    ///
    /// # Errors
    ///
    /// Fails if a scaled limit cannot be counted exactly, with the largest that can.
    fn scaled_erased(
        &self,
        ratios: (&[Ratio], Ratio),
        factor: u64,
        visit: &mut dyn FnMut(&dyn ErasedScale<LEN, V>),
    ) -> Result<(), CapacityError>;
}

fn typed<C: Cost>(hit: &Hit) -> Hit<C> {
    Hit::new(C::uniform(hit.cost)).with_class(hit.class)
}

impl<S: Strategy<Stat: Stats>, const LEN: usize, V: ErasedVerdict> ErasedStrategy<LEN, V> for S {
    fn decide_erased(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) -> V {
        const {
            assert!(S::State::MAX_LEN <= LEN, "the state does not fit; choose a larger LEN");
            assert!(LEN <= u16::MAX as usize, "the length is kept in 16 bits; choose a smaller LEN");
            let limits = <<S::Verdict as Verdict>::Receipt as Receipts>::COUNT;
            let room = <V::Receipt as Receipts>::COUNT;
            assert!(limits <= room, "the verdict does not fit; choose a longer list of decisions");
        }
        let mut read = state.read();
        let verdict = self.decide(&mut read, &typed(hit), now);
        if verdict.is_dirty() {
            *state = InlineState::of(&read);
        }
        V::of(&verdict)
    }

    fn peek_erased(&self, state: &InlineState<LEN>, hit: &Hit, now: Timestamp) -> V {
        V::of(&self.peek(&state.read(), &typed(hit), now))
    }

    fn charge_erased(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) {
        let mut read = state.read();
        self.charge(&mut read, &typed(hit), now);
        *state = InlineState::of(&read);
    }

    fn refund_erased(&self, state: &mut InlineState<LEN>, hit: &Hit, receipt: V::Receipt, now: Timestamp) {
        let mut read = state.read();
        self.refund(&mut read, &typed(hit), converted(receipt), now);
        *state = InlineState::of(&read);
    }

    fn expires_at_erased(&self, state: &InlineState<LEN>, class: Class) -> Timestamp {
        self.expires_at(&state.read(), class)
    }

    fn max_ttl_erased(&self) -> u64 {
        self.max_ttl()
    }

    fn rebase_erased(&self, state: &mut InlineState<LEN>, now: Timestamp) -> bool {
        let mut read = state.read();
        let is_moved = self.rebase(&mut read, now);
        if is_moved {
            *state = InlineState::of(&read);
        }
        is_moved
    }

    fn stat_erased(&self, state: &InlineState<LEN>, class: Class, now: Timestamp) -> StatsSnapshot {
        StatsSnapshot::of(&self.stat(&state.read(), class, now))
    }

    fn parts_of_erased(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        self.parts_of(&typed(hit), visit)
    }

    fn kinds_erased(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.kinds(visit);
    }

    fn fits_script_erased(&self) -> Result<(), CapacityError> {
        self.fits_script()
    }

    fn records_demand_erased(&self) -> bool {
        self.records_demand()
    }

    fn knows_erased(&self, state: &InlineState<LEN>) -> bool {
        state.bytes().is_empty() || state.is::<S::State>()
    }
}

impl<S: Scale<Stat: Stats>, const LEN: usize, V: ErasedVerdict> ErasedScale<LEN, V> for S {
    fn advance_erased(&self, state: &mut InlineState<LEN>, class: Class, to: Timestamp) {
        let mut read = state.read();
        self.advance(&mut read, class, to);
        *state = InlineState::of(&read);
    }

    fn advance_receipt_erased(&self, receipt: &mut V::Receipt, class: Class, to: Timestamp) {
        let mut typed = converted(*receipt);
        self.advance_receipt(&mut typed, class, to);
        *receipt = converted(typed);
    }

    fn denominator_erased(&self) -> u64 {
        self.denominator()
    }

    fn scaled_erased(
        &self,
        (ratios, part): (&[Ratio], Ratio),
        factor: u64,
        visit: &mut dyn FnMut(&dyn ErasedScale<LEN, V>),
    ) -> Result<(), CapacityError> {
        match ratios {
            [first, rest @ ..] => self.scaled(*first)?.scaled_erased((rest, part), factor, visit),
            [] if part != Ratio::ONE => self.part(part)?.scaled_erased((&[], Ratio::ONE), factor, visit),
            [] if factor != 1 => self.refine(factor)?.scaled_erased((&[], part), 1, visit),
            [] => {
                visit(self);
                Ok(())
            }
        }
    }
}

/// The target of the pointer of an [`Erased`](super::Erased).
///
/// ```
/// use traffik::strategy::{Erased, ErasedStrategy};
/// use traffik::{Gcra, Strategy, rate};
///
/// static STEADY: Gcra = Gcra::new(rate!("1/s"));
/// let chosen: &'static dyn ErasedStrategy<32> = &STEADY; // the target is `dyn ErasedStrategy<32>`
/// assert_eq!(Erased::new(chosen).max_ttl(), 1_000_000);
/// ```
pub trait ErasedTarget<const LEN: usize>: Send + Sync + 'static {
    /// The verdict of the strategy.
    type Verdict: ErasedVerdict;

    /// Returns the strategy without its ratios.
    fn plain(&self) -> &dyn ErasedStrategy<LEN, Self::Verdict>;

    /// Calls `visit` with the share of the strategy scaled by each ratio in turn, if it can be scaled.
    fn show(&self, ratios: (&[Ratio], Ratio), factor: u64, visit: Visit<'_, LEN, Self::Verdict>);
}

/// A function that takes a strategy of unknown type.
type Visit<'a, const LEN: usize, V> = &'a mut dyn FnMut(&dyn ErasedStrategy<LEN, V>);

impl<const LEN: usize, V: ErasedVerdict> ErasedTarget<LEN> for dyn ErasedStrategy<LEN, V> {
    type Verdict = V;

    fn plain(&self) -> &dyn ErasedStrategy<LEN, V> {
        self
    }

    fn show(&self, _: (&[Ratio], Ratio), _: u64, _: Visit<'_, LEN, V>) {}
}

impl<const LEN: usize, V: ErasedVerdict> ErasedTarget<LEN> for dyn ErasedScale<LEN, V> {
    type Verdict = V;

    fn plain(&self) -> &dyn ErasedStrategy<LEN, V> {
        self
    }

    fn show(&self, ratios: (&[Ratio], Ratio), factor: u64, visit: Visit<'_, LEN, V>) {
        // `Erased::checked` refused the ratios that the strategy cannot be scaled by.
        let _ = self.scaled_erased(ratios, factor, &mut |scaled| visit(scaled));
    }
}
