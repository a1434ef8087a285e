//! Layers around a storage of three nodes, one of which fails: what the others' keys see of it, and what
//! theirs do.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use traffik::layer::{
    Backoff, Breaker, BreakerState, CallCounters, CallResult, CircuitBreaker, Instrumented, Operation, Retry,
};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, Reply};
use traffik::{AsyncLimiter, Decision, ErrorKind, TokenBucket, rate};

use traffik_test_support::faulty::{Faulty, MILLI, SECOND, WELL, before};
use traffik_test_support::sharded::Sharded;

pub(crate) type Store = Sharded<TokenBucket>;

/// In the time that tests take, nothing drains.
pub(crate) fn limit() -> TokenBucket {
    TokenBucket::new(rate!("1/h")).burst(100_000).unwrap()
}

/// Opens after two failures, for 1 s.
pub(crate) fn breaker(runtime: &Manual) -> Breaker {
    let builder = Breaker::builder("store").clock(runtime.clone()).failures(2);
    builder.open_for(SECOND).jitter(Duration::ZERO).build().unwrap()
}

fn check(
    runtime: &Manual,
    storage: &(impl AsyncStorage<TokenBucket> + Clone),
    key: u64,
) -> Result<Decision, BackendError> {
    runtime.run(AsyncLimiter::new(limit(), storage.clone()).check(&key)).unwrap()
}

/// The first keys of each of three nodes.
pub(crate) fn keys(store: &Store) -> [Vec<u64>; 3] {
    [0, 1, 2].map(|at| store.keys(at).take(10).collect())
}

/// A closed loop: each client asks again as soon as it is answered.
#[test]
fn none_of_ten_thousand_requests_for_keys_of_live_nodes_is_refused() {
    let runtime = Manual::new();
    let (store, breaker) = (Store::new(3, &runtime), breaker(&runtime));
    let storage = CircuitBreaker::new(store.clone(), &breaker);
    let [dead, one, other] = keys(&store);
    store.at(0).always(before(ErrorKind::Unavailable));
    let (mut refused, mut asked) = (0, 0);
    while asked < 10_000 {
        for key in &dead {
            assert_eq!(check(&runtime, &storage, *key).unwrap_err().kind(), ErrorKind::Unavailable);
        }
        for key in one.iter().chain(&other) {
            refused += u32::from(check(&runtime, &storage, *key).is_err());
            asked += 1;
        }
        runtime.advance(MILLI);
    }
    assert_eq!(refused, 0, "of {asked}");
    assert_eq!(store.at(0).calls(), 2, "then it is left alone");
}

fn name(at: usize) -> Option<Arc<str>> {
    Some(format!("node {at}").into())
}

#[test]
fn listeners_and_those_who_are_refused_learn_which_node_failed_and_of_what() {
    let (runtime, heard) = (Manual::new(), Arc::new(Mutex::new(Vec::new())));
    let (store, told) = (Store::new(3, &runtime), Arc::clone(&heard));
    let listener = move |change: &_| told.lock().unwrap().push(format!("{change}"));
    let breaker = Breaker::builder("store").clock(runtime.clone()).failures(2).open_for(SECOND);
    let breaker = breaker.jitter(Duration::ZERO).on_change(listener).build().unwrap();
    let storage = CircuitBreaker::new(store.clone(), &breaker);
    let [dead, live, _] = keys(&store);
    store.at(0).always(before(ErrorKind::Unavailable));
    let ask = |at: usize| check(&runtime, &storage, dead[at]);
    let _ = (ask(0), ask(1), check(&runtime, &storage, live[0]));
    let refused = ask(2).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the circuit breaker store for node 0 is open; it passes the next call at 1.000000 s on its clock"
    );
    assert_eq!(refused.source().unwrap().to_string(), "the store fails on demand");
    assert!(refused.source().unwrap().source().is_none(), "each cause is named once");

    let open = BreakerState::Open(runtime.now() + SECOND);
    assert_eq!(breaker.state(), open, "the state of the worst");
    let nodes = |breaker: &Breaker| -> Vec<_> {
        let nodes = breaker.nodes().into_iter();
        nodes.map(|(node, state, cause)| (node, state, cause.map(|it| it.to_string()))).collect()
    };
    let cause = Some("the store fails on demand".to_owned());
    assert_eq!(nodes(&breaker), [(name(0), open, cause), (name(1), BreakerState::Closed, None)]);

    runtime.advance(SECOND);
    store.at(0).always(WELL);
    assert!(ask(0).unwrap().is_allowed());
    assert_eq!(nodes(&breaker), [0, 1].map(|at| (name(at), BreakerState::Closed, None)));
    let lines = [
        "was closed and is open until 1.000000 s on its clock: the store fails on demand",
        "was open until 1.000000 s on its clock and is half-open",
        "was half-open and is closed",
    ];
    let lines = lines.map(|line| format!("the circuit breaker store for node 0 {line}"));
    assert_eq!(*heard.lock().unwrap(), lines);
}

#[test]
fn a_check_of_keys_on_several_nodes_needs_all_of_them_and_blames_none() {
    let runtime = Manual::new();
    let (store, breaker) = (Store::new(3, &runtime), breaker(&runtime));
    let limits = AsyncLimiter::new(limit(), CircuitBreaker::new(store.clone(), &breaker));
    let [dead, live, _] = keys(&store);
    let together = |one: u64, other: u64| runtime.run(limits.check_together([&one, &other], 1)).unwrap();
    let states = || breaker.nodes().into_iter().map(|(_, state, _)| state).collect::<Vec<_>>();
    store.at(0).always(before(ErrorKind::Unavailable));
    for _ in 0..5 {
        assert!(together(dead[0], live[0]).is_err());
    }
    assert_eq!(states(), [BreakerState::Closed; 2], "either may be to blame");
    for key in [dead[1], dead[2]] {
        assert!(together(dead[0], key).is_err());
    }
    let open = BreakerState::Open(runtime.now() + SECOND);
    assert_eq!(states(), [open, BreakerState::Closed], "there is one to blame");
    let calls = (store.at(0).calls(), store.at(1).calls());
    assert!(together(live[0], dead[0]).is_err());
    assert_eq!((store.at(0).calls(), store.at(1).calls()), calls, "neither is asked");
    assert!(together(live[0], live[1]).unwrap().is_allowed());

    // A refusal of one gives back the place of a probe of the other; and a success closes both.
    store.at(1).always(before(ErrorKind::Unavailable));
    runtime.advance(SECOND / 2);
    let _ = (together(live[0], live[1]), together(live[0], live[1]));
    runtime.advance(SECOND / 2);
    assert!(together(dead[0], live[0]).is_err());
    let still_open = BreakerState::Open(runtime.now() + SECOND / 2);
    assert_eq!(states(), [BreakerState::HalfOpen, still_open]);
    runtime.advance(SECOND / 2);
    (0..2).for_each(|at| store.at(at).always(WELL));
    assert!(together(dead[0], live[0]).unwrap().is_allowed());
    assert_eq!(states(), [BreakerState::Closed; 2]);
}

#[test]
fn what_is_forced_is_forced_for_all_nodes_and_for_those_that_come_later() {
    let runtime = Manual::new();
    let (store, breaker) = (Store::new(3, &runtime), breaker(&runtime));
    let storage = CircuitBreaker::new(store.clone(), &breaker);
    let [one, other, later] = keys(&store);
    let ask = |key: u64| check(&runtime, &storage, key);
    assert!(ask(one[0]).is_ok());
    breaker.force_open();
    for key in [one[0], other[0]] {
        assert!(ask(key).unwrap_err().to_string().contains(" was opened by hand; "));
    }
    let forced = [None, name(0), name(1)].map(|node| (node, BreakerState::ForcedOpen));
    let states = || breaker.nodes().into_iter().map(|(node, state, _)| (node, state)).collect::<Vec<_>>();
    assert_eq!(states(), forced);
    breaker.force_close();
    store.at(2).always(before(ErrorKind::Unavailable));
    for _ in 0..5 {
        assert_eq!(ask(later[0]).unwrap_err().to_string(), "the store fails on demand");
    }
    assert_eq!(breaker.state(), BreakerState::ForcedClosed);
    breaker.release();
    assert_eq!(states(), [0, 1, 2].map(|at| (name(at), BreakerState::Closed)));
    let _ = (ask(later[0]), ask(later[0]));
    assert_eq!(breaker.state(), BreakerState::Open(runtime.now() + SECOND));
    assert!([one[0], other[0]].into_iter().all(|key| ask(key).is_ok()));
}

#[test]
fn a_breaker_forgets_the_nodes_that_leave() {
    let runtime = Manual::new();
    let (store, breaker) = (Store::new(1, &runtime), breaker(&runtime));
    let storage = CircuitBreaker::new(store.clone(), &breaker);
    for number in 0..10_000 {
        let node = Faulty::for_keys(1, &runtime);
        node.always(before(ErrorKind::Unavailable));
        store.replace(0, &format!("10.0.0.1:{number}"), node);
        let asked = (0..3).map(|_| check(&runtime, &storage, 0).unwrap_err().to_string());
        assert_eq!(asked.filter(|it| it == "the store fails on demand").count(), 2, "it is new");
        assert_eq!(breaker.nodes().len(), 1);
    }
    assert_eq!(breaker.refused(), 10_000, "in all");
}

#[test]
fn calls_are_counted_by_node_and_the_whole_keeps_what_nodes_that_left_had_counted() {
    let (runtime, calls) = (Manual::new(), CallCounters::default());
    let store = Store::new(3, &runtime);
    let storage = Arc::new(Instrumented::with_clock(store.clone(), calls.clone(), runtime.clone()));
    let [dead, live, _] = keys(&store);
    store.at(0).always(before(ErrorKind::Unavailable));
    let _ = (check(&runtime, &storage, dead[0]), check(&runtime, &storage, dead[1]));
    assert!(check(&runtime, &storage, live[0]).is_ok());
    let limits = AsyncLimiter::new(limit(), Arc::clone(&storage));
    let together = |one: u64, other: u64| runtime.run(limits.check_together([&one, &other], 1)).unwrap();
    assert!(together(live[0], live[1]).is_ok());
    assert!(together(live[0], dead[1]).is_err());
    let failed = CallResult::Failed(ErrorKind::Unavailable);
    let told = |calls: &CallCounters| {
        calls.iter().map(|(it, ended, count, _)| (it, ended, count)).collect::<Vec<_>>()
    };
    let nodes: Vec<_> = calls.nodes().map(|(node, calls)| (node, told(&calls))).collect();
    let one = (Operation::Check, CallResult::Allowed, 1);
    let expected = [
        ("node 0".into(), vec![(Operation::Check, failed, 2)]),
        ("node 1".into(), vec![one, (Operation::CheckTogether, CallResult::Allowed, 1)]),
    ];
    assert_eq!(nodes, expected);
    assert_eq!(calls.count(Operation::CheckTogether, failed), 1, "of several nodes, so of the whole alone");

    for number in 0..10_000 {
        store.replace(0, &format!("10.0.0.1:{number}"), Faulty::for_keys(1, &runtime));
        assert!(check(&runtime, &storage, dead[0]).is_ok());
        assert_eq!(calls.nodes().count(), 2);
    }
    assert_eq!(calls.count(Operation::Check, CallResult::Allowed), 10_001);
    assert_eq!(calls.count(Operation::Check, failed), 2);
}

/// Attempts are counted for each call: however often a node fails, all others are asked again in full.
#[test]
fn a_node_that_is_asked_again_and_again_takes_no_attempt_from_others() {
    let runtime = Manual::new();
    let store = Store::new(3, &runtime);
    let backoff = Backoff::constant(10 * MILLI).without_jitter();
    let builder = Retry::builder(store.clone(), runtime.clone()).clock(runtime.clone());
    let storage = builder.backoff(backoff).build().unwrap();
    let limits = AsyncLimiter::new(limit(), storage);
    let [dead, live, _] = keys(&store);
    store.at(0).always(before(ErrorKind::Unavailable));
    let on_their_way: Vec<_> = (0..1_000).map(|at| limits.check(&dead[at % 10])).collect();
    assert!(on_their_way.iter().all(|call| matches!(call, Reply::Pending(_))));
    assert!(matches!(limits.check(&live[0]), Reply::Ready(Some(Ok(_)))), "at once");
    let began = runtime.now();
    store.at(1).next(&[before(ErrorKind::Unavailable); 2]);
    assert!(runtime.run(limits.check(&live[0])).unwrap().unwrap().is_allowed());
    assert_eq!((store.at(1).calls(), runtime.now().since(began)), (4, 20 * MILLI), "both attempts are left");
    let told = runtime.run(futures_util::future::join_all(on_their_way)).unwrap();
    assert!(told.iter().all(Result::is_err));
    assert_eq!(store.at(0).calls(), 3_000);
}
