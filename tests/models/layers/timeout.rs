//! `Timeout`, over a store with a delay on demand, in virtual time.

use std::time::Duration;

use traffik::layer::{DeadlineExceeded, Timeout};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, Reply};
use traffik::{AsyncLimiter, ErrorKind, TokenBucket, rate};

use traffik_test_support::faulty::{self, Faulty, MILLI, SECOND, slow};

type Limits = AsyncLimiter<TokenBucket, Timeout<Faulty<TokenBucket>, Manual>>;

/// A limit of 8 in 80 s, and 10 ms for each call.
fn limits() -> (Manual, Faulty<TokenBucket>, Limits) {
    let runtime = Manual::new();
    let faulty = Faulty::new(&runtime);
    let storage = Timeout::new(faulty.clone(), runtime.clone(), 10 * MILLI);
    (runtime, faulty, AsyncLimiter::new(TokenBucket::new(rate!("8/80s")), storage))
}

#[test]
fn a_call_ends_by_its_deadline_and_says_what_is_known_of_it() {
    let (runtime, faulty, limits) = limits();
    let receipt = runtime.run(limits.check("key")).unwrap().unwrap().receipt();
    let within = |call: &dyn Fn() -> Option<ErrorKind>| {
        faulty.always(slow(SECOND));
        let before = runtime.now();
        let kind = call();
        assert_eq!(runtime.now().since(before), 10 * MILLI);
        kind
    };
    let run = |reply: Reply<_>| runtime.run(reply).unwrap().err().map(|it| it.kind());
    assert_eq!(within(&|| run(limits.check("key"))), Some(ErrorKind::Timeout));
    assert_eq!(within(&|| run(limits.charge("key", 1))), Some(ErrorKind::Timeout));
    assert_eq!(within(&|| run(limits.refund("key", 1, receipt))), Some(ErrorKind::Timeout));
    assert_eq!(within(&|| run(limits.reset("other"))), Some(ErrorKind::Timeout));
    assert_eq!(within(&|| run(limits.peek("key", 1))), Some(ErrorKind::Unavailable), "it charges nothing");
    let stat = || runtime.run(limits.stat("key")).unwrap().err().map(|it| it.kind());
    assert_eq!(within(&stat), Some(ErrorKind::Unavailable));
    let together = || runtime.run(limits.check_together([&"a", &"b"], 1)).unwrap().err().map(|it| it.kind());
    assert_eq!(within(&together), Some(ErrorKind::Timeout));
    // A call that was given up on may arrive all the same: one check and one charge more, and the first one
    // refunded.
    runtime.advance(2 * SECOND);
    faulty.always(faulty::WELL);
    assert_eq!(runtime.run(limits.peek("key", 0)).unwrap().unwrap().remaining(), 6);
}

#[test]
fn an_answer_in_time_is_passed_on_also_at_the_last_moment() {
    let (runtime, faulty, limits) = limits();
    for (each_way, is_ok) in
        [(4 * MILLI, true), (5 * MILLI, true), (5 * MILLI + Duration::from_micros(1), false)]
    {
        faulty.always(slow(each_way));
        let answer = runtime.run(limits.check("key")).unwrap();
        assert_eq!(answer.is_ok(), is_ok, "{each_way:?}");
        if let Err(failure) = answer {
            let late = failure.cause().downcast_ref::<DeadlineExceeded>().unwrap();
            assert_eq!(late.limit, 10 * MILLI);
            assert_eq!(failure.to_string(), "the storage did not answer within 10ms");
        }
    }
}

#[test]
fn the_time_runs_from_the_call_and_not_from_its_first_poll() {
    let (runtime, faulty, limits) = limits();
    faulty.always(slow(SECOND));
    let call = limits.check("key");
    runtime.advance(10 * MILLI);
    assert!(runtime.run(call).unwrap().is_err());
    assert_eq!(runtime.now().as_micros(), 10_000);
}

#[test]
fn an_answer_that_is_there_at_once_is_not_boxed_and_all_else_is_delegated() {
    let (_, faulty, limits) = limits();
    assert!(matches!(limits.check("key"), Reply::Ready(Some(Ok(_)))));
    faulty.always(faulty::before(ErrorKind::Contended));
    let Reply::Ready(Some(Err(failure))) = limits.check("key") else { unreachable!("it is there at once") };
    assert_eq!(failure.kind(), ErrorKind::Contended);
    let storage: &dyn AsyncStorage<TokenBucket> = limits.storage();
    assert!(storage.is_local() && storage.wait_queue().is_some());
    assert_eq!(limits.storage().storage().calls(), 2);
}
