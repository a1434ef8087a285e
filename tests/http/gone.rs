//! Clients that go away while something is decided or settled about them.

use std::task::{Context, Waker};

use tower::{Layer, Service, service_fn};
use traffik::storage::Local;
use traffik::web::{Admission, Throttle, ThrottleBuilder, ThrottleLayer, ThrottleSet};
use traffik::{Memory, Rate, TokenBucket, rate};

use crate::{Clock, Elsewhere, elsewhere, hello, memory, request};

/// More often than any request here has to be polled.
const POLLS: usize = 12;

type There = Elsewhere<Local<Memory<TokenBucket, Clock>>>;

fn there(uid: &str, rate: Rate) -> ThrottleBuilder<TokenBucket, There> {
    let builder = Throttle::builder(uid, TokenBucket::new(rate), elsewhere(memory(&Clock::default())));
    builder.spawner(|future| drop(tokio::spawn(future)))
}

/// Sends a request, and goes away after it was polled so often; waits until what goes on has ended.
async fn go_after<G: Admission>(gate: &G, polls: usize) {
    let mut service = ThrottleLayer::new(gate.clone()).layer(service_fn(hello));
    let mut future = Box::pin(service.call(request(1)));
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(future);
    for _ in 0..POLLS {
        tokio::task::yield_now().await;
    }
}

async fn left(throttle: &Throttle<TokenBucket, There>) -> i64 {
    throttle.client(&request(1)).await.unwrap().unwrap().stat().await.unwrap().tokens
}

/// Else a client that has used up its own limit could use up one that it shares with others.
#[tokio::test]
async fn a_client_that_is_denied_by_one_throttle_takes_nothing_from_others_whenever_it_goes() {
    let shared = there("shared", rate!("100/w")).build().unwrap();
    let own = there("own", rate!("1/w")).build().unwrap();
    let both = ThrottleSet::new().and(shared.clone()).and(own);
    go_after(&both, POLLS).await;
    assert_eq!(left(&shared).await, 99, "the only one that is admitted");
    for polls in 0..POLLS {
        go_after(&both, polls).await;
        assert_eq!(left(&shared).await, 99, "after {polls} polls");
    }
}

/// It is charged by all or by none, also if it was on its way in.
#[tokio::test]
async fn a_client_that_goes_is_charged_by_all_throttles_or_by_none() {
    for polls in 0..POLLS {
        let (one, other) = (there("one", rate!("9/w")).build().unwrap(), there("other", rate!("9/w")));
        let other = other.build().unwrap();
        go_after(&ThrottleSet::new().and(one.clone()).and(other.clone()), polls).await;
        let charged = if polls == 0 { 0 } else { 1 };
        assert_eq!((left(&one).await, left(&other).await), (9 - charged, 9 - charged), "after {polls} polls");
    }
}

/// The charge of a request that does not count is refunded, also for a client that does not wait for it.
#[tokio::test]
async fn what_is_given_back_is_given_back_to_a_client_that_goes() {
    // The first time it is polled, it is charged.
    for polls in 2..POLLS {
        let logins = there("logins", rate!("9/w")).charge_if(|_| false).build().unwrap();
        go_after(&logins, polls).await;
        assert_eq!(left(&logins).await, 9, "after {polls} polls");
    }
}

/// A body can outlive its runtime: what is due cannot be told to anybody then.
#[test]
fn a_body_that_outlives_its_runtime_is_dropped_without_a_panic() {
    let bytes = there("bytes", rate!("100/w")).cost(10).settle_by(|_, bytes| bytes as u32).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let response = runtime.block_on(async {
        ThrottleLayer::new(bytes.clone()).layer(service_fn(hello)).call(request(1)).await.unwrap()
    });
    drop(runtime);
    drop(response);
}
