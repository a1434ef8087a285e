//! Limits that change under a state that the server holds: still one call for each check.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use traffik::strategy::{Erased, ErasedStrategy};
use traffik::{
    All, AsyncLimiter, Cost, FixedWindow, Gcra, Hours, Label, LeakyBucketQueue, ManualClock, Outcome, Rate,
    RedisStorage, Strategy, Tiered, TimeOfDay, Timestamp, TokenBucket, Verdict, rate,
};
use traffik_test_support::agree::{START, Shared};
use traffik_test_support::servers::Redis;

use super::check::calls;

const HALF_A_DAY: Duration = Duration::from_secs(12 * 3_600);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Uses up one a day, and asks for one of a thousand half a day later: of one key, and of two together.
async fn grants_nothing_of_the_past<S: Strategy>(
    server: &Redis,
    name: &str,
    make: impl Fn(Rate) -> S,
    wait: Duration,
) {
    let start = Timestamp::from_micros(START);
    let clock = Shared(Arc::new(ManualClock::new(start)));
    let storage = RedisStorage::url(&server.url()).unwrap().namespace(name).clock(clock.clone());
    let storage = storage.timeout(Duration::from_secs(5)).build().unwrap();
    let [before, after] =
        [rate!("1/d"), rate!("1000/d")].map(|rate| AsyncLimiter::new(make(rate), storage.clone()));
    let one = || S::Cost::uniform(1);
    for key in ["a", "b", "c"] {
        assert!(before.check_n(key, one()).await.unwrap().outcome().is_allowed(), "{name}");
        assert!(!before.check_n(key, one()).await.unwrap().outcome().is_allowed(), "{name}");
    }
    // The scripts are known from then on.
    let _ = after.check("warm").await.unwrap();
    let _ = after.check_together(["warm", "up"].each_ref(), one()).await.unwrap();
    let then = start + HALF_A_DAY + wait;
    let mut asked = 0;
    let counted = calls(server);
    for (now, denied) in [
        (start + HALF_A_DAY, Some(wait)),
        (start + HALF_A_DAY + wait / 3, Some(wait - wait / 3)),
        (Timestamp::from_micros(then.as_micros() - 1), Some(Duration::from_micros(1))),
        (then, None),
    ] {
        clock.0.set(now);
        let expected = match denied {
            Some(retry_after) => Outcome::Deny { retry_after },
            None => Outcome::Allow { after: Duration::ZERO },
        };
        assert_eq!(after.check_n("a", one()).await.unwrap().outcome(), expected, "{name}");
        let both = after.check_together(["b", "c"].each_ref(), one()).await.unwrap();
        assert_eq!((both.outcome(), both.is_atomic()), (expected, true), "{name}");
        asked += 2;
    }
    assert_eq!(calls(server) - counted, asked, "{name}");
}

#[test]
fn a_rate_that_is_raised_grants_nothing_of_the_past() {
    type Chosen = Erased<Arc<dyn ErasedStrategy<64>>, 64>;
    let (server, half) = (Redis::start(), Duration::from_micros(43_200_000));
    let hours = [Hours::new((0, 0), (12, 0), "1".parse().unwrap())];
    let tiers = [(Label(1), "1".parse().unwrap())];
    let twice = |rate: Rate| Gcra::new(rate.scaled("2".parse().unwrap()));
    runtime().block_on(async {
        grants_nothing_of_the_past(&server, "one", Gcra::new, half).await;
        let bucket = |rate| TokenBucket::new(rate).burst(1).unwrap();
        grants_nothing_of_the_past(&server, "bucket", bucket, half).await;
        let tiered = |rate| Tiered::new(Gcra::new(rate), tiers).unwrap();
        grants_nothing_of_the_past(&server, "tiered", tiered, half).await;
        let by_hour = |rate| TimeOfDay::new(Gcra::new(rate), hours).unwrap();
        grants_nothing_of_the_past(&server, "hours", by_hour, half).await;
        let chosen = |rate| -> Chosen { Erased::new(Arc::new(Gcra::new(rate))) };
        grants_nothing_of_the_past(&server, "chosen", chosen, half).await;
        let pair = |rate| (FixedWindow::new(rate!("100/d")), Gcra::new(rate));
        grants_nothing_of_the_past(&server, "pair", pair, half).await;
        grants_nothing_of_the_past(&server, "all", |rate| All([twice(rate), Gcra::new(rate)]), half).await;
        // A turn that was told stays told.
        let queue = |rate| LeakyBucketQueue::new(rate).queue(0).unwrap();
        grants_nothing_of_the_past(&server, "queue", queue, HALF_A_DAY).await;
    });
}
