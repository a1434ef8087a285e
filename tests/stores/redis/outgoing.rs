//! Calls of two processes that have one budget on a real server, by the server's clock.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Request;
use traffik::runtime::Tokio;
use traffik::web::Outgoing;
use traffik::{AsyncLimiter, Gcra, RedisStorage, WaitError, rate};
use traffik_test_support::limited::run;
use traffik_test_support::servers::Redis;

#[test]
fn two_processes_keep_to_one_budget() {
    let redis = Redis::start();
    run(async {
        let process = |limit| {
            let storage = RedisStorage::url(&redis.url()).unwrap().timeout(Duration::from_secs(10));
            Outgoing::new(AsyncLimiter::new(Gcra::new(limit), storage.build().unwrap()), Tokio)
        };
        let (processes, call) = ([(); 2].map(|()| process(rate!("20/s"))), Request::new(()));
        let began = Instant::now();
        let calls = (0..10).map(|number: usize| processes[number % 2].until_ready(&call));
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        assert!(began.elapsed() >= Duration::from_millis(9 * 50), "{:?}", began.elapsed());
        // A turn that one of them has used is used for the other one.
        let [one, other] =
            [(); 2].map(|()| process(rate!("1/h")).key_by(|_| "dear").max_wait(Duration::from_secs(1)));
        one.until_ready(&call).await.unwrap();
        let told = other.until_ready(&call).await;
        assert!(
            matches!(told, Err(WaitError::TooLong { wait }) if wait > Duration::from_secs(3_500)),
            "{told:?}"
        );
    });
}
