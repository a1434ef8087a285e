//! Limits that are chosen for each request: which of them share what a client has used.

use std::sync::Arc;
use std::time::Duration;

use traffik::strategy::{Composite, DecisionList, Erased, ErasedStrategy};
use traffik::web::{Quota, Throttle};
use traffik::{
    All, FixedWindow, Gcra, Hours, ManualClock, Outcome, Ratio, SlidingWindow, TimeOfDay, Timestamp,
    TokenBucket, rate,
};
use traffik_test_support::agree::START;
use traffik_test_support::alternating::{asking, choosing, holds, in_a_minute};

use crate::{Clock, elsewhere, memory};

type Listed = Composite<DecisionList<2>>;
type Chosen = Erased<Arc<dyn ErasedStrategy<512, Listed>>, 512>;

fn clock() -> Clock {
    Arc::new(ManualClock::new(Timestamp::from_micros(START)))
}

fn chosen(limit: impl ErasedStrategy<512, Listed> + 'static) -> Chosen {
    Erased::new(Arc::new(limit))
}

#[tokio::test]
async fn a_slow_limit_holds_beside_a_quick_one() {
    let clock = clock();
    holds("window", FixedWindow::new, Arc::new(memory(&clock)), &clock).await;
    holds("sliding", SlidingWindow::new, Arc::new(memory(&clock)), &clock).await;
    holds("bucket", TokenBucket::new, Arc::new(memory(&clock)), &clock).await;
    holds("elsewhere", TokenBucket::new, elsewhere(Arc::new(memory(&clock))), &clock).await;
    let pair = |rate| All([FixedWindow::new(rate), FixedWindow::new(rate!("1000/day"))]);
    holds("composed", pair, Arc::new(memory(&clock)), &clock).await;
    holds("erased", |rate| chosen(pair(rate)), Arc::new(memory(&clock)), &clock).await;
}

/// A state of one form is none of another, so each writer would begin anew after the other.
#[tokio::test]
async fn limits_of_other_strategies_keep_states_of_their_own() {
    let (slow, quick) = (rate!("5/h"), rate!("100/h"));
    let by_hour = |limit| TimeOfDay::new(limit, [Hours::new((0, 0), (12, 0), Ratio::ONE)]).unwrap();
    let pairs = [
        ("another", chosen(FixedWindow::new(slow)), chosen(TokenBucket::new(quick))),
        ("stricter", chosen(SlidingWindow::strict::<12>(slow)), chosen(SlidingWindow::strict::<6>(quick))),
        (
            "anchored",
            chosen(FixedWindow::new(slow)),
            chosen(FixedWindow::new(quick).anchor(Duration::from_secs(30))),
        ),
        ("by hour", chosen(by_hour(FixedWindow::new(slow))), chosen(FixedWindow::new(quick))),
        (
            "second",
            chosen((FixedWindow::new(slow), FixedWindow::new(quick))),
            chosen((FixedWindow::new(quick), TokenBucket::new(quick))),
        ),
    ];
    for (name, slow, quick) in pairs {
        let clock = clock();
        let throttle = choosing("api", slow, quick, memory(&clock));
        assert_eq!(in_a_minute(&throttle, &clock).await, (5, 60), "{name}");
    }
}

/// Every verb of a client goes to the state of its limit, and to no other.
#[tokio::test]
async fn a_client_is_asked_about_and_reset_under_its_limit() {
    let clock = clock();
    let (slow, quick) = (TokenBucket::new(rate!("5/h")), TokenBucket::new(rate!("100/s")));
    let throttle = choosing("api", slow, quick, memory(&clock));
    for _ in 0..5 {
        assert!(throttle.hit(&asking(true)).await.is_ok());
    }
    let by_request = throttle.client(&asking(true)).await.unwrap().unwrap();
    assert_eq!(by_request.stat().await.unwrap().tokens, 0);
    let by_key = |limit| throttle.client_for(by_request.key().clone()).strategy(limit);
    assert_eq!(by_key(slow).peek().await.unwrap().remaining(), 0);
    assert_eq!(by_key(quick).peek().await.unwrap().remaining(), 99, "nothing of it is used");
    let _ = by_key(quick).reset().await.unwrap();
    assert_eq!(by_key(slow).peek().await.unwrap().remaining(), 0);
    let _ = by_key(slow).reset().await.unwrap();
    let admitted = by_key(slow).check().await.unwrap();
    assert_eq!(admitted.remaining(), 4);
    let _ = by_key(slow).refund(admitted.receipt()).await.unwrap();
    assert_eq!(by_request.peek().await.unwrap().remaining(), 4, "it was taken back");
    // Of a throttle with one limit as well, a client under another one.
    let fixed = Throttle::builder("fixed", quick, memory(&clock)).build().unwrap();
    let client = fixed.client(&asking(true)).await.unwrap().unwrap();
    let _ = client.strategy(slow).cost(5).check().await.unwrap();
    assert!(fixed.hit(&asking(true)).await.is_ok());
    let client = fixed.client(&asking(true)).await.unwrap().unwrap().strategy(slow);
    assert!(!client.check().await.unwrap().is_allowed(), "it is as it was left");
    let fewer = client.strategy(TokenBucket::new(rate!("2/s"))).cost(1);
    assert_eq!(fewer.check().await.unwrap().remaining(), 0, "one of two was used by the hit");
}

/// A quota asks each limit for itself, and gives back to the one that was charged.
#[tokio::test]
async fn a_quota_charges_each_of_the_limits() {
    let clock = clock();
    let (slow, quick) = (TokenBucket::new(rate!("5/h")), TokenBucket::new(rate!("100/s")));
    let throttle = choosing("api", slow, quick, memory(&clock));
    let client = async |slow, cost| throttle.client(&asking(slow)).await.unwrap().unwrap().cost(cost);
    let quota = Quota::new();
    quota.charge(client(true, 3).await);
    quota.charge(client(false, 60).await);
    quota.apply().await.unwrap();
    quota.charge(client(false, 30).await);
    quota.charge(client(true, 3).await);
    let denied = quota.apply().await.unwrap_err();
    assert!(matches!(denied.outcome(), Some(Outcome::Deny { .. })), "{denied}");
    assert_eq!(client(false, 0).await.peek().await.unwrap().remaining(), 40, "given back");
    assert_eq!(client(true, 0).await.peek().await.unwrap().remaining(), 2);
}

/// Use is kept when a fixed limit becomes one of the request's, and when it becomes fixed again.
#[tokio::test]
async fn limits_of_the_kind_that_was_fixed_keep_its_states() {
    let clock = clock();
    let throttle = Throttle::builder("api", FixedWindow::new(rate!("3/h")), memory(&clock)).build().unwrap();
    assert!(throttle.hit(&asking(true)).await.is_ok() && throttle.hit(&asking(true)).await.is_ok());
    throttle.set_strategy_by(|request| match request.uri.path() {
        "/slow" => FixedWindow::new(rate!("4/h")),
        _ => FixedWindow::new(rate!("2/s")),
    });
    assert!(throttle.hit(&asking(true)).await.is_ok() && throttle.hit(&asking(false)).await.is_ok());
    throttle.set_strategy(FixedWindow::new(rate!("4/h")));
    assert!(throttle.hit(&asking(true)).await.is_ok());
    assert!(throttle.hit(&asking(true)).await.is_err(), "four of four are used");
}

/// One that takes over the states of another finds them where the other left them.
#[tokio::test]
async fn a_limit_that_succeeds_another_takes_over_its_states() {
    let clock = clock();
    let old: Arc<dyn ErasedStrategy<512, Listed>> = Arc::new(FixedWindow::new(rate!("5/h")));
    let throttle = Throttle::builder("api", Chosen::new(Arc::clone(&old)), memory(&clock)).build().unwrap();
    for _ in 0..3 {
        assert!(throttle.hit(&asking(true)).await.is_ok());
    }
    let new = chosen(Gcra::new(rate!("1/min")).burst(5).unwrap()).migrating_from(old);
    throttle.set_strategy_by(move |_| new.clone());
    assert!(throttle.hit(&asking(true)).await.is_ok() && throttle.hit(&asking(true)).await.is_ok());
    assert!(throttle.hit(&asking(true)).await.is_err());
}
