//! One strategy type for every strategy of the gateway, so that storages and throttles are compiled once and
//! not for each strategy.

use std::sync::Arc;

use traffik::strategy::{
    CapacityError, DecodeError, Erased, ErasedScale, InlineState, Reader, ScriptLimit, State, Stats,
    StatsSnapshot, Writer,
};
use traffik::{
    All, Class, Decision, FixedWindow, HeapLog, Hit, Rate, Ratio, Receipt, Scale, Strategy, Timestamp,
    Verdict,
};

/// Size limit in bytes of the states of most strategies, plain and in up to three wrappers.
pub(crate) const SMALL: usize = 64;
pub(crate) const SMALL_WRAPPED: usize = SMALL + 3 * WRAPPER;

/// Size limit in bytes of larger states: logs, buckets of a strict window, shares.
pub(crate) const LARGE: usize = 512;
pub(crate) const LARGE_WRAPPED: usize = LARGE + 3 * WRAPPER;

/// The most bytes that a wrapper adds to a state.
pub(crate) const WRAPPER: usize = 16;

/// A strategy whose state takes at most `LEN` bytes.
pub(crate) type DynStrategy<const LEN: usize> = Arc<dyn ErasedScale<LEN>>;

/// A strategy of a throttle, as the gateway builds it.
pub(crate) trait Limit: Scale + Strategy<Cost = u32, Stat: Stats> {
    /// Makes the strategy take over the states of `before`, the strategy that it replaces, so that use is
    /// kept.
    fn in_place_of(self, before: Option<&Self>) -> Self;

    /// Returns a strategy of this type that admits every hit.
    fn unlimited() -> Result<Self, String>;

    /// Returns the most bytes of a state. Strategies of one size can take over each other's states.
    fn state_size(&self) -> usize;
}

/// Returns an array of strategies, filled with unlimited ones, which no header or statistic mentions.
pub(crate) fn all_of<L: Limit, const N: usize>(
    strategies: impl IntoIterator<Item = L>,
) -> Result<All<L, N>, String> {
    let (mut strategies, unlimited) = (strategies.into_iter(), L::unlimited()?);
    Ok(All(std::array::from_fn(|_| strategies.next().unwrap_or_else(|| unlimited.clone()))))
}

/// Any strategy but an exact log, by the size of its states.
#[derive(Clone)]
pub(crate) enum AnyLimit {
    Small(ErasedLimit<SMALL>),
    SmallWrapped(ErasedLimit<SMALL_WRAPPED>),
    Large(ErasedLimit<LARGE>),
    LargeWrapped(ErasedLimit<LARGE_WRAPPED>),
}

/// A type-erased strategy, and the pointer from which a later strategy takes over its states.
#[derive(Clone)]
pub(crate) struct ErasedLimit<const LEN: usize> {
    pointer: DynStrategy<LEN>,
    strategy: Erased<DynStrategy<LEN>, LEN>,
}

impl<const LEN: usize> From<DynStrategy<LEN>> for ErasedLimit<LEN> {
    fn from(pointer: DynStrategy<LEN>) -> Self {
        Self { strategy: Erased::new(Arc::clone(&pointer)), pointer }
    }
}

impl<const LEN: usize> ErasedLimit<LEN> {
    fn take_over(&mut self, before: &Self) {
        self.strategy = self.strategy.clone().migrating_from(Arc::clone(&before.pointer));
    }
}

/// Evaluates an expression with the strategy of any variant.
macro_rules! each {
    ($any:expr, $strategy:ident => $call:expr) => {
        match $any {
            AnyLimit::Small($strategy) => $call,
            AnyLimit::SmallWrapped($strategy) => $call,
            AnyLimit::Large($strategy) => $call,
            AnyLimit::LargeWrapped($strategy) => $call,
        }
    };
}

impl Limit for AnyLimit {
    fn in_place_of(mut self, before: Option<&Self>) -> Self {
        match (&mut self, before) {
            (Self::Small(strategy), Some(Self::Small(before))) => strategy.take_over(before),
            (Self::SmallWrapped(strategy), Some(Self::SmallWrapped(before))) => strategy.take_over(before),
            (Self::Large(strategy), Some(Self::Large(before))) => strategy.take_over(before),
            (Self::LargeWrapped(strategy), Some(Self::LargeWrapped(before))) => strategy.take_over(before),
            // The states differ in size, so the throttle starts over; `ThrottleHistory` reports it.
            _ => {}
        }
        self
    }

    fn unlimited() -> Result<Self, String> {
        let unlimited: DynStrategy<SMALL> = Arc::new(FixedWindow::new(Rate::UNLIMITED));
        Ok(Self::Small(unlimited.into()))
    }

    fn state_size(&self) -> usize {
        match self {
            Self::Small(_) => SMALL,
            Self::SmallWrapped(_) => SMALL_WRAPPED,
            Self::Large(_) => LARGE,
            Self::LargeWrapped(_) => LARGE_WRAPPED,
        }
    }
}

/// Every exact log reads the states of every other, so no state has to be migrated.
impl Limit for HeapLog {
    fn in_place_of(self, _: Option<&Self>) -> Self {
        self
    }

    fn unlimited() -> Result<Self, String> {
        Self::new(Rate::UNLIMITED).map_err(|error| error.to_string())
    }

    fn state_size(&self) -> usize {
        usize::MAX
    }
}

/// The bytes of a state, inline up to [`SMALL`] bytes, as the states of most strategies are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LimitState {
    Short(InlineState<SMALL>),
    /// More than `SMALL` bytes.
    Long(Box<[u8]>),
}

impl Default for LimitState {
    fn default() -> Self {
        Self::FRESH
    }
}

impl LimitState {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(state) => state.bytes(),
            Self::Long(bytes) => bytes,
        }
    }

    /// Copies the state for a strategy of this size. Returns a fresh state if the bytes do not fit.
    fn read<const LEN: usize>(&self) -> InlineState<LEN> {
        InlineState::try_from(self.bytes()).unwrap_or_default()
    }

    fn change<const LEN: usize>(&mut self, change: impl FnOnce(&mut InlineState<LEN>)) {
        let mut state = self.read();
        change(&mut state);
        self.write(&state);
    }

    fn write<const LEN: usize>(&mut self, state: &InlineState<LEN>) {
        let bytes = state.bytes();
        match self {
            Self::Long(held) if held.len() == bytes.len() => held.copy_from_slice(bytes),
            _ => *self = InlineState::try_from(bytes).map_or_else(|_| Self::Long(bytes.into()), Self::Short),
        }
    }
}

/// Encodes like an [`InlineState`], whose form does not depend on its size.
impl State for LimitState {
    const FRESH: Self = Self::Short(InlineState::FRESH);
    const MAX_LEN: usize = <InlineState<LARGE_WRAPPED> as State>::MAX_LEN;

    fn encode(&self, out: &mut Writer<'_>) {
        self.read::<LARGE_WRAPPED>().encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut state = Self::default();
        state.write(&InlineState::<LARGE_WRAPPED>::decode(input)?);
        Ok(state)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Strategy for AnyLimit {
    type State = LimitState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = StatsSnapshot;

    fn decide(&self, state: &mut LimitState, hit: &Hit, now: Timestamp) -> Decision {
        if let (Self::Small(it), LimitState::Short(inline)) = (self, &mut *state) {
            // The most frequent case: the state is decided upon in place, without a copy.
            return it.strategy.decide(inline, hit, now);
        }
        each!(self, it => {
            let mut inline = state.read();
            let decision = it.strategy.decide(&mut inline, hit, now);
            if decision.is_dirty() {
                state.write(&inline);
            }
            decision
        })
    }

    fn peek(&self, state: &LimitState, hit: &Hit, now: Timestamp) -> Decision {
        if let (Self::Small(it), LimitState::Short(inline)) = (self, state) {
            return it.strategy.peek(inline, hit, now);
        }
        each!(self, it => it.strategy.peek(&state.read(), hit, now))
    }

    fn charge(&self, state: &mut LimitState, hit: &Hit, now: Timestamp) {
        each!(self, it => state.change(|inline| it.strategy.charge(inline, hit, now)));
    }

    fn refund(&self, state: &mut LimitState, hit: &Hit, receipt: Receipt, now: Timestamp) {
        each!(self, it => state.change(|inline| it.strategy.refund(inline, hit, receipt, now)));
    }

    fn expires_at(&self, state: &LimitState, class: Class) -> Timestamp {
        if let (Self::Small(it), LimitState::Short(inline)) = (self, state) {
            return it.strategy.expires_at(inline, class);
        }
        each!(self, it => it.strategy.expires_at(&state.read(), class))
    }

    fn max_ttl(&self) -> u64 {
        each!(self, it => it.strategy.max_ttl())
    }

    fn rebase(&self, state: &mut LimitState, now: Timestamp) -> bool {
        each!(self, it => {
            let mut inline = state.read();
            let is_moved = it.strategy.rebase(&mut inline, now);
            if is_moved {
                state.write(&inline);
            }
            is_moved
        })
    }

    fn records_demand(&self) -> bool {
        each!(self, it => it.strategy.records_demand())
    }

    fn stat(&self, state: &LimitState, class: Class, now: Timestamp) -> StatsSnapshot {
        each!(self, it => it.strategy.stat(&state.read(), class, now))
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        each!(self, it => it.strategy.parts_of(hit, visit))
    }

    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        each!(self, it => it.strategy.kinds(visit));
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        each!(self, it => it.strategy.fits_script())
    }
}

#[deny(clippy::missing_trait_methods)]
impl Scale for AnyLimit {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let mut scaled = self.clone();
        each!(&mut scaled, it => it.strategy = it.strategy.scaled(ratio)?);
        Ok(scaled)
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let mut part = self.clone();
        each!(&mut part, it => it.strategy = it.strategy.part(ratio)?);
        Ok(part)
    }

    fn advance(&self, state: &mut LimitState, class: Class, to: Timestamp) {
        each!(self, it => state.change(|inline| it.strategy.advance(inline, class, to)));
    }

    fn advance_receipt(&self, receipt: &mut Receipt, class: Class, to: Timestamp) {
        each!(self, it => it.strategy.advance_receipt(receipt, class, to));
    }

    fn denominator(&self) -> u64 {
        each!(self, it => it.strategy.denominator())
    }

    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        let mut refined = self.clone();
        each!(&mut refined, it => it.strategy = it.strategy.refine(factor)?);
        Ok(refined)
    }
}
