//! One limit of a throttle: any strategy behind one type, so that storages and throttles are compiled once for
//! all of them.

use std::sync::Arc;

use traffik::strategy::{
    CapacityError, DecodeError, Erased, ErasedScale, InlineState, Reader, ScriptLimit, State, Stats,
    StatsSnapshot, Writer,
};
use traffik::{
    Class, Decision, FixedWindow, HeapLog, Hit, Rate, Ratio, Receipt, Scale, Strategy, Timestamp, Verdict,
};

/// Room for the state of a plain strategy, and of one in up to three wrappers.
pub(crate) const SMALL: usize = 64;
pub(crate) const SMALL_WRAPPED: usize = SMALL + 3 * WRAPPER;

/// The same for strategies that keep more: logs, buckets of a strict window, shares.
pub(crate) const LARGE: usize = 512;
pub(crate) const LARGE_WRAPPED: usize = LARGE + 3 * WRAPPER;

/// The most bytes that a wrapper adds to a state.
pub(crate) const WRAPPER: usize = 16;

/// A strategy whose state takes at most `LEN` bytes.
pub(crate) type DynStrategy<const LEN: usize> = Arc<dyn ErasedScale<LEN>>;

/// A limit that a throttle is made of.
pub(crate) trait Limit: Scale + Strategy<Cost = u32, Stat: Stats> {
    /// The same in the place of another one, if there was one: what was used of that is used of this.
    fn in_place_of(self, before: Option<&Self>) -> Self;

    /// One that is never reached, of the same type.
    fn unlimited() -> Result<Self, String>;

    /// The most bytes of a state: limits of one size take each other's states.
    fn room(&self) -> usize;
}

/// Any strategy but an exact log, by the room that its states take.
#[derive(Clone)]
pub(crate) enum AnyLimit {
    Small(ErasedLimit<SMALL>),
    SmallWrapped(ErasedLimit<SMALL_WRAPPED>),
    Large(ErasedLimit<LARGE>),
    LargeWrapped(ErasedLimit<LARGE_WRAPPED>),
}

/// A strategy behind a pointer, with the pointer itself for a limit that comes in its place.
#[derive(Clone)]
pub(crate) struct ErasedLimit<const LEN: usize> {
    pointer: DynStrategy<LEN>,
    limit: Erased<DynStrategy<LEN>, LEN>,
}

impl<const LEN: usize> From<DynStrategy<LEN>> for ErasedLimit<LEN> {
    fn from(pointer: DynStrategy<LEN>) -> Self {
        Self { limit: Erased::new(Arc::clone(&pointer)), pointer }
    }
}

impl<const LEN: usize> ErasedLimit<LEN> {
    fn succeed(&mut self, before: &Self) {
        self.limit = self.limit.clone().migrating_from(Arc::clone(&before.pointer));
    }
}

/// Runs an expression with whichever limit it is.
macro_rules! each {
    ($any:expr, $limit:ident => $ask:expr) => {
        match $any {
            AnyLimit::Small($limit) => $ask,
            AnyLimit::SmallWrapped($limit) => $ask,
            AnyLimit::Large($limit) => $ask,
            AnyLimit::LargeWrapped($limit) => $ask,
        }
    };
}

impl Limit for AnyLimit {
    fn in_place_of(mut self, before: Option<&Self>) -> Self {
        match (&mut self, before) {
            (Self::Small(limit), Some(Self::Small(before))) => limit.succeed(before),
            (Self::SmallWrapped(limit), Some(Self::SmallWrapped(before))) => limit.succeed(before),
            (Self::Large(limit), Some(Self::Large(before))) => limit.succeed(before),
            (Self::LargeWrapped(limit), Some(Self::LargeWrapped(before))) => limit.succeed(before),
            // A throttle of another room begins anew.
            _ => {}
        }
        self
    }

    fn unlimited() -> Result<Self, String> {
        let unlimited: DynStrategy<SMALL> = Arc::new(FixedWindow::new(Rate::UNLIMITED));
        Ok(Self::Small(unlimited.into()))
    }

    fn room(&self) -> usize {
        match self {
            Self::Small(_) => SMALL,
            Self::SmallWrapped(_) => SMALL_WRAPPED,
            Self::Large(_) => LARGE,
            Self::LargeWrapped(_) => LARGE_WRAPPED,
        }
    }
}

/// There is one kind of it only, which knows the states of all others.
impl Limit for HeapLog {
    fn in_place_of(self, _: Option<&Self>) -> Self {
        self
    }

    fn unlimited() -> Result<Self, String> {
        Self::new(Rate::UNLIMITED).map_err(|error| error.to_string())
    }

    fn room(&self) -> usize {
        usize::MAX
    }
}

/// The bytes of a state: inline while they are few, as those of most strategies are.
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

    /// The state for a limit with this much room; that of a key never seen, if it does not fit.
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

/// In the form of an [`InlineState`], whatever its room.
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
            // The most frequent case copies nothing.
            return it.limit.decide(inline, hit, now);
        }
        each!(self, it => {
            let mut inline = state.read();
            let decision = it.limit.decide(&mut inline, hit, now);
            if decision.is_dirty() {
                state.write(&inline);
            }
            decision
        })
    }

    fn peek(&self, state: &LimitState, hit: &Hit, now: Timestamp) -> Decision {
        if let (Self::Small(it), LimitState::Short(inline)) = (self, state) {
            return it.limit.peek(inline, hit, now);
        }
        each!(self, it => it.limit.peek(&state.read(), hit, now))
    }

    fn charge(&self, state: &mut LimitState, hit: &Hit, now: Timestamp) {
        each!(self, it => state.change(|inline| it.limit.charge(inline, hit, now)));
    }

    fn refund(&self, state: &mut LimitState, hit: &Hit, receipt: Receipt, now: Timestamp) {
        each!(self, it => state.change(|inline| it.limit.refund(inline, hit, receipt, now)));
    }

    fn expires_at(&self, state: &LimitState, class: Class) -> Timestamp {
        if let (Self::Small(it), LimitState::Short(inline)) = (self, state) {
            return it.limit.expires_at(inline, class);
        }
        each!(self, it => it.limit.expires_at(&state.read(), class))
    }

    fn max_ttl(&self) -> u64 {
        each!(self, it => it.limit.max_ttl())
    }

    fn rebase(&self, state: &mut LimitState, now: Timestamp) -> bool {
        each!(self, it => {
            let mut inline = state.read();
            let is_moved = it.limit.rebase(&mut inline, now);
            if is_moved {
                state.write(&inline);
            }
            is_moved
        })
    }

    fn records_demand(&self) -> bool {
        each!(self, it => it.limit.records_demand())
    }

    fn stat(&self, state: &LimitState, class: Class, now: Timestamp) -> StatsSnapshot {
        each!(self, it => it.limit.stat(&state.read(), class, now))
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        each!(self, it => it.limit.parts_of(hit, visit))
    }

    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        each!(self, it => it.limit.kinds(visit));
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        each!(self, it => it.limit.fits_script())
    }
}

#[deny(clippy::missing_trait_methods)]
impl Scale for AnyLimit {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let mut scaled = self.clone();
        each!(&mut scaled, it => it.limit = it.limit.scaled(ratio)?);
        Ok(scaled)
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let mut part = self.clone();
        each!(&mut part, it => it.limit = it.limit.part(ratio)?);
        Ok(part)
    }

    fn advance(&self, state: &mut LimitState, class: Class, to: Timestamp) {
        each!(self, it => state.change(|inline| it.limit.advance(inline, class, to)));
    }

    fn advance_receipt(&self, receipt: &mut Receipt, class: Class, to: Timestamp) {
        each!(self, it => it.limit.advance_receipt(receipt, class, to));
    }

    fn denominator(&self) -> u64 {
        each!(self, it => it.limit.denominator())
    }

    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        let mut refine = self.clone();
        each!(&mut refine, it => it.limit = it.limit.refine(factor)?);
        Ok(refine)
    }
}
