use std::io::Write;

use deadpool_redis::{Config, Runtime};

use super::Jobs;

#[tokio::test]
async fn two_pools_have_one_budget_for_a_customer() {
    let Ok(server) = std::env::var("TRAFFIK_REDIS") else {
        // `eprintln!` would be captured by the test harness, so write to the stream itself.
        std::io::stderr().write_all(b"SKIPPED: set TRAFFIK_REDIS=redis://HOST:PORT\n").unwrap();
        return;
    };
    let pool = || Config::from_url(server.as_str()).create_pool(Some(Runtime::Tokio1)).unwrap();
    let (one, other) = (Jobs::new(pool()).unwrap(), Jobs::new(pool()).unwrap());
    let mut done = 0;
    let mut answers = Vec::new();
    for jobs in [&one, &other].into_iter().cycle().take(7) {
        answers.push(jobs.run("ann", || done += 1).await.unwrap());
    }
    assert_eq!((answers, done), (vec![true, true, true, true, true, false, false], 5));
    assert!(other.run("bob", || done += 1).await.unwrap());
}
