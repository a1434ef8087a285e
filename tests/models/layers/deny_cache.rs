//! `DenyCache`, over a store with a delay on demand, in virtual time: its answers, their ends, and the keys
//! that it forgets.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use traffik::layer::{Breaker, CallCounters, CallResult, DenyCache, Instrumented, Operation, StorageExt};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, MultiKeyReply, MultiKeyVerdict, Reply};
use traffik::strategy::{All, Composite, DecisionList, Erased, ErasedScale, ErasedStrategy};
use traffik::{
    Adaptive, AsyncLimiter, Class, Cost, Decision, ErrorKind, FixedWindow, Gcra, Hit, Label, Op, Origin,
    Outcome, Ratio, Scale, SlidingWindow, Strategy, TokenBucket, Verdict, rate,
};

use traffik_test_support::faulty::{self, Course, Faulty, MILLI, SECOND, after, slow};

struct Setup<S: Strategy> {
    runtime: Manual,
    faulty: Faulty<S>,
    limits: AsyncLimiter<S, DenyCache<S, Faulty<S>>>,
}

fn setup<S: Strategy + PartialEq>(strategy: S) -> Setup<S> {
    setup_for(strategy, 1_000)
}

fn setup_for<S: Strategy + PartialEq>(strategy: S, keys: usize) -> Setup<S> {
    let runtime = Manual::new();
    let faulty = Faulty::new(&runtime);
    let storage = DenyCache::builder(faulty.clone()).keys(keys).clock(runtime.clone()).seed(7).build();
    Setup { limits: AsyncLimiter::new(strategy, storage), runtime, faulty }
}

/// Two in 80 s: a hit costs 40 s.
fn bucket() -> Setup<TokenBucket> {
    setup(TokenBucket::new(rate!("2/80s")))
}

impl<S: Strategy + PartialEq> Setup<S> {
    fn run<A>(&self, reply: Reply<A>) -> A {
        self.runtime.run(reply).unwrap().unwrap()
    }

    fn check(&self, key: &str) -> S::Verdict {
        self.run(self.limits.check(key))
    }

    /// Uses the limit up, until a denial is remembered.
    fn exhaust(&self, key: &str) -> <S::Verdict as Verdict>::Receipt {
        let mut receipt = None;
        loop {
            let verdict = self.check(key);
            if !verdict.outcome().is_allowed() {
                return receipt.unwrap();
            }
            receipt = Some(verdict.receipt());
        }
    }

    /// Whether a call asks the store.
    fn asks<A>(&self, call: impl FnOnce() -> A) -> bool
    where
        A: Future,
    {
        let before = self.faulty.calls();
        let _ = self.runtime.run(call()).unwrap();
        self.faulty.calls() != before
    }

    fn asks_to_check(&self, key: &str) -> bool {
        self.asks(|| self.limits.check(key))
    }
}

/// Leaves a call on its way.
fn start<F: Future + Unpin>(mut call: F) -> F {
    assert!(pin!(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    call
}

/// The whole verdict without its origin and without the receipts: those of a denial mean nothing.
fn told(verdict: &impl Verdict) -> String {
    let mut told = format!("{:?}", verdict.outcome());
    let verdict = verdict.clone().with_origin(Origin::Store);
    verdict.for_each(&mut |decision| told.push_str(&format!(", {decision:?}")));
    told
}

/// Asks a store again and again until it admits, and compares each answer with what the store would say.
/// Where several limits deny, the store may be asked once more for each whose wait is over before that of
/// all.
fn hammer<S: Strategy + PartialEq>(strategy: S, limits: u32) {
    let it = setup(strategy.clone());
    let honest = it.faulty.honest(strategy);
    it.exhaust("key");
    let Outcome::Deny { retry_after } = it.check("key").outcome() else { unreachable!("it is used up") };
    let asked = it.faulty.calls();
    let step = Duration::from_micros(retry_after.as_micros() as u64 / 98);
    for _ in 0..97 {
        it.runtime.advance(step);
        let truth = it.run(honest.peek("key", S::Cost::uniform(1)));
        let before = it.faulty.calls();
        let denied = it.check("key");
        assert_eq!(told(&denied), told(&truth));
        assert_eq!(denied.origin() == Origin::DenyCache, it.faulty.calls() == before);
    }
    // The wait is over when the store says so, and not a microsecond later.
    let Outcome::Deny { retry_after } = it.check("key").outcome() else { unreachable!("not yet over") };
    it.runtime.advance(retry_after - Duration::from_micros(1));
    assert!(!it.check("key").outcome().is_allowed());
    assert!(it.faulty.calls() < asked + limits, "{} calls", it.faulty.calls() - asked);
    let asked = it.faulty.calls();
    it.runtime.advance(Duration::from_micros(1));
    assert!(it.check("key").outcome().is_allowed());
    assert_eq!(it.faulty.calls(), asked + 1);
}

#[test]
fn who_hammers_is_told_what_the_store_would_say_and_costs_it_nothing() {
    hammer(TokenBucket::new(rate!("3/7s")), 1);
    hammer(Gcra::new(rate!("3/7s")), 1);
    hammer(FixedWindow::new(rate!("5/min")), 1);
    hammer(SlidingWindow::new(rate!("5/min")), 1);
    hammer((Gcra::new(rate!("7/s")), Gcra::new(rate!("2/s"))), 2);
    hammer(All([FixedWindow::new(rate!("5/min")), FixedWindow::new(rate!("5/h"))]), 2);
}

#[test]
fn a_limit_chosen_at_run_time_is_remembered_like_any_other() {
    let bucket: Arc<dyn ErasedScale<64>> = Arc::new(TokenBucket::new(rate!("3/7s")));
    hammer(Erased::new(Arc::clone(&bucket)), 1);
    hammer(Erased::new(bucket).scaled(Ratio::new(1, 3).unwrap()).unwrap(), 1);
    let pair: Arc<dyn ErasedStrategy<64, Composite<DecisionList<2>>>> =
        Arc::new(All([FixedWindow::new(rate!("5/min")), FixedWindow::new(rate!("5/h"))]));
    hammer(Erased::<_, 64>::new(pair), 2);
}

#[test]
fn a_limit_chosen_at_run_time_is_the_same_while_it_is_the_same_value() {
    let chosen = |rate| Erased::<Arc<dyn ErasedScale<64>>, 64>::new(Arc::new(TokenBucket::new(rate)));
    let limit = chosen(rate!("2/80s"));
    let it = setup(limit.clone());
    it.exhaust("key");
    let check = |limit: &_| it.asks(|| it.limits.storage().apply(limit, &"key", &Op::Check(Hit::new(1))));
    assert!(!check(&limit), "a clone");
    assert!(check(&chosen(rate!("4/80s"))), "raised");
    assert!(check(&limit.scaled(Ratio::new(2, 1).unwrap()).unwrap()), "scaled");
    // Nothing is known of what it took over, and when that ends.
    let after = chosen(rate!("2/80s")).migrating_from(Arc::new(FixedWindow::new(rate!("2/80s"))));
    let it = setup(after);
    it.exhaust("key");
    assert!(it.asks_to_check("key"));
}

#[test]
fn only_the_same_limit_and_class_at_no_lower_cost() {
    let it = setup(TokenBucket::new(rate!("8/80s")));
    let _ = it.run(it.limits.check_n("key", 6));
    let denied = it.run(it.limits.check_n("key", 4));
    assert_eq!((denied.retry_after(), denied.remaining()), (Some(20 * SECOND), 2));
    let told = it.run(it.limits.check_n("key", 5));
    assert_eq!(told, denied, "the least that a larger cost has to wait");
    assert_eq!(it.limits.storage().answered(), 1);
    assert!(it.asks(|| it.limits.check_n("key", 3)), "a lower cost");
    assert_eq!(
        it.run(it.limits.check_n("key", 9)).outcome(),
        Outcome::Never,
        "no promise to what never passes"
    );

    let hit = Hit::new(3);
    let storage = it.limits.storage();
    assert!(!it.asks(|| storage.apply(it.limits.strategy(), &"key", &Op::Check(hit))));
    let mut other = Class::default();
    other.tier = Label(1);
    assert!(it.asks(|| storage.apply(it.limits.strategy(), &"key", &Op::Check(hit.with_class(other)))));
    let raised = TokenBucket::new(rate!("16/80s"));
    let admitted = it.run(storage.apply(&raised, &"key", &Op::Check(hit)));
    assert!(admitted.is_allowed(), "a limit that was raised is another one");
    assert!(it.asks(|| it.limits.check_n("key", 4)), "what was admitted meanwhile changed the state");
    assert!(it.asks(|| it.limits.check_n("other", 4)));
}

#[test]
fn peeks_and_looks_are_never_answered_here_nor_remembered() {
    let it = bucket();
    it.exhaust("key");
    assert!(it.asks(|| it.limits.peek("key", 1)));
    let before = it.faulty.calls();
    it.runtime.run(it.limits.stat("key")).unwrap().unwrap();
    assert_eq!(it.faulty.calls(), before + 1);
    let it = bucket();
    let _ = it.run(it.limits.charge("key", 2));
    assert_eq!(it.run(it.limits.peek("key", 1)).remaining(), 0);
    assert_eq!(it.limits.storage().remembered(), 0);
}

#[test]
fn this_process_refunds_resets_and_charges_are_seen_at_once_and_others_when_the_wait_is_over() {
    let it = bucket();
    let receipt = it.exhaust("key");
    assert!(!it.asks_to_check("key"));
    let _ = it.run(it.limits.refund("key", 1, receipt));
    assert!(it.check("key").is_allowed());
    it.exhaust_again("key");
    let _ = it.run(it.limits.reset("key"));
    assert!(it.check("key").is_allowed() && it.check("key").is_allowed());
    it.exhaust_again("key");
    let _ = it.run(it.limits.charge("key", 1));
    assert!(it.asks_to_check("key"));

    it.exhaust_again("key");
    let elsewhere = it.faulty.honest(TokenBucket::new(rate!("2/80s")));
    let told = it.check("key").retry_after().unwrap();
    let _ = it.run(elsewhere.reset("key"));
    it.runtime.advance(told - Duration::from_micros(1));
    assert!(!it.check("key").is_allowed());
    it.runtime.advance(Duration::from_micros(1));
    assert!(it.check("key").is_allowed());
}

impl Setup<TokenBucket> {
    fn exhaust_again(&self, key: &str) {
        while self.check(key).is_allowed() {}
        assert!(!self.asks_to_check(key));
    }
}

#[test]
fn a_denial_that_is_overtaken_by_a_refund_or_a_reset_is_not_remembered() {
    for is_reset in [false, true] {
        let it = bucket();
        let receipt = it.check("key").receipt();
        let _ = it.run(it.limits.charge("key", 1));
        // Decided before the refund, and answered after it.
        it.faulty.next(&[Course { takes: [MILLI, SECOND], ..faulty::WELL }]);
        let late = start(it.limits.check("key"));
        it.runtime.advance(2 * MILLI);
        let reply = if is_reset { it.limits.reset("key") } else { it.limits.refund("key", 1, receipt) };
        let _ = it.run(reply);
        assert!(!it.run(late).is_allowed(), "it was denied");
        assert_eq!(it.limits.storage().remembered(), 0);
        assert!(it.check("key").is_allowed(), "and that holds no more");
    }
}

#[test]
fn a_denial_that_was_answered_before_the_refund_arrives_is_forgotten_with_it() {
    let it = bucket();
    let receipt = it.exhaust("key");
    it.faulty.next(&[slow(SECOND)]);
    let refund = start(it.limits.refund("key", 1, receipt));
    assert!(!it.check("key").is_allowed(), "the refund is on its way, and forgot what was known so far");
    assert!(!it.asks_to_check("key"));
    assert!(it.runtime.run(refund).unwrap().is_ok());
    assert!(it.check("key").is_allowed());

    // One whose outcome is unknown is forgotten too, and so is one that nobody waits for.
    for is_dropped in [false, true] {
        let it = bucket();
        let receipt = it.exhaust("key");
        it.faulty.next(&[Course { takes: [MILLI, MILLI], ..after(ErrorKind::Timeout) }]);
        let refund = start(it.limits.refund("key", 1, receipt));
        assert!(!it.check("key").is_allowed());
        it.runtime.advance(MILLI);
        if is_dropped {
            drop(refund);
        } else {
            assert!(it.runtime.run(refund).unwrap().is_err());
        }
        assert!(it.check("key").is_allowed());
    }
}

#[test]
fn a_denial_holds_from_when_it_was_asked_for() {
    let it = bucket();
    let elsewhere = it.faulty.honest(TokenBucket::new(rate!("2/80s")));
    let _ = it.run(elsewhere.charge("key", 2));
    it.faulty.next(&[slow(SECOND)]);
    let denied = it.check("key");
    assert_eq!(denied.retry_after(), Some(39 * SECOND), "as decided a second after it was asked");
    // Two seconds have gone by since it was asked, and the store would say 38 s.
    assert_eq!(it.check("key").retry_after(), Some(37 * SECOND));
    it.runtime.advance(37 * SECOND);
    assert!(it.asks_to_check("key"));
    assert_eq!(it.check("key").retry_after(), Some(SECOND));
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_over_first_gives_way() {
    let it = setup_for(Gcra::new(rate!("1/80s")), 8);
    it.exhaust("first");
    for n in 0..100 {
        it.runtime.advance(Duration::from_micros(1));
        it.exhaust(&format!("key {n}"));
    }
    assert_eq!(it.limits.storage().remembered(), 8);
    assert!(it.asks_to_check("first"));
    assert!((93..100).all(|n| !it.asks_to_check(&format!("key {n}"))));
}

impl Setup<TokenBucket> {
    /// The verdicts of two keys together, and whether the store was asked.
    fn both(&self, keys: [&'static str; 2], cost: u32) -> (MultiKeyVerdict<Decision, 2>, bool) {
        let before = self.faulty.calls();
        let told = self.runtime.run(self.limits.check_together([&keys[0], &keys[1]], cost)).unwrap().unwrap();
        (told, self.faulty.calls() != before)
    }
}

#[test]
fn who_hammers_with_several_keys_at_once_costs_the_store_nothing() {
    let it = bucket();
    let receipt = it.exhaust("a");
    let (first, asked) = it.both(["a", "b"], 1);
    assert!(!first.is_allowed() && asked, "nothing is known of b");
    it.runtime.advance(SECOND);
    let (both, asked) = it.both(["a", "b"], 1);
    let truth =
        it.runtime.run(it.faulty.honest(*it.limits.strategy()).check_together([&"a", &"b"], 1)).unwrap();
    assert_eq!(both.verdicts.map(|it| told(&it)), truth.unwrap().verdicts.map(|it| told(&it)));
    assert!(!both.is_allowed() && !asked);
    assert!(both.verdicts.iter().all(|it| it.origin() == Origin::DenyCache));
    assert!(!it.both(["b", "a"], 1).1 && !it.asks_to_check("a"));
    assert!(it.both(["b", "a"], 2).1, "b may deny another cost");
    assert!(it.check("b").is_allowed(), "b alone is asked about, and changed by that");
    assert!(it.both(["a", "b"], 1).1);
    assert!(!it.both(["a", "b"], 1).1);
    let _ = it.run(it.limits.refund("a", 1, receipt));
    let (told, asked) = it.both(["a", "b"], 1);
    assert!(told.is_allowed() && asked);

    // It ends with the first wait that does.
    let it = bucket();
    it.exhaust("a");
    it.runtime.advance(SECOND);
    it.exhaust("b");
    let _ = it.both(["a", "b"], 1);
    it.runtime.advance(39 * SECOND - Duration::from_micros(1));
    assert!(!it.both(["a", "b"], 1).1);
    it.runtime.advance(Duration::from_micros(1));
    let (told, asked) = it.both(["a", "b"], 1);
    assert!(told.verdicts[0].is_allowed() && !told.is_allowed() && asked);
}

#[test]
fn a_key_that_is_named_twice_tells_nothing_of_itself() {
    let it = bucket();
    assert!(it.check("a").is_allowed());
    assert!(!it.both(["a", "a"], 1).0.is_allowed());
    assert!(it.both(["a", "a"], 1).1, "never remembered");
    assert!(it.check("a").is_allowed());
}

#[test]
fn several_keys_one_of_which_is_refunded_meanwhile_are_not_remembered() {
    let it = bucket();
    let receipt = it.exhaust("a");
    let _ = it.run(it.limits.charge("a", 1));
    it.faulty.next(&[Course { takes: [MILLI, SECOND], ..faulty::WELL }]);
    let mut late = Box::pin(it.limits.check_together([&"a", &"b"], 1));
    assert!(late.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    it.runtime.advance(2 * MILLI);
    let _ = it.run(it.limits.refund("a", 1, receipt));
    assert!(!it.runtime.run(late).unwrap().unwrap().is_allowed());
    assert_eq!(it.limits.storage().remembered(), 1, "b alone");
    assert!(it.both(["a", "b"], 1).1);
}

#[test]
fn who_records_demand_is_always_passed_on() {
    let it = setup(Adaptive::new(rate!("2/80s")));
    it.exhaust("key");
    assert!((0..10).all(|_| it.asks_to_check("key")));
    assert!((0..10).all(|_| it.asks(|| it.limits.check_together([&"key", &"b"], 1))));
    assert_eq!(it.limits.storage().remembered(), 0);
    let chosen: Arc<dyn ErasedStrategy<64>> = Arc::new(Adaptive::new(rate!("2/80s")));
    let it = setup(Erased::<_, 64>::new(chosen));
    it.exhaust("key");
    assert!((0..10).all(|_| it.asks_to_check("key")));
}

#[test]
fn what_is_done_with_a_key_under_a_limit_that_records_demand_is_seen_under_all_others() {
    let chosen = |limit: Arc<dyn ErasedStrategy<64>>| Erased::<_, 64>::new(limit);
    let bucket = chosen(Arc::new(TokenBucket::new(rate!("2/80s"))));
    let adaptive = chosen(Arc::new(Adaptive::new(rate!("2/80s"))));
    let hit = Hit::new(1);
    for op in [Op::Charge(hit), Op::Refund(hit, Default::default()), Op::Reset, Op::Check(hit)] {
        let it = setup(bucket.clone());
        it.exhaust("key");
        assert!(!it.asks_to_check("key"));
        let _ = it.run(it.limits.storage().apply(&adaptive, &"key", &Op::Peek(hit)));
        assert!(!it.asks_to_check("key"), "nothing was changed");
        let _ = it.run(it.limits.storage().apply(&adaptive, &"key", &op));
        assert!(it.asks_to_check("key"), "{op:?}");
    }
    let it = setup(bucket);
    it.exhaust("key");
    let together = it.limits.storage().check_together(&adaptive, &[&"key", &"b"], &hit);
    let MultiKeyReply::Atomic(told) = it.run(together) else { unreachable!("memory can") };
    assert!(told.iter().all(|it| it.outcome().is_allowed()));
    assert!(it.asks_to_check("key"));
}

#[test]
fn what_is_cleared_is_asked_for_again_also_if_a_denial_is_on_its_way() {
    let it = bucket();
    for key in ["a", "b", "c"] {
        it.exhaust(key);
    }
    let _ = it.run(it.limits.charge("d", 2));
    it.faulty.next(&[Course { takes: [MILLI, SECOND], ..faulty::WELL }]);
    let other = start(it.limits.check("d"));
    it.runtime.advance(2 * MILLI);
    it.faulty.restart();
    it.limits.storage().clear();
    assert!(!it.run(other).is_allowed(), "it was denied");
    assert_eq!(it.limits.storage().remembered(), 0);
    assert!(["a", "b", "c", "d"].into_iter().all(|key| it.check(key).is_allowed()));
}

#[test]
fn what_it_knows_is_there_at_once_and_all_else_is_delegated() {
    let it = bucket();
    it.exhaust("key");
    it.faulty.always(slow(SECOND));
    assert!(matches!(it.limits.check("key"), Reply::Ready(Some(Ok(denied))) if !denied.is_allowed()));
    assert!(matches!(it.limits.check("other"), Reply::Pending(_)));
    let storage: &dyn AsyncStorage<TokenBucket> = it.limits.storage();
    assert!(storage.is_local() && storage.wait_queue().is_some());
}

/// A denial of the cache itself is known without a call, and equals that of the store; a denial that it does
/// not know is not asked for.
#[test]
fn what_it_knows_can_be_asked_for_alone() {
    let it = bucket();
    let calls = CallCounters::default();
    let metered = Instrumented::with_clock(it.limits.storage().clone(), calls.clone(), it.runtime.clone());
    let limit = *it.limits.strategy();
    let known = |cost| metered.known_denial(&limit, &"key", &Hit::new(cost));
    assert_eq!(known(1), None);
    assert_eq!(it.faulty.calls(), 0);
    it.exhaust("key");
    it.runtime.advance(SECOND);
    let (asked, answered) = (it.faulty.calls(), it.limits.storage().answered());
    let denied = known(1).unwrap();
    assert_eq!((it.faulty.calls(), it.limits.storage().answered()), (asked, answered + 1));
    assert_eq!(calls.count(Operation::Check, CallResult::Denied), 1);
    assert_eq!(told(&denied), told(&it.check("key")));
    assert_eq!(metered.known_denial(&limit, &"other", &Hit::new(1)), None);
    let layers = (it.limits.storage().clone())
        .with_timeout(it.runtime.clone(), SECOND)
        .with_retry(it.runtime.clone())
        .with_breaker(&Breaker::new("store"))
        .with_fallback(Faulty::new(&it.runtime));
    assert!(
        layers.known_denial(&limit, &"key", &Hit::new(1)).is_some(),
        "every layer passes the question on"
    );
    let demanding = setup(Adaptive::new(rate!("2/80s")));
    demanding.exhaust("key");
    let limit = *demanding.limits.strategy();
    assert!(demanding.limits.storage().known_denial(&limit, &"key", &Hit::new(1)).is_none());
}

#[test]
fn a_failure_is_told_and_nothing_remembered_of_it() {
    let it = bucket();
    it.faulty.always(faulty::before(ErrorKind::Unavailable));
    for calls in 1..5 {
        assert!(it.runtime.run(it.limits.check("key")).unwrap().is_err());
        assert_eq!((it.faulty.calls(), it.limits.storage().remembered()), (calls, 0));
    }
}
