//! `Failover` over a storage of three nodes: which keys the fallback decides on, and what becomes of what it
//! admitted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use traffik::layer::{BreakerState, CircuitBreaker, Failover, FailoverBuilder};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, MultiKeyReply};
use traffik::{AsyncLimiter, Decision, ErrorKind, Hit, Op, Origin, TokenBucket};

use traffik_test_support::faulty::{Faulty, MILLI, SECOND, WELL, before};
use traffik_test_support::sharded::Sharded;

use crate::nodes::{Store, breaker, keys, limit};

type Fallback = Faulty<TokenBucket>;
type Builder = FailoverBuilder<TokenBucket, Store, Fallback>;

struct Setup {
    runtime: Manual,
    store: Store,
    storage: Failover<TokenBucket, Store, Fallback>,
    keys: [Vec<u64>; 3],
}

fn setup(with: impl FnOnce(Builder) -> Builder) -> Setup {
    let runtime = Manual::new();
    let store = Sharded::new(3, &runtime);
    let builder = Failover::builder(store.clone(), Faulty::new(&runtime)).clock(runtime.clone()).merge();
    Setup { keys: keys(&store), storage: with(builder).build(), runtime, store }
}

impl Setup {
    fn check(&self, key: u64) -> Decision {
        let reply = self.storage.apply(&limit(), &key, &Op::Check(Hit::new(1)));
        self.runtime.run(reply).unwrap().unwrap()
    }

    fn times(&self, count: u32, key: u64) {
        (0..count).for_each(|_| assert!(self.check(key).is_allowed()));
    }

    fn fail(&self, at: usize) {
        self.store.at(at).always(before(ErrorKind::Unavailable));
    }

    fn heal(&self, at: usize) {
        self.store.at(at).always(WELL);
    }
}

/// The amount that a node has counted of a key.
fn used(runtime: &Manual, node: &Faulty<TokenBucket>, key: u64) -> u32 {
    100_000 - runtime.run(node.honest(limit()).peek(&key, 0)).unwrap().unwrap().remaining()
}

#[test]
fn the_fallback_decides_on_the_keys_of_one_node_and_what_it_admitted_comes_home_exactly() {
    let (runtime, heard) = (Manual::new(), Arc::new(Mutex::new(Vec::new())));
    let (store, told): (Store, _) = (Sharded::new(3, &runtime), Arc::clone(&heard));
    let breaker = breaker(&runtime);
    let primary = CircuitBreaker::new(store.clone(), &breaker);
    let builder = Failover::builder(primary, Faulty::<TokenBucket>::new(&runtime)).clock(runtime.clone());
    let listener = move |change: &_| told.lock().unwrap().push(format!("{change}"));
    let limits = AsyncLimiter::new(limit(), builder.merge().on_change(listener).build());
    let check = |key: u64| runtime.run(limits.check(&key)).unwrap().map(|it| (it.is_allowed(), it.origin()));
    let [dead, one, other] = keys(&store);
    store.at(0).always(before(ErrorKind::Unavailable));
    let mut served = 0;
    for _ in 0..500 {
        for key in &dead {
            assert_eq!(check(*key).unwrap(), (true, Origin::Fallback));
        }
        for key in one.iter().chain(&other) {
            assert_eq!(check(*key).unwrap(), (true, Origin::Store));
            served += 1;
        }
        runtime.advance(MILLI);
    }
    assert_eq!((served, limits.storage().is_away()), (10_000, true));
    let open = breaker.nodes().into_iter().filter(|(_, state, _)| *state != BreakerState::Closed);
    assert_eq!(open.map(|(node, ..)| node).collect::<Vec<_>>(), [Some("node 0".into())]);
    assert_eq!(store.at(0).calls(), 2, "it is left alone");
    store.at(0).always(WELL);
    runtime.advance(SECOND);
    for key in &dead {
        assert_eq!(check(*key).unwrap(), (true, Origin::Store));
        assert_eq!(used(&runtime, &store.at(0), *key), 501);
    }
    for (at, keys) in [(1, one), (2, other)] {
        keys.iter().for_each(|key| assert_eq!(used(&runtime, &store.at(at), *key), 500));
    }
    assert_eq!((limits.storage().is_away(), limits.storage().dropped_entries()), (false, 0));
    let expected = [
        "the primary storage at node 0 failed, and the fallback decides: the store fails on demand",
        "the primary storage at node 0 answers again, and decides",
    ];
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[test]
fn a_node_that_is_away_leaves_the_others_room_for_their_notes() {
    let it = setup(|it| it.journal_capacity(3));
    it.fail(0);
    it.times(5, it.keys[0][0]);
    assert_eq!(it.storage.dropped_entries(), 2);
    it.fail(1);
    it.times(3, it.keys[1][0]);
    assert_eq!(it.storage.dropped_entries(), 2, "the other one has room of its own");
    it.heal(0);
    assert_eq!(it.check(it.keys[0][0]).origin(), Origin::Store);
    assert_eq!(used(&it.runtime, &it.store.at(0), it.keys[0][0]), 4);
    it.fail(0);
    it.times(3, it.keys[0][1]);
    assert_eq!(it.storage.dropped_entries(), 2, "what was merged has made room");
}

#[test]
fn a_node_that_is_back_is_told_all_at_once_while_another_is_tried_with_one() {
    let it = setup(|it| it);
    let [away, back] = [it.keys[0][0], it.keys[1][0]];
    (0..2).for_each(|at| it.fail(at));
    for _ in 0..10 {
        let _ = (it.check(away), it.check(back));
    }
    (0..2).for_each(|at| it.heal(at));
    let _ = it.check(it.keys[1][1]);
    let calls = [0, 1].map(|at| it.store.at(at).calls());
    let _ = (it.check(away), it.check(back));
    let calls = [0, 1].map(|at| it.store.at(at).calls() - calls[at]);
    assert_eq!(calls, [3, 2], "one, nine and the hit; ten and the hit");
    assert_eq!(used(&it.runtime, &it.store.at(0), away), 11);
    assert_eq!(used(&it.runtime, &it.store.at(1), back), 11);
}

#[test]
fn a_node_that_has_left_is_forgotten_and_its_notes_go_to_whoever_keeps_the_key_then() {
    let it = setup(|it| it);
    let key = it.keys[0][0];
    it.fail(0);
    it.times(7, key);
    assert!(it.storage.is_away());
    let other = Faulty::for_keys(64, &it.runtime);
    it.store.replace(0, "node 3", other.clone());
    assert!(!it.storage.is_away(), "the one that was away is none any more");
    assert_eq!(it.check(key).origin(), Origin::Store);
    assert_eq!(used(&it.runtime, &other, key), 8);
    for number in 0..10_000 {
        let node = Faulty::for_keys(1, &it.runtime);
        node.always(before(ErrorKind::Unavailable));
        it.store.replace(0, &format!("10.0.0.1:{number}"), node);
        assert_eq!(it.check(it.keys[0][1]).origin(), Origin::Fallback);
    }
    assert_eq!(it.storage.dropped_entries(), 0, "each had room");
}

#[test]
fn a_check_of_keys_on_several_nodes_that_fails_blames_none_of_them() {
    let it = setup(|it| it);
    it.fail(0);
    let [dead, live] = [it.keys[0][0], it.keys[1][0]];
    let together = |one: u64, other: u64| {
        let told = it.storage.check_together(&limit(), &[&one, &other], &Hit::new(1));
        match it.runtime.run(told).unwrap().unwrap() {
            MultiKeyReply::Atomic(told) | MultiKeyReply::Sequential(told) => told[0].origin(),
            MultiKeyReply::Unsupported => panic!("both can"),
        }
    };
    assert_eq!(together(dead, live), Origin::Fallback);
    assert!(!it.storage.is_away());
    assert_eq!(together(dead, it.keys[0][1]), Origin::Fallback);
    assert!(it.storage.is_away(), "there is one to blame");
    it.heal(0);
    assert_eq!(together(live, dead), Origin::Store);
    assert_eq!((it.storage.is_away(), it.storage.dropped_entries()), (false, 0));
    let counted = [(0, dead), (1, live)].map(|(at, key)| used(&it.runtime, &it.store.at(at), key));
    assert_eq!(counted, [3, 2], "each is told of what was admitted of its own keys");
}

/// A storage that cannot name a node before it has learnt of them is one node until then.
#[test]
fn a_primary_that_begins_to_name_its_nodes_is_away_no_more_as_a_whole() {
    use traffik::storage::{BackendError, Reply};
    use traffik::strategy::Level;
    use traffik::{ErasedKey, Timestamp};

    #[derive(Clone)]
    struct Late(Store, Arc<Mutex<bool>>);

    impl AsyncStorage<TokenBucket> for Late {
        fn apply(&self, limit: &TokenBucket, key: &dyn ErasedKey, op: &Op<TokenBucket>) -> Reply<Decision> {
            if *self.1.lock().unwrap() {
                return self.0.apply(limit, key, op);
            }
            Reply::ready(Err(BackendError::new(ErrorKind::Unavailable, "down")))
        }

        fn load(&self, limit: &TokenBucket, key: &dyn ErasedKey) -> Reply<(Level, Timestamp)> {
            self.0.load(limit, key)
        }

        fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
            self.1.lock().unwrap().then(|| self.0.node(key)).flatten()
        }
    }

    let runtime = Manual::new();
    let late = Late(Sharded::new(3, &runtime), Arc::default());
    let breaker = breaker(&runtime);
    let primary = CircuitBreaker::new(late.clone(), &breaker);
    let failover = Failover::builder(primary, Faulty::<TokenBucket>::new(&runtime)).clock(runtime.clone());
    let limits = AsyncLimiter::new(limit(), failover.build());
    let check = || runtime.run(limits.check("key")).unwrap().unwrap().origin();
    assert_eq!([check(), check()], [Origin::Fallback; 2]);
    assert!(limits.storage().is_away() && breaker.nodes().len() == 1);
    *late.1.lock().unwrap() = true;
    assert_eq!(check(), Origin::Store);
    runtime.advance(Duration::from_secs(1));
    assert!(!limits.storage().is_away());
    let nodes = breaker.nodes();
    assert!(nodes.len() == 1 && nodes[0].0.is_some(), "the whole is listed no more: {nodes:?}");
}
