//! `Instrumented` over a scripted store, in virtual time: the events and counters of its calls.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use traffik::layer::{CallCounters, CallEvent, CallObserver, CallResult, Instrumented, Operation, Timeout};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, Reply};
use traffik::{AsyncLimiter, ErrorKind, TokenBucket, rate};

use traffik_test_support::faulty::{Faulty, MILLI, SECOND, before, slow};

type Limits = AsyncLimiter<TokenBucket, Instrumented<Faulty<TokenBucket>>>;

/// A limit of 2 in 80 s.
fn limits() -> (Manual, Faulty<TokenBucket>, CallCounters, Limits) {
    let (runtime, calls) = (Manual::new(), CallCounters::default());
    let faulty = Faulty::new(&runtime);
    let storage = Instrumented::with_clock(faulty.clone(), calls.clone(), runtime.clone());
    (runtime, faulty, calls, AsyncLimiter::new(TokenBucket::new(rate!("2/80s")), storage))
}

#[test]
fn calls_are_told_by_operation_and_end_and_how_long_they_took() {
    let (runtime, faulty, calls, limits) = limits();
    faulty.always(slow(MILLI));
    let receipt = runtime.run(limits.check("key")).unwrap().unwrap().receipt();
    for _ in 0..4 {
        let _ = runtime.run(limits.check("key")).unwrap();
    }
    let _ = runtime.run(limits.check_n("key", 3)).unwrap();
    let _ = runtime.run(limits.peek("key", 1)).unwrap();
    let _ = runtime.run(limits.charge("key", 1)).unwrap();
    let _ = runtime.run(limits.refund("key", 1, receipt)).unwrap();
    let _ = runtime.run(limits.reset("key")).unwrap();
    let _ = runtime.run(limits.stat("key")).unwrap();
    let _ = runtime.run(limits.check_together([&"a", &"b"], 2)).unwrap();
    let _ = runtime.run(limits.check_together([&"a", &"b"], 2)).unwrap();
    let five: [&str; 5] = ["1", "2", "3", "4", "5"];
    let five = five.each_ref().map(|key| key as &dyn traffik::ErasedKey);
    let asked = limits.storage().check_together(limits.strategy(), &five, &traffik::Hit::new(1));
    let _ = runtime.run(asked).unwrap();
    faulty.always(before(ErrorKind::Unavailable));
    let _ = runtime.run(limits.check("key")).unwrap();

    let expected = [
        (Operation::Check, CallResult::Allowed, 2),
        (Operation::Check, CallResult::Denied, 3),
        (Operation::Check, CallResult::Never, 1),
        (Operation::Check, CallResult::Failed(ErrorKind::Unavailable), 1),
        (Operation::Peek, CallResult::Denied, 1),
        (Operation::Charge, CallResult::Done, 1),
        (Operation::Refund, CallResult::Done, 1),
        (Operation::Reset, CallResult::Done, 1),
        (Operation::Load, CallResult::Done, 1),
        (Operation::CheckTogether, CallResult::Allowed, 1),
        (Operation::CheckTogether, CallResult::Denied, 1),
        (Operation::CheckTogether, CallResult::Unable, 1),
    ];
    let each_took = |ended| if matches!(ended, CallResult::Failed(_)) { Duration::ZERO } else { 2 * MILLI };
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(it, ended, count)| (it, ended, count.into(), each_took(ended) * count))
        .collect();
    assert_eq!(calls.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_call_that_nobody_waits_for_is_told_as_dropped_once() {
    let (runtime, faulty, calls, limits) = limits();
    faulty.always(slow(SECOND));
    let mut call = limits.check("key");
    assert!(pin!(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(limits.check("key"));
    runtime.advance(SECOND);
    drop(call);
    assert_eq!(calls.count(Operation::Check, CallResult::Dropped), 2);
    assert_eq!(calls.took(Operation::Check, CallResult::Dropped), SECOND);
    assert_eq!(calls.iter().count(), 1);
}

#[test]
fn an_observer_of_ones_own_sees_the_failure() {
    struct Last(Arc<Mutex<Option<(CallResult, String)>>>);

    impl CallObserver for Last {
        fn called(&self, call: &CallEvent<'_>) {
            *self.0.lock().unwrap() = Some((call.result, call.failure.unwrap().to_string()));
        }
    }

    let (runtime, last) = (Manual::new(), Arc::default());
    let faulty = Faulty::new(&runtime);
    faulty.always(slow(SECOND));
    let within = Timeout::new(faulty, runtime.clone(), 10 * MILLI);
    let storage = Instrumented::with_clock(within, Last(Arc::clone(&last)), runtime.clone());
    let limits = AsyncLimiter::new(TokenBucket::new(rate!("2/80s")), storage);
    assert!(runtime.run(limits.check("key")).unwrap().is_err());
    let expected =
        (CallResult::Failed(ErrorKind::Timeout), "the storage did not answer within 10ms".to_owned());
    assert_eq!(*last.lock().unwrap(), Some(expected));
}

#[test]
fn what_is_there_at_once_is_not_boxed_and_all_else_is_delegated() {
    let (_, _, calls, limits) = limits();
    assert!(matches!(limits.check("key"), Reply::Ready(Some(Ok(_)))));
    assert_eq!(calls.count(Operation::Check, CallResult::Allowed), 1);
    let storage: &dyn AsyncStorage<TokenBucket> = limits.storage();
    assert!(storage.is_local() && storage.wait_queue().is_some());
}

#[test]
fn every_end_and_operation_has_a_word_of_its_own() {
    let mut words: Vec<_> = Operation::ALL.map(Operation::name).into();
    words.extend(CallResult::ALL.map(CallResult::name));
    let all = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), all);
}
