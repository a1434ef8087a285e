//! The laws bite: strategies with one known defect each, and the law that catches it.

use crate::broken::{Bucket, Coded, Defect, Filling};
use traffik::laws::{self, BrokenLaw, Step};
use traffik::storage::WhenFull;
use traffik::strategy::encode;
use traffik::{Decision, Fixed, Hit, ManualClock, Outcome, State, Strategy, Timestamp, Verdict};

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

/// The finding of a law, if any.
fn found(held: Result<(), BrokenLaw>) -> Option<(u8, &'static str)> {
    held.err().map(|broken| (broken.law, broken.what))
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
    let law = |defect| found(laws::refund_inverts(&bucket(defect), &forward()));
    assert_eq!(law(Defect::RefundAboveFull), Some((9, "a refund left more than a full limit")));
    assert_eq!(law(Defect::RefundTooLate), Some((9, "a refund came too late and freed what others use")));
}

#[test]
fn a_limit_that_forgets_when_changed_is_caught() {
    assert_eq!(broken(Defect::ForgetsOnChange), Some(12));
}

/// A bucket that is slower alone is begun anew by whichever limit comes next.
#[test]
fn limits_that_reset_one_another_are_caught() {
    let law = |defect| {
        let limit = bucket(defect);
        let run: Vec<_> = (0..40).map(|at| Step::new(Timestamp::from_micros(at), 1)).collect();
        found(laws::limits_may_alternate(&limit, &Bucket { interval: 9, ..limit }, &run))
    };
    assert_eq!(law(Defect::None), None);
    let told = "limits that alternate admitted more than the larger one";
    assert_eq!(law(Defect::ForgetsOnChange), Some((12, told)));
}

/// Two a day, so to speak, and one that comes more often: time before the change is not the other's, nor is
/// time after it.
#[test]
fn a_past_that_counts_at_another_rate_is_caught() {
    let law = |defect| {
        let limit = bucket(defect);
        let run: Vec<_> = (0..60).map(|at| Step::new(Timestamp::from_micros(at * 3 % 50 + at), 2)).collect();
        found(laws::change_is_settled(&limit, &Bucket { interval: 9, ..limit }, &run))
    };
    assert_eq!(law(Defect::None), None);
    let told = "time before a change did not count at the old rate";
    for defect in [Defect::GrantsThePast, Defect::NeverSettles] {
        assert_eq!(law(defect), Some((12, told)), "{defect:?}");
    }
}

#[test]
fn a_codec_that_does_not_bring_a_state_back_is_caught() {
    let coded = bucket(Defect::None);
    let caught = [
        laws::codec_round_trips(&Coded::<0>(coded), &run()),
        laws::codec_round_trips(&Coded::<1>(coded), &run()),
        laws::codec_round_trips(&Coded::<2>(coded), &run()),
        // The bytes of one are read as a state that another way of writing then loses a part of.
        laws::any_bytes_decode_or_are_refused(&Coded::<0>(coded), &written(), &[]),
    ];
    let told = [
        "a state changed when it was encoded and decoded",
        "the beginning of an encoded state was decoded as a whole one",
        "the encoded state is longer than MAX_LEN",
        "a state changed when it was encoded and decoded",
    ];
    assert_eq!(caught.map(found), told.map(|told| Some((10, told))));
    assert_eq!(laws::any_bytes_decode_or_are_refused(&coded, &written(), &run()), Ok(()));
}

#[test]
fn a_constant_that_is_not_the_state_of_a_key_never_seen_is_caught() {
    let coded = bucket(Defect::None);
    let told = "the constant state of a key never seen differs from the default";
    assert_eq!(found(laws::pure(&Coded::<4>(coded), &run())), Some((1, told)));
    assert_eq!(laws::pure(&Coded::<3>(coded), &run()), Ok(()));
}

/// The bytes of a bucket that is not full.
fn written() -> Vec<u8> {
    let mut state = Filling::default();
    let _ = bucket(Defect::None).decide(&mut state, &Hit::new(3), Timestamp::from_micros(7));
    let mut bytes = vec![0; Filling::MAX_LEN];
    let length = encode(&state, &mut bytes);
    bytes.truncate(length.unwrap_or(0));
    bytes
}

#[test]
fn demand_recorded_again_and_again_is_caught() {
    let caught = laws::denial_is_free(&Coded::<3>(bucket(Defect::ChargesDenials)), &run());
    assert_eq!(found(caught), Some((4, "the same demand was recorded twice, or changed the decision")));
    assert_eq!(laws::denial_is_free(&Coded::<3>(bucket(Defect::None)), &run()), Ok(()));
}

#[test]
fn a_state_brought_forward_wrongly_is_caught() {
    let law = |defect| found(laws::advance_is_invisible(&bucket(defect), &forward()));
    assert_eq!(law(Defect::None), None);
    assert_eq!(law(Defect::AdvanceForgets), Some((12, "a state brought forward decided differently")));
    let kept = "a state brought forward to expires_at is not the default";
    assert_eq!(law(Defect::AdvanceKeepsTheFresh), Some((12, kept)));
}

/// Defects that no other test here names, and what the laws say of them.
#[test]
fn whatever_a_law_forbids_is_caught() {
    type Law = fn(&Bucket, &[Step]) -> Result<(), BrokenLaw>;
    let laws: [(Law, Defect, u8, &str); 16] = [
        (laws::pure, Defect::PeeksAtAnotherCost, 1, "a peek differs from the check"),
        (laws::waits_are_exact, Defect::NoWait, 5, "a denial has a wait of 0"),
        (laws::waits_are_exact, Defect::ChargesDenials, 5, "still denied after the promised wait"),
        (laws::expiry_is_invisible, Defect::TtlDoubled, 6, "the state was fresh before expires_at"),
        (laws::denial_is_free, Defect::ChargesNothing, 8, "a hit of cost 0 changed the state"),
        (laws::denial_is_free, Defect::DeniesNothing, 8, "a hit of cost 0 was denied"),
        (
            laws::too_large_is_never,
            Defect::FreshKeyWaits,
            8,
            "a fresh key has to wait, but the limit is not about to grow",
        ),
        (
            laws::too_large_is_never,
            Defect::NeverWhileInUse,
            8,
            "the verdict is Never, but a fresh key would be admitted, or the reverse",
        ),
        (laws::refund_inverts, Defect::RefundsNothing, 9, "a refunded check left a trace"),
        (laws::refund_inverts, Defect::RefundsTwice, 9, "a refund freed more than it had taken"),
        (laws::refund_inverts, Defect::RefundCharges, 9, "a refund left less than before"),
        (
            laws::clock_may_be_set_back,
            Defect::StaysInTheFuture,
            7,
            "a state from the future lasts longer than max_ttl",
        ),
        (
            laws::clock_may_be_set_back,
            Defect::RebaseStaysAhead,
            7,
            "a state from the future lasts longer than max_ttl",
        ),
        (
            laws::clock_may_be_set_back,
            Defect::RebaseGrants,
            7,
            "moving a state to the present granted something",
        ),
        (
            laws::clock_may_be_set_back,
            Defect::RebasesTheNear,
            7,
            "a state at most 1 s ahead of the clock was moved",
        ),
        (
            laws::time_may_step_back,
            Defect::ChargesDenials,
            7,
            "a clock that stepped back made the wait too long",
        ),
    ];
    // Some defects show in a bucket that is soon empty, some in one that is not.
    let runs = [forward(), (0..3).map(|at| Step::new(Timestamp::from_micros(at), 1)).collect()];
    for (law, defect, number, what) in laws {
        let told = |defect| runs.iter().find_map(|run| found(law(&bucket(defect), run)));
        assert_eq!((told(Defect::None), told(defect)), (None, Some((number, what))), "{defect:?}");
    }
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
    let limit = bucket(Defect::None);
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
    let told = BrokenLaw { law: 2, step: 7, what: "more was admitted than the bound" };
    assert_eq!(told.to_string(), "law 2 is broken at step 7: more was admitted than the bound");
    let outcome =
        bucket(Defect::None).decide(&mut Filling::default(), &Hit::new(9), Timestamp::EPOCH).outcome();
    assert_eq!(outcome, Outcome::Never);
    assert_eq!(Verdict::pressure(&Decision::unlimited()), 0);
}
