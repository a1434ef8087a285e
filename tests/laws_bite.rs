//! The laws bite: strategies with one known defect each, and the law that catches it.
//!
//! The strategy underneath is a small token bucket of the test's own, which keeps every law while it has no
//! defect; so whatever a law finds is the defect.

use core::time::Duration;

use traffik::laws::{self, Broken, Step};
use traffik::storage::WhenFull;
use traffik::strategy::{Bounds, Corrupt, Reader, Writer};
use traffik::{
    Class, Decision, Fixed, Hit, ManualClock, Outcome, Receipt, State, Strategy, Timestamp, Verdict,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    ReadsTheClock,
    IntervalRoundedDown,
    RefillsAfterADenialOnly,
    ChargesDenials,
    WaitOffByOne,
    TtlHalved,
    StepBackRefills,
    CostIgnored,
    OverflowWraps,
    RefundAboveFull,
    RefundTooLate,
    StateTruncated,
    SharesOneState,
    ForgetsOnChange,
}

/// `burst` tokens, one more every `interval` microseconds and a third: 3 in every `3 · interval + 1`.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    burst: u32,
    interval: u64,
    defect: Defect,
}

/// When the bucket will be full, in thirds of a microsecond, and when it last was asked to give.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Filling {
    full_at: u128,
    at: Timestamp,
    interval: u64,
}

const TAG: u8 = 0xee;

impl State for Filling {
    const MAX_LEN: usize = 1 + 16 + 8 + 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(TAG);
        out.bytes(&self.full_at.to_le_bytes());
        out.u64(self.at.as_micros());
        out.u64(self.interval);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        input.tag(TAG)?;
        let full_at = u128::from_le_bytes(input.bytes()?);
        Ok(Self { full_at, at: Timestamp::from_micros(input.u64()?), interval: input.u64()? })
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

    fn tell(&self, at: Timestamp, now: Timestamp, lack: u128) -> (u32, Duration) {
        let burst = u128::from(self.burst) * self.thirds();
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
        let burst = u128::from(self.burst) * self.thirds();
        let (left, reset) = self.tell(at, now, lack);
        if hit.cost == 0 {
            return Decision::allow(self.burst, left, reset).recorded(false).with_receipt(Receipt::new(at));
        }
        if cost > burst {
            return Decision::never(self.burst, left, reset);
        }
        if lack + cost > burst {
            let mut wait =
                (lack + cost - burst).div_ceil(3) as u64 + at.micros_since(now).min(self.horizon());
            match self.defect {
                Defect::WaitOffByOne => wait += 1,
                Defect::ChargesDenials => state.full_at += self.thirds(),
                Defect::RefillsAfterADenialOnly => *state = Filling { at, ..*state },
                _ => {}
            }
            let charged = self.defect == Defect::ChargesDenials;
            return Decision::deny(self.burst, left, Duration::from_micros(wait), reset).recorded(charged);
        }
        let lack = lack + cost;
        *state = Filling { full_at: u128::from(at.as_micros()) * 3 + lack, at, interval: self.interval };
        let (left, reset) = self.tell(at, now, lack);
        Decision::allow(self.burst, left, reset).with_receipt(Receipt::new(at))
    }

    fn charge(&self, state: &mut Filling, hit: &Hit, now: Timestamp) {
        let (at, lack) = self.lack(state, now);
        let lack = lack + u128::from(hit.cost) * self.thirds();
        *state = Filling { full_at: u128::from(at.as_micros()) * 3 + lack, at, interval: self.interval };
    }

    fn refund(&self, state: &mut Filling, hit: &Hit, receipt: Receipt, now: Timestamp) {
        let (at, lack) = self.lack(state, now);
        let cost = u128::from(hit.cost) * self.thirds();
        // The receipt does not tell the level, so only a charge that is the last one is taken back at once.
        let drained = u128::from(at.micros_since(receipt.at())) * 3;
        let taken = match self.defect {
            Defect::RefundTooLate | Defect::RefundAboveFull => cost,
            _ if receipt.at() == state.at => cost.min(lack),
            _ => cost.saturating_sub(drained).min(lack),
        };
        let lack = match self.defect {
            Defect::RefundAboveFull => lack + cost,
            _ => lack.saturating_sub(taken),
        };
        let full_at = u128::from(at.as_micros()) * 3 + lack;
        *state =
            if lack == 0 { Filling::default() } else { Filling { full_at, at, interval: self.interval } };
    }

    fn fresh_at(&self, state: &Filling, _: Class) -> Timestamp {
        let full_at = state.full_at.div_ceil(3) as u64;
        match self.defect {
            Defect::TtlHalved => {
                let ttl = full_at.saturating_sub(state.at.as_micros());
                state.at.plus_micros(ttl / 2)
            }
            _ => Timestamp::from_micros(full_at),
        }
    }

    fn horizon(&self) -> u64 {
        (u128::from(self.burst) * self.thirds()).div_ceil(3) as u64
    }

    fn stat(&self, _: &Filling, _: Class, _: Timestamp) {}
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

/// A run dense enough that every defect shows: bursts, waits just too short, silence, steps back.
fn run() -> Vec<Step> {
    let times =
        [0, 0, 0, 1, 3, 4, 7, 10, 10, 11, 12, 13, 20, 21, 22, 23, 60, 60, 60, 60, 60, 61, 5, 62, 64, 66, 67];
    let costs = [1, 1, 2, 1, 3, 1, 1, 5, 1, 6, 1, 1, 1, u32::MAX, 1, 1, 2];
    let costs = costs.iter().cycle();
    times.iter().zip(costs).map(|(at, cost)| Step::new(Timestamp::from_micros(1_000 + at), *cost)).collect()
}

fn forward() -> Vec<Step> {
    let mut run = run();
    run.sort_by_key(|step| step.at);
    run
}

fn bucket(defect: Defect) -> Bucket {
    Bucket { burst: 5, interval: 4, defect }
}

/// The law that a defect breaks first among all of them.
fn broken(defect: Defect) -> Option<u8> {
    let limit = bucket(defect);
    let slower = Bucket { interval: 9, ..limit };
    let held = laws::every(&limit, &forward())
        .and_then(|()| laws::every(&limit, &run()))
        .and_then(|()| laws::limit_may_change(&limit, &slower, &forward()));
    held.err().map(|broken| broken.law)
}

#[test]
fn without_a_defect_every_law_holds() {
    assert_eq!(broken(Defect::None), None);
}

#[test]
fn what_reads_the_clock_is_not_pure() {
    let caught = (0..100).any(|_| laws::pure(&bucket(Defect::ReadsTheClock), &run()).is_err());
    assert!(caught);
}

#[test]
fn an_interval_rounded_down_admits_too_much() {
    // A third of a microsecond in thirteen: it shows after some forty hits.
    let greedy: Vec<_> = (0..400).map(|at| Step::new(Timestamp::from_micros(at), 1)).collect();
    let law = |defect| laws::never_over(&bucket(defect), &greedy).err().map(|broken| broken.law);
    assert_eq!(law(Defect::IntervalRoundedDown), Some(2));
    assert_eq!(law(Defect::None), None);
}

#[test]
fn a_wait_that_is_too_long_starves() {
    // Asking for the whole burst leaves no slack that could make up for it.
    let whole = [Step::new(Timestamp::EPOCH, 5)];
    assert_eq!(laws::never_starved(&bucket(Defect::WaitOffByOne), &whole).unwrap_err().law, 3);
    assert_eq!(laws::never_starved(&bucket(Defect::None), &whole), Ok(()));
}

#[test]
fn retry_after_off_by_one_is_not_exact() {
    assert_eq!(laws::waits_are_exact(&bucket(Defect::WaitOffByOne), &forward()).unwrap_err().law, 5);
}

#[test]
fn charging_denials_is_caught() {
    assert_eq!(laws::denial_is_free(&bucket(Defect::ChargesDenials), &run()).unwrap_err().law, 4);
    assert_eq!(laws::never_starved(&bucket(Defect::ChargesDenials), &run()).unwrap_err().law, 3);
}

#[test]
fn a_change_that_is_not_told_is_caught() {
    assert_eq!(laws::pure(&bucket(Defect::RefillsAfterADenialOnly), &forward()).unwrap_err().law, 1);
}

#[test]
fn a_ttl_cut_in_half_is_visible() {
    assert_eq!(laws::expiry_is_invisible(&bucket(Defect::TtlHalved), &forward()).unwrap_err().law, 6);
    assert_eq!(laws::waits_are_exact(&bucket(Defect::TtlHalved), &forward()).unwrap_err().law, 5);
}

#[test]
fn a_clock_that_steps_back_refills_nothing() {
    assert_eq!(laws::time_may_step_back(&bucket(Defect::StepBackRefills), &run()).unwrap_err().law, 7);
}

#[test]
fn an_ignored_cost_is_caught() {
    assert_eq!(laws::too_large_is_never(&bucket(Defect::CostIgnored), &run()).unwrap_err().law, 8);
    assert_eq!(laws::never_over(&bucket(Defect::CostIgnored), &forward()).unwrap_err().law, 2);
}

#[test]
fn an_overflow_that_wraps_is_caught() {
    // 2³² / 13 costs nearly nothing once it has wrapped.
    let huge = [Step::new(Timestamp::EPOCH, 330_382_100)];
    assert_eq!(laws::too_large_is_never(&bucket(Defect::OverflowWraps), &huge).unwrap_err().law, 8);
}

#[test]
fn a_refund_that_does_not_invert_is_caught() {
    assert_eq!(laws::refund_inverts(&bucket(Defect::RefundAboveFull), &forward()).unwrap_err().law, 9);
    assert_eq!(laws::refund_inverts(&bucket(Defect::RefundTooLate), &forward()).unwrap_err().law, 9);
}

#[test]
fn a_limit_that_forgets_when_changed_is_caught() {
    assert_eq!(broken(Defect::ForgetsOnChange), Some(12));
}

/// A state whose last bytes are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Truncated(Filling);

impl State for Truncated {
    const MAX_LEN: usize = 1 + 16;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(TAG);
        out.bytes(&self.0.full_at.to_le_bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        input.tag(TAG)?;
        Ok(Self(Filling { full_at: u128::from_le_bytes(input.bytes()?), ..Filling::default() }))
    }
}

#[derive(Clone, Copy, Debug)]
struct Forgetful(Bucket);

impl Strategy for Forgetful {
    type State = Truncated;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = ();

    fn decide(&self, state: &mut Truncated, hit: &Hit, now: Timestamp) -> Decision {
        self.0.decide(&mut state.0, hit, now)
    }

    fn charge(&self, state: &mut Truncated, hit: &Hit, now: Timestamp) {
        self.0.charge(&mut state.0, hit, now);
    }

    fn refund(&self, state: &mut Truncated, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.0.refund(&mut state.0, hit, receipt, now);
    }

    fn fresh_at(&self, state: &Truncated, class: Class) -> Timestamp {
        self.0.fresh_at(&state.0, class)
    }

    fn horizon(&self) -> u64 {
        self.0.horizon()
    }

    fn stat(&self, _: &Truncated, _: Class, _: Timestamp) {}
}

#[test]
fn a_codec_that_loses_something_is_caught() {
    let forgetful = Forgetful(bucket(Defect::StateTruncated));
    assert_eq!(laws::codec_round_trips(&forgetful, &run()).unwrap_err().law, 10);
}

/// A storage that keeps one state for all keys.
struct OneForAll(Fixed<Bucket, ManualClock, 4>);

impl traffik::Storage<Bucket> for OneForAll {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn apply<K: traffik::Key + ?Sized>(
        &self,
        limit: &Bucket,
        _: &K,
        op: &traffik::Op<Bucket>,
        now: Timestamp,
    ) -> Result<Decision, traffik::StorageError> {
        self.0.apply(limit, "one", op, now)
    }

    fn load<K: traffik::Key + ?Sized>(&self, _: &K) -> Result<Filling, traffik::StorageError> {
        self.0.load("one")
    }
}

#[test]
fn a_storage_that_mixes_keys_is_caught() {
    let limit = bucket(Defect::SharesOneState);
    let new = || Fixed::new(ManualClock::default(), 1).when_full(WhenFull::Refuse);
    let agrees = |storage: &OneForAll, key| laws::storage_agrees(&limit, storage, key, &forward());
    let mixed = OneForAll(new());
    assert_eq!(agrees(&mixed, "a"), Ok(()));
    assert_eq!(agrees(&mixed, "b").unwrap_err().law, 11);
    let own = new();
    assert_eq!(laws::storage_agrees(&limit, &own, "a", &forward()), Ok(()));
    assert_eq!(laws::storage_agrees(&limit, &own, "b", &forward()), Ok(()));
}

#[test]
fn what_is_broken_is_told() {
    let told = Broken { law: 2, step: 7, what: "more was admitted than the bound" };
    assert_eq!(told.to_string(), "law 2 is broken at step 7: more was admitted than the bound");
    let outcome =
        bucket(Defect::None).decide(&mut Filling::default(), &Hit::new(9), Timestamp::EPOCH).outcome();
    assert_eq!(outcome, Outcome::Never);
    assert_eq!(Verdict::pressure(&Decision::unlimited()), 0);
}
