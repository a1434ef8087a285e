//! golang.org/x/time v0.13.0, package `rate`: the tables of its tests, in tenths of a second.
//!
//! A `Limiter` is a [`TokenBucket`] with a burst. A reservation that has to wait takes the tokens at once and
//! owes them: a bucket with a debt, of which the owed tokens say when to act. `CancelAt` is a refund by
//! receipt, `SetLimitAt` a state that is brought forward at the old rate.

use traffik::strategy::Scale;
use traffik::{
    Class, Decision, Hit, LeakyBucketQueue, Outcome, Rate, Receipt, Strategy, Timestamp, TokenBucket,
};

use super::millis;

fn tenths(tenths: u64) -> Timestamp {
    millis(100 * tenths)
}

fn bucket(per_second: u32, burst: u32) -> TokenBucket {
    TokenBucket::new(Rate::per_second(per_second)).burst(burst).unwrap()
}

/// Whether tokens and answers are those of a table of times, tokens before, tokens asked for, and answers.
fn allows(limit: TokenBucket, rows: &[(u64, i64, u32, bool)]) {
    let mut state = Default::default();
    for (row, &(at, tokens, n, ok)) in rows.iter().enumerate() {
        let stat = limit.stat(&state, Class::default(), tenths(at));
        assert_eq!(stat.tokens, tokens, "row {row}");
        let decision = limit.decide(&mut state, &Hit::new(n), tenths(at));
        assert_eq!(decision.is_allowed(), ok, "row {row}");
    }
}

#[test]
fn the_tables_of_allow_hold() {
    let burst_of_1 = [
        (0, 1, 1, true),
        (0, 0, 1, false),
        (0, 0, 1, false),
        (1, 1, 1, true),
        (1, 0, 1, false),
        (1, 0, 1, false),
        (2, 1, 2, false),
        (2, 1, 1, true),
        (2, 0, 1, false),
    ];
    allows(bucket(10, 1), &burst_of_1);
    let burst_of_3 = [
        (0, 3, 2, true),
        (0, 1, 2, false),
        (0, 1, 1, true),
        (0, 0, 1, false),
        (1, 1, 4, false),
        (2, 2, 1, true),
        (3, 2, 1, true),
        (4, 2, 1, true),
        (4, 1, 1, true),
        (4, 0, 1, false),
        (4, 0, 1, false),
        (9, 3, 3, true),
        (9, 0, 0, true),
    ];
    allows(bucket(10, 3), &burst_of_3);
    allows(bucket(0, 1), &[(0, 1, 1, true), (0, 0, 1, false), (9, 0, 1, false)]);
}

/// There a clock that steps back takes the limiter with it, so that a tenth is granted twice: a token at 1
/// and another at 2. Ours waits until the clock is where it was.
#[test]
fn a_clock_that_steps_back_grants_no_time_twice() {
    let rows = [
        (1, 3, 1, true),
        (0, 2, 1, true),
        (0, 1, 1, true),
        (0, 0, 1, false),
        (0, 0, 1, false),
        (1, 0, 1, false), // there: 1 token, and it is taken
        (2, 1, 1, true),
        (2, 0, 1, false),
        (2, 0, 1, false),
    ];
    allows(bucket(10, 3), &rows);
}

/// 5 seconds of a hit every 2 ms at 100 per second and a burst of 100: there 599 to 601, ours the 600 of the
/// definition less the token that would come at the end.
#[test]
fn a_long_run_gets_the_rate() {
    let (limit, mut state) = (bucket(100, 100), Default::default());
    let admitted =
        (0..2_500).filter(|hit| limit.decide(&mut state, &Hit::new(1), millis(2 * hit)).is_allowed());
    assert_eq!(admitted.count(), 599);
}

/// A limiter that is reserved from: a state, and the limit without its debt.
struct Reserved {
    limit: TokenBucket,
    state: <TokenBucket as Strategy>::State,
}

/// A reservation: what it took, the tenth at which to act, and how to take it back.
struct Reservation {
    hit: Hit,
    act: u64,
    receipt: Receipt,
}

impl Reserved {
    fn new(per_second: u32, burst: u32) -> Self {
        Self { limit: bucket(per_second, burst), state: Default::default() }
    }

    /// Reserves, acting after `most` tokens' time at the latest; `None` if that is too late.
    fn reserve_within(&mut self, at: u64, n: u32, most: u32) -> Option<Reservation> {
        let burst = self.limit.stat(&self.state, Class::default(), tenths(at)).capacity;
        let owing = self.limit.debt(most).unwrap();
        let hit = Hit::new(n);
        let decision: Decision = owing.decide(&mut self.state, &hit, tenths(at));
        if n > burst || !decision.is_allowed() {
            assert!(!decision.is_allowed(), "what exceeds the burst is to exceed the debt, too");
            return None;
        }
        // Until as much is in use as the burst holds.
        let whole = 10 * u64::from(burst) / u64::from(self.limit.rate().limit());
        let act = at + (decision.reset_after().as_millis() as u64 / 100).saturating_sub(whole);
        Some(Reservation { hit, act, receipt: decision.receipt() })
    }

    /// When to act, of a reservation with all the time in the world.
    fn reserve(&mut self, at: u64, n: u32) -> Reservation {
        self.reserve_within(at, n, 100).unwrap()
    }

    /// Takes a reservation back; one that was acted upon stays.
    fn cancel(&mut self, at: u64, reservation: &Reservation) {
        if reservation.act >= at {
            self.limit.refund(&mut self.state, &reservation.hit, reservation.receipt, tenths(at));
        }
    }

    fn allow(&mut self, at: u64, n: u32) -> bool {
        self.limit.decide(&mut self.state, &Hit::new(n), tenths(at)).is_allowed()
    }

    fn set_limit(&mut self, at: u64, per_second: u32, earlier: Option<&mut Reservation>) {
        self.limit.advance(&mut self.state, Class::default(), tenths(at));
        if let Some(Reservation { receipt, .. }) = earlier {
            self.limit.advance_receipt(receipt, Class::default(), tenths(at));
        }
        let burst = self.limit.stat(&self.state, Class::default(), tenths(at)).capacity;
        self.limit = bucket(per_second, burst);
    }
}

#[test]
fn reservations_act_when_their_tokens_are_there() {
    let mut it = Reserved::new(10, 2);
    assert_eq!([it.reserve(0, 2).act, it.reserve(0, 2).act, it.reserve(3, 2).act], [0, 2, 4]);
    // Mixed with hits that do not wait.
    let mut it = Reserved::new(10, 2);
    assert!(it.reserve_within(0, 3, 0).is_none(), "more than the burst");
    assert_eq!(it.reserve(0, 2).act, 0);
    assert!(!it.allow(1, 2));
    assert_eq!(it.reserve(1, 2).act, 2);
    assert!(!it.allow(1, 1) && it.allow(3, 1));
    // Only so far into the future.
    let mut it = Reserved::new(10, 2);
    let mut within = || it.reserve_within(0, 1, 1).map(|reservation| reservation.act);
    assert_eq!([within(), within(), within(), within()], [Some(0), Some(0), Some(1), None]);
}

#[test]
fn a_cancelled_reservation_is_given_back_until_it_acts() {
    // A denied hit gives nothing back.
    let mut it = Reserved::new(10, 2);
    assert_eq!(it.reserve(0, 2).act, 0);
    assert!(it.reserve_within(0, 3, 0).is_none());
    assert_eq!(it.reserve(0, 2).act, 2);
    // The last one, in time and too late.
    let mut it = Reserved::new(10, 2);
    let (_, last) = (it.reserve(0, 2), it.reserve(0, 2));
    it.cancel(1, &last);
    assert_eq!(it.reserve(1, 2).act, 2);
    let mut it = Reserved::new(10, 2);
    let (_, last) = (it.reserve(0, 2), it.reserve(0, 2));
    it.cancel(3, &last);
    assert_eq!(it.reserve(3, 2).act, 4);
}

/// `CancelAt` keeps as much as was reserved after, because those behind have been told when to act. A debt is
/// owed by hits that have passed, so ours gives back all of a charge that is still in use, and never more.
#[test]
fn a_debt_gives_back_what_is_still_in_use() {
    // There 0 tokens come back, and the next acts at 3.
    let mut it = Reserved::new(10, 2);
    let (_, second, _) = (it.reserve(0, 2), it.reserve(0, 1), it.reserve(0, 1));
    it.cancel(0, &second);
    assert_eq!(it.reserve(0, 1).act, 2);
    // There 1 token comes back, and the next acts at 4.
    let mut it = Reserved::new(10, 2);
    let (_, second, _) = (it.reserve(0, 2), it.reserve(0, 2), it.reserve(0, 1));
    it.cancel(2, &second);
    assert_eq!(it.reserve(2, 2).act, 3);
    // There 1 and 2 tokens come back, as if the last had never been, and the next acts at 5.
    let mut it = Reserved::new(10, 4);
    let (_, a, _, c) = (it.reserve(0, 4), it.reserve(0, 3), it.reserve(0, 1), it.reserve(0, 1));
    it.cancel(1, &c);
    it.cancel(1, &a);
    assert_eq!(it.reserve(1, 3).act, 4);
}

/// In a queue, whose turns are fixed, only the last place comes back: with a burst of 1 as in `CancelAt`.
#[test]
fn a_queue_gives_back_its_last_place_alone() {
    let limit = LeakyBucketQueue::new(Rate::per_second(10));
    let mut state = Default::default();
    let reserve = |state: &mut _, at| {
        let decision = limit.decide(state, &Hit::new(1), tenths(at));
        let Outcome::Allow { after } = decision.outcome() else { panic!("{decision:?}") };
        (at + after.as_millis() as u64 / 100, decision.receipt())
    };
    let places = [0; 4].map(|at| reserve(&mut state, at));
    assert_eq!(places.map(|(act, _)| act), [0, 1, 2, 3]);
    limit.refund(&mut state, &Hit::new(1), places[1].1, tenths(0));
    assert_eq!(reserve(&mut state, 0).0, 4, "those behind it have been told");
    let last = reserve(&mut state, 0);
    assert_eq!(last.0, 5);
    limit.refund(&mut state, &Hit::new(1), last.1, tenths(1));
    assert_eq!(reserve(&mut state, 1).0, 5);
}

#[test]
fn a_new_limit_counts_from_when_it_was_set() {
    let mut it = Reserved::new(5, 2);
    assert_eq!([it.reserve(0, 2).act, it.reserve(0, 2).act], [0, 4]);
    it.set_limit(2, 10, None);
    assert_eq!(it.reserve(2, 1).act, 4);
    let mut it = Reserved::new(5, 2);
    let (_, mut last) = (it.reserve(0, 2), it.reserve(0, 2));
    it.set_limit(2, 10, Some(&mut last));
    it.cancel(2, &last);
    assert_eq!(it.reserve(2, 2).act, 3);
    // From nothing to 10 per second: a token after a tenth.
    let mut it = Reserved::new(0, 1);
    assert!(it.allow(0, 1) && !it.allow(0, 1));
    it.set_limit(7, 10, None);
    assert!(!it.allow(7, 1) && it.allow(8, 1));
}

/// `SetBurstAt` keeps the tokens, so 4 that are asked for with half a token owed take 9 tenths. Ours keeps
/// what was used, and a burst that is larger by 2 has 2 more.
#[test]
fn a_new_burst_has_as_much_more() {
    let mut it = Reserved::new(5, 2);
    assert_eq!([it.reserve(0, 2).act, it.reserve(0, 2).act], [0, 4]);
    it.limit = it.limit.burst(4).unwrap();
    assert_eq!(it.limit.stat(&it.state, Class::default(), tenths(3)).tokens, 1);
    assert_eq!(it.reserve(3, 4).act, 3 + 9 - 4);
}
