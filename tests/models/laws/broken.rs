//! A strategy that can have one known defect at a time.
//!
//! It is a small token bucket of the tests' own, which keeps every law while it has no defect; so whatever a law
//! finds is the defect.

use core::time::Duration;

use traffik::strategy::{Bounds, DecodeError, Reader, Writer};
use traffik::{CapacityError, Class, Decision, Hit, Ratio, Receipt, Scale, State, Strategy, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Defect {
    None,
    ReadsTheClock,
    PeeksAtAnotherCost,
    IntervalRoundedDown,
    RefillsAfterADenialOnly,
    ChargesDenials,
    ChargesNothing,
    DeniesNothing,
    WaitOffByOne,
    NoWait,
    FreshKeyWaits,
    NeverWhileInUse,
    TtlHalved,
    TtlDoubled,
    StepBackRefills,
    StaysInTheFuture,
    RebaseGrants,
    RebasesTheNear,
    RebaseStaysAhead,
    CostIgnored,
    OverflowWraps,
    RefundsNothing,
    RefundsTwice,
    RefundCharges,
    RefundAboveFull,
    RefundTooLate,
    ForgetsOnChange,
    GrantsThePast,
    NeverSettles,
    AdvanceForgets,
    AdvanceKeepsTheFresh,
}

/// `burst` tokens, one more every `interval` microseconds and a third: 3 in every `3 · interval + 1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) burst: u32,
    pub(crate) interval: u64,
    pub(crate) defect: Defect,
}

/// When the bucket will be full, in thirds of a microsecond, and when it last was asked to give.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Filling {
    full_at: u128,
    at: Timestamp,
    interval: u64,
    /// The level above that of a full bucket: 0, unless the bucket is lifted above full.
    beyond: u64,
}

const TAG: u8 = 0xee;

impl State for Filling {
    const FRESH: Self = Self { full_at: 0, at: Timestamp::EPOCH, interval: 0, beyond: 0 };
    const MAX_LEN: usize = 1 + 16 + 3 * 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(TAG);
        out.bytes(&self.full_at.to_le_bytes());
        out.u64(self.at.as_micros());
        out.u64(self.interval);
        out.u64(self.beyond);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(TAG)?;
        let full_at = u128::from_le_bytes(input.bytes()?);
        let at = Timestamp::from_micros(input.u64()?);
        Ok(Self { full_at, at, interval: input.u64()?, beyond: input.u64()? })
    }
}

impl Bucket {
    /// Thirds of a microsecond that one token takes to come.
    fn thirds(&self) -> u128 {
        u128::from(self.interval) * 3 + u128::from(self.defect != Defect::IntervalRoundedDown)
    }

    fn lack(&self, state: &Filling, now: Timestamp) -> (Timestamp, u128) {
        let at = if self.defect == Defect::StepBackRefills { now } else { now.max(state.at) };
        let mut lack = state.full_at.saturating_sub(u128::from(at.as_micros()) * 3);
        if self.defect == Defect::GrantsThePast && state.interval != self.interval && state.interval > 0 {
            let since = u128::from(at.micros_since(state.at)) * 3;
            let then = state.full_at.saturating_sub(u128::from(state.at.as_micros()) * 3);
            let lack = then.div_ceil(u128::from(state.interval) * 3 + 1) * self.thirds();
            return (at, lack.saturating_sub(since));
        }
        if self.defect == Defect::StepBackRefills && now < state.at {
            lack = 0;
        }
        if state.interval != self.interval && lack > 0 {
            let unit = u128::from(state.interval) * 3 + 1;
            lack = lack.div_ceil(unit) * self.thirds();
        }
        if self.defect == Defect::ForgetsOnChange && state.interval != self.interval {
            lack = 0;
        }
        (at, lack)
    }

    fn filling(&self, at: Timestamp, lack: u128, beyond: u64) -> Filling {
        let full_at = u128::from(at.as_micros()) * 3 + lack;
        Filling { full_at, at, interval: self.interval, beyond }
    }

    fn burst(&self) -> u128 {
        u128::from(self.burst) * self.thirds()
    }

    fn tell(&self, at: Timestamp, now: Timestamp, lack: u128) -> (u32, Duration) {
        let burst = self.burst();
        let left = burst.saturating_sub(lack) / self.thirds();
        let reset = if lack == 0 { 0 } else { lack.div_ceil(3) + u128::from(at.micros_since(now)) };
        (left as u32, Duration::from_micros(reset as u64))
    }
}

impl Strategy for Bucket {
    type State = Filling;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = ();

    fn decide(&self, state: &mut Filling, hit: &Hit, now: Timestamp) -> Decision {
        let (at, lack) = self.lack(state, now);
        let is_changed = state.interval != self.interval && lack > 0 && self.defect != Defect::NeverSettles;
        if is_changed {
            *state = self.filling(at, lack, state.beyond);
        }
        let lack = match self.defect {
            Defect::ReadsTheClock if std::time::Instant::now().elapsed().as_nanos() % 2 == 1 => lack + 1,
            _ => lack,
        };
        let mut cost = u128::from(hit.cost) * self.thirds();
        if self.defect == Defect::CostIgnored {
            cost = cost.min(self.thirds());
        }
        if self.defect == Defect::OverflowWraps {
            cost = u128::from((u64::from(hit.cost) as u32).wrapping_mul(self.thirds() as u32));
        }
        let room = self.burst() + u128::from(state.beyond);
        let (left, reset) = self.tell(at, now, lack);
        if hit.cost == 0 {
            match self.defect {
                Defect::ChargesNothing => *state = self.filling(at, lack + self.thirds(), 0),
                Defect::DeniesNothing if left == 0 => return Decision::deny(self.burst, left, reset, reset),
                _ => {}
            }
            return Decision::allow(self.burst, left, reset)
                .with_dirty(is_changed)
                .with_receipt(Receipt::new(at));
        }
        let busy = self.defect == Defect::NeverWhileInUse && lack + cost > room;
        if cost > self.burst() || busy {
            return Decision::never(self.burst, left, reset).with_dirty(is_changed);
        }
        let unseen = self.defect == Defect::FreshKeyWaits && *state == Filling::default() && hit.cost > 1;
        if lack + cost > room || unseen {
            let lacking = (lack + cost).saturating_sub(room);
            let mut wait = lacking.div_ceil(3) as u64 + at.micros_since(now);
            if at > now {
                wait = wait.min(self.max_ttl());
            }
            match self.defect {
                Defect::WaitOffByOne => wait += 1,
                Defect::NoWait => wait = 0,
                Defect::ChargesDenials => state.full_at += self.thirds(),
                Defect::RefillsAfterADenialOnly => *state = Filling { at, ..*state },
                _ => {}
            }
            let charged = self.defect == Defect::ChargesDenials || is_changed;
            return Decision::deny(self.burst, left, Duration::from_micros(wait), reset).with_dirty(charged);
        }
        let lack = lack + cost;
        *state = self.filling(at, lack, state.beyond);
        let (left, reset) = self.tell(at, now, lack);
        Decision::allow(self.burst, left, reset).with_receipt(Receipt::new(at))
    }

    fn peek(&self, state: &Filling, hit: &Hit, now: Timestamp) -> Decision {
        let another = u32::from(self.defect == Defect::PeeksAtAnotherCost && hit.cost > 0);
        self.decide(&mut state.clone(), &Hit { cost: hit.cost.saturating_add(another), ..*hit }, now)
    }

    fn charge(&self, state: &mut Filling, hit: &Hit, now: Timestamp) {
        let (at, lack) = self.lack(state, now);
        let lack = lack + u128::from(hit.cost) * self.thirds();
        *state = self.filling(at, lack, 0);
    }

    fn refund(&self, state: &mut Filling, hit: &Hit, receipt: Receipt, now: Timestamp) {
        let (at, lack) = self.lack(state, now);
        let cost = u128::from(hit.cost) * self.thirds();
        // The receipt does not tell the level, so only a charge that is the last one is taken back at once.
        let drained = u128::from(at.micros_since(receipt.at())) * 3;
        let taken = match self.defect {
            Defect::RefundTooLate => cost,
            Defect::RefundsNothing => 0,
            _ if receipt.at() == state.at => cost.min(lack),
            Defect::RefundsTwice => cost.saturating_sub(drained) * 2,
            _ => cost.saturating_sub(drained).min(lack),
        };
        if self.defect == Defect::RefundCharges && receipt.at() != state.at && taken > 0 {
            *state = self.filling(at, lack + cost, 0);
            return;
        }
        *state = match (lack.saturating_sub(taken), self.defect) {
            (0, Defect::RefundAboveFull) => self.filling(at, 0, cost as u64),
            (0, _) => Filling::default(),
            (lack, _) => self.filling(at, lack, 0),
        };
    }

    fn expires_at(&self, state: &Filling, _: Class) -> Timestamp {
        let full_at = state.full_at.div_ceil(3) as u64;
        match self.defect {
            Defect::TtlHalved => {
                let ttl = full_at.saturating_sub(state.at.as_micros());
                state.at.plus_micros(ttl / 2)
            }
            Defect::TtlDoubled => {
                let ttl = full_at.saturating_sub(state.at.as_micros());
                state.at.plus_micros(ttl * 2)
            }
            _ => Timestamp::from_micros(full_at),
        }
    }

    fn max_ttl(&self) -> u64 {
        (u128::from(self.burst) * self.thirds()).div_ceil(3) as u64
    }

    fn rebase(&self, state: &mut Filling, now: Timestamp) -> bool {
        let slack = if self.defect == Defect::RebasesTheNear { 0 } else { 1_000_000 };
        if state.at.micros_since(now) <= slack || self.defect == Defect::StaysInTheFuture {
            return false;
        }
        let lack = state.full_at.saturating_sub(u128::from(state.at.as_micros()) * 3);
        let at = if self.defect == Defect::RebaseStaysAhead { now.plus_micros(self.max_ttl()) } else { now };
        let full_at = u128::from(at.as_micros()) * 3 + lack;
        *state = Filling { full_at, at, ..*state };
        if self.defect == Defect::RebaseGrants {
            *state = Filling::default();
        }
        true
    }

    fn stat(&self, _: &Filling, _: Class, _: Timestamp) {}
}

impl Scale for Bucket {
    fn scaled(&self, _: Ratio) -> Result<Self, CapacityError> {
        Ok(*self)
    }

    fn advance(&self, state: &mut Filling, _: Class, to: Timestamp) {
        let (at, lack) = self.lack(state, to);
        match (lack, self.defect) {
            (0, Defect::AdvanceKeepsTheFresh) => {}
            (_, Defect::AdvanceForgets) | (0, _) => *state = Filling::default(),
            (lack, _) => *state = self.filling(at, lack, 0),
        }
    }
}

impl Bounds for Bucket {
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        let third = u128::from(self.interval) * 3 + 1;
        u128::from(self.burst) + u128::from(last.micros_since(first)) * 3 / third
    }

    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        self.most(first, last).saturating_sub(u128::from(cost.saturating_sub(1)))
    }
}

/// A bucket whose states are written as bytes in a way of their own: 0 loses a part, 1 takes a part for the
/// whole, 2 is longer than it says; of 4 the constant state of a key never seen is none. It says that it
/// records demand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coded<const WAY: u8>(pub(crate) Bucket);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CodedFilling<const WAY: u8>(Filling);

impl<const WAY: u8> State for CodedFilling<WAY> {
    const FRESH: Self = Self(Filling { interval: (WAY == 4) as u64, ..Filling::FRESH });
    const MAX_LEN: usize = if WAY == 2 { Filling::MAX_LEN - 1 } else { Filling::MAX_LEN };

    fn encode(&self, out: &mut Writer<'_>) {
        if WAY == 0 { Filling { interval: 0, ..self.0 }.encode(out) } else { self.0.encode(out) }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match Filling::decode(input) {
            Err(_) if WAY == 1 => Ok(Self::default()),
            decoded => decoded.map(Self),
        }
    }
}

impl<const WAY: u8> Strategy for Coded<WAY> {
    type State = CodedFilling<WAY>;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = ();

    fn decide(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) -> Decision {
        self.0.decide(&mut state.0, hit, now)
    }

    fn charge(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) {
        self.0.charge(&mut state.0, hit, now);
    }

    fn refund(&self, state: &mut Self::State, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.0.refund(&mut state.0, hit, receipt, now);
    }

    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.expires_at(&state.0, class)
    }

    fn max_ttl(&self) -> u64 {
        self.0.max_ttl()
    }

    fn records_demand(&self) -> bool {
        true
    }

    fn stat(&self, _: &Self::State, _: Class, _: Timestamp) {}
}
