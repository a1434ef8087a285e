//! `Failover`, over a primary that fails on demand: who decides, who is charged, and how much passes at most.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use traffik::layer::{Failover, FailoverBuilder, FailoverChange};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, Local, MultiKeyReply, Reply};
use traffik::strategy::Level;
use traffik::{
    AsyncLimiter, Decision, ErasedKey, ErrorKind, Hit, Memory, Op, Origin, Ratio, Receipt, Scale, Timestamp,
    TokenBucket, rate,
};

type Store = Local<Arc<Memory<TokenBucket, Manual>>>;

/// Fails on demand, before or after the call took effect.
#[derive(Clone)]
struct Faulty(Store, Arc<Mutex<Option<(ErrorKind, bool)>>>);

impl Faulty {
    fn will(&self, fail: Option<(ErrorKind, bool)>) {
        *self.1.lock().unwrap() = fail;
    }

    fn answer<T>(&self, call: impl FnOnce(&Store) -> Reply<T>) -> Reply<T> {
        match *self.1.lock().unwrap() {
            None => call(&self.0),
            Some((kind, after)) => {
                if after {
                    drop(call(&self.0));
                }
                Reply::ready(Err(BackendError::new(kind, "down")))
            }
        }
    }
}

impl AsyncStorage<TokenBucket> for Faulty {
    fn apply(&self, limit: &TokenBucket, key: &dyn ErasedKey, op: &Op<TokenBucket>) -> Reply<Decision> {
        self.answer(|it| it.apply(limit, key, op))
    }

    fn load(&self, limit: &TokenBucket, key: &dyn ErasedKey) -> Reply<(Level, Timestamp)> {
        self.answer(|it| it.load(limit, key))
    }

    fn check_together(
        &self,
        limit: &TokenBucket,
        keys: &[&dyn ErasedKey],
        hit: &Hit,
    ) -> Reply<MultiKeyReply<Decision>> {
        self.answer(|it| it.check_together(limit, keys, hit))
    }
}

type Builder = FailoverBuilder<TokenBucket, Faulty, Store>;

struct Setup {
    runtime: Manual,
    limits: AsyncLimiter<TokenBucket, Failover<TokenBucket, Faulty, Store>>,
    /// The stores without a failover, and the primary when it answers.
    primary: AsyncLimiter<TokenBucket, Store>,
    faulty: Faulty,
}

const DOWN: Option<(ErrorKind, bool)> = Some((ErrorKind::Unavailable, false));

/// A limit of 8 in 80 s.
fn setup(with: impl FnOnce(Builder) -> Builder) -> Setup {
    let runtime = Manual::new();
    let store = || Local(Arc::new(Memory::builder().clock(runtime.clone()).build()));
    let (limit, primary) = (TokenBucket::new(rate!("8/80s")), store());
    let faulty = Faulty(primary.clone(), Arc::default());
    let storage = with(Failover::builder(faulty.clone(), store()).clock(runtime.clone())).build();
    let (limits, primary) = (AsyncLimiter::new(limit, storage), AsyncLimiter::new(limit, primary));
    Setup { runtime, limits, primary, faulty }
}

impl Setup {
    fn check(&self) -> Result<Decision, BackendError> {
        self.runtime.run(self.limits.check("key")).unwrap()
    }

    /// How many pass until one is denied.
    fn admitted(&self) -> u32 {
        (0..100).take_while(|_| self.check().unwrap().is_allowed()).count() as u32
    }

    /// The remaining cost in the primary, whether or not it can be reached.
    fn left(&self) -> u32 {
        self.runtime.run(self.primary.peek("key", 0)).unwrap().unwrap().remaining()
    }
}

#[test]
fn the_fallback_decides_while_the_primary_is_down_at_a_share_of_the_limit() {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&changes);
    let it = setup(|it| {
        it.instances(4).unwrap().on_change(move |change| {
            heard.lock().unwrap().push(matches!(change, FailoverChange::Away { .. }));
        })
    });
    assert_eq!((it.admitted(), it.limits.storage().is_away()), (8, false));
    it.faulty.will(DOWN);
    assert_eq!((it.admitted(), it.limits.storage().is_away()), (2, true), "a quarter, and cold");
    let (state, _) = it.runtime.run(it.limits.storage().load(it.limits.strategy(), &"key")).unwrap().unwrap();
    assert_ne!(state, Level::default(), "the fallback's");
    it.faulty.will(None);
    assert_eq!((it.admitted(), it.limits.storage().is_away()), (0, false));
    assert_eq!(*changes.lock().unwrap(), [true, false]);
    assert!(setup(|it| it).limits.storage().fallback().is_local());
}

#[test]
fn a_warm_fallback_knows_what_was_used_up() {
    let it = setup(FailoverBuilder::warm);
    for _ in 0..5 {
        assert!(it.check().unwrap().is_allowed());
    }
    it.faulty.will(DOWN);
    assert_eq!(it.admitted(), 3);
}

#[test]
fn what_the_fallback_admitted_is_dropped_or_merged_once() {
    for (merge, left) in [(false, 7), (true, 3)] {
        let it = setup(|it| if merge { it.merge() } else { it });
        it.faulty.will(DOWN);
        for _ in 0..4 {
            assert!(it.check().unwrap().is_allowed());
        }
        it.faulty.will(None);
        for left in [left, left - 1] {
            assert!(it.check().unwrap().is_allowed());
            assert_eq!(it.left(), left, "{merge}");
        }
    }
}

#[test]
fn what_no_limit_would_count_any_more_is_not_merged() {
    let it = setup(FailoverBuilder::merge);
    it.faulty.will(DOWN);
    assert_eq!(it.admitted(), 8);
    it.runtime.advance(Duration::from_secs(80));
    it.faulty.will(None);
    assert_eq!(it.admitted(), 8);
}

#[test]
fn an_unknown_outcome_is_told_unless_going_over_is_asked_for_and_is_never_merged() {
    let unknown = Some((ErrorKind::Timeout, true));
    let it = setup(FailoverBuilder::merge);
    it.faulty.will(unknown);
    assert_eq!(it.check().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(it.left(), 7);

    let it = setup(|it| it.merge().after_timeouts());
    it.faulty.will(unknown);
    assert!(it.check().unwrap().is_allowed());
    it.faulty.will(None);
    assert!(it.check().unwrap().is_allowed());
    assert_eq!(it.left(), 6, "once for each");
}

#[test]
fn an_outcome_that_the_primary_left_unknown_stays_so_where_the_fallback_fails() {
    let runtime = Manual::new();
    let store = || Faulty(Local(Arc::new(Memory::builder().clock(runtime.clone()).build())), Arc::default());
    let (primary, fallback) = (store(), store());
    let storage = Failover::builder(primary.clone(), fallback.clone()).after_timeouts().build();
    let limits = AsyncLimiter::new(TokenBucket::new(rate!("8/80s")), storage);
    primary.will(Some((ErrorKind::Timeout, true)));
    fallback.will(DOWN);
    assert_eq!(runtime.run(limits.check("key")).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    let together = runtime.run(limits.check_together([&"key", &"b"], 1)).unwrap();
    assert_eq!(together.unwrap_err().kind(), ErrorKind::Timeout);
    let peeked = runtime.run(limits.peek("key", 1)).unwrap();
    assert_eq!(peeked.unwrap_err().kind(), ErrorKind::Unavailable, "a peek charges nothing");
    // Memory checks four keys at once. One after another, each could be charged once more.
    fallback.will(None);
    let five: [&str; 5] = ["a", "b", "c", "d", "e"];
    let together = runtime.run(limits.check_together(five.each_ref(), 1)).unwrap();
    assert_eq!(together.unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn a_merge_whose_outcome_is_unknown_is_not_repeated() {
    let it = setup(FailoverBuilder::merge);
    it.faulty.will(DOWN);
    assert!(it.check().unwrap().is_allowed());
    it.faulty.will(Some((ErrorKind::Timeout, true)));
    let told = it.check().unwrap();
    assert_eq!((told.is_allowed(), told.origin()), (true, Origin::Fallback), "its own hit was not sent");
    it.faulty.will(None);
    assert!(it.check().unwrap().is_allowed());
    assert_eq!(it.left(), 5, "two merged, each once, and one checked");
}

#[test]
fn a_refund_goes_to_where_the_admission_came_from() {
    let it = setup(|it| it);
    let refund = |decision: Decision| it.runtime.run(it.limits.refund("key", 1, decision.receipt())).unwrap();
    let primary = it.check().unwrap();
    it.faulty.will(DOWN);
    let fallback = it.check().unwrap();
    assert!(refund(primary).is_err(), "only the primary could take it");
    it.faulty.will(None);
    assert_eq!(it.left(), 7);
    assert_eq!(refund(fallback).unwrap().remaining(), 8, "of the fallback");
    assert_eq!(it.left(), 7);
    assert_eq!(refund(primary).unwrap().remaining(), 8);

    // A merged charge has no receipt that the primary knows; a charge that was not merged yet is not merged
    // any more.
    for is_merged in [true, false] {
        let it = setup(FailoverBuilder::merge);
        it.faulty.will(DOWN);
        let fallback = it.check().unwrap();
        it.faulty.will(None);
        if is_merged {
            let _ = it.check().unwrap();
        }
        let told = it.runtime.run(it.limits.refund("key", 1, fallback.receipt())).unwrap().unwrap();
        assert_eq!((told.remaining(), told.origin()), (8, Origin::Fallback));
        let _ = it.check().unwrap();
        assert_eq!(it.left(), if is_merged { 5 } else { 7 });
    }
}

#[test]
fn a_refund_finds_its_way_through_a_failover_within_another() {
    let runtime = Manual::new();
    let store = || Local(Arc::new(Memory::builder().clock(runtime.clone()).build()));
    let stores = [store(), store(), store(), store()];
    let down = stores.clone().map(|store| Faulty(store, Arc::default()));
    let [a, b, c, d] = down.clone();
    let [first, second] = [(a, b), (c, d)].map(|(one, other)| Failover::builder(one, other).build());
    let limits =
        AsyncLimiter::new(TokenBucket::new(rate!("8/80s")), Failover::builder(first, second).build());
    let left = || {
        stores.clone().map(|store| {
            let honest = AsyncLimiter::new(TokenBucket::new(rate!("8/80s")), store);
            runtime.run(honest.peek("key", 0)).unwrap().unwrap().remaining()
        })
    };
    let mut receipts = Vec::new();
    // One after another goes down, so that each admits one.
    for down in &down {
        receipts.push(runtime.run(limits.check("key")).unwrap().unwrap().receipt());
        down.will(DOWN);
    }
    assert_eq!(left(), [7; 4]);
    down.iter().for_each(|down| down.will(None));
    for (at, receipt) in receipts.into_iter().enumerate() {
        let _ = runtime.run(limits.refund("key", 1, receipt)).unwrap().unwrap();
        let mut expected = [7; 4];
        expected[..=at].fill(8);
        assert_eq!(left(), expected);
    }
}

#[test]
fn a_reset_forgets_both_and_what_is_to_be_merged() {
    let it = setup(FailoverBuilder::merge);
    it.faulty.will(DOWN);
    assert_eq!(it.admitted(), 8);
    assert!(it.runtime.run(it.limits.reset("key")).unwrap().is_err());
    assert_eq!(it.admitted(), 8);
    it.faulty.will(None);
    assert!(it.runtime.run(it.limits.reset("key")).unwrap().is_ok());
    assert_eq!(it.admitted(), 8);
}

#[test]
fn what_is_there_at_once_is_told_at_once() {
    for with in [|it: Builder| it, FailoverBuilder::warm, FailoverBuilder::merge] {
        let it = setup(with);
        it.faulty.will(DOWN);
        for is_down in [true, false] {
            let key = if is_down { "down" } else { "back" };
            assert!(matches!(it.limits.peek(key, 1), Reply::Ready(Some(Ok(_)))));
            assert!(matches!(it.limits.check(key), Reply::Ready(Some(Ok(_)))));
            it.faulty.will(None);
        }
        let storage: &dyn AsyncStorage<TokenBucket> = it.limits.storage();
        assert!(!storage.is_local(), "the primary is not");
    }
}

/// A rate of 1 in 2 hours counts this burst, and half of that rate does not.
fn indivisible() -> TokenBucket {
    TokenBucket::new(rate!("2/2h")).burst(u32::MAX).unwrap()
}

#[test]
fn a_limit_that_cannot_be_divided_fails_before_anybody_is_asked() {
    let limit = indivisible();
    let half = |limit: &TokenBucket| limit.scaled(Ratio::new(1, 2).unwrap());
    assert!(half(&limit).is_err());
    for with in [|it: Builder| it, FailoverBuilder::warm] {
        let it = setup(|builder| with(builder).share(half));
        let asked = |op| it.runtime.run(it.limits.storage().apply(&limit, &"key", &op)).unwrap();
        let hit = Hit::new(1);
        for op in [Op::Check(hit), Op::Charge(hit), Op::Refund(hit, Receipt::default()), Op::Reset] {
            let failure = asked(op).unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Invalid);
            assert!(failure.to_string().starts_with(
                "no storage was asked, since the fallback cannot apply its share of the limit: the"
            ));
        }
        let together = it.limits.storage().check_together(&limit, &[&"key", &"b"], &hit);
        assert!(it.runtime.run(together).unwrap().is_err());
        assert!(it.runtime.run(it.limits.storage().load(&limit, &"key")).unwrap().is_err());
        assert_eq!((it.left(), it.limits.storage().is_away()), (8, false));
    }
}

#[test]
fn several_keys_at_once_go_over_and_are_merged_too() {
    let it = setup(FailoverBuilder::merge);
    let together = || it.runtime.run(it.limits.check_together([&"key", &"b"], 1)).unwrap().unwrap();
    it.faulty.will(DOWN);
    for _ in 0..3 {
        assert!(together().is_allowed());
    }
    it.faulty.will(None);
    assert!(together().is_allowed());
    assert_eq!(it.left(), 4);
}

/// It has no room for this key, and decides on those that it has: no change of sides.
#[test]
fn the_fallback_decides_on_keys_for_which_the_primary_has_no_room() {
    let changes = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&changes);
    let it = setup(|it| it.on_change(move |change| heard.lock().unwrap().push(change.to_string())));
    for _ in 0..3 {
        it.faulty.will(Some((ErrorKind::Full, false)));
        assert_eq!(it.check().unwrap().origin(), Origin::Fallback);
        it.faulty.will(None);
        assert_eq!(it.check().unwrap().origin(), Origin::Store);
    }
    assert!(changes.lock().unwrap().is_empty() && !it.limits.storage().is_away());
}

#[test]
fn failures_of_one_call_are_told_and_what_is_noted_is_bounded() {
    let it = setup(|it| it.merge().journal_capacity(2));
    it.faulty.will(Some((ErrorKind::Contended, false)));
    assert_eq!(it.check().unwrap_err().kind(), ErrorKind::Contended);
    it.faulty.will(DOWN);
    for _ in 0..5 {
        assert!(it.check().unwrap().is_allowed());
    }
    assert_eq!(it.limits.storage().dropped_entries(), 3);
    it.runtime.advance(Duration::from_secs(80));
    assert!(it.check().unwrap().is_allowed());
    assert_eq!(it.limits.storage().dropped_entries(), 3, "what is over makes room");
}
