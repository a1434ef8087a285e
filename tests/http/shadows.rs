//! The limits of a shadow: it never denies, refuses, fails, or stands in another throttle's way.

use http::{Request, StatusCode};
use traffik::storage::{BackendError, ErrorKind, Local};
use traffik::web::{
    Anonymous, Enforcement, HeaderFormat, Identity, OnError, Origin, Refusal, RequestError, RequestOutcome,
    RequestParts, Rule, Tally, Throttle, ThrottleBuilder, ThrottleSet,
};
use traffik::{Gcra, Memory, Rate, TokenBucket, rate};

use crate::throttle::statuses;
use crate::{Broken, Clock, elsewhere, memory, request};

type Bucket = ThrottleBuilder<TokenBucket, Local<Memory<TokenBucket, Clock>>>;

fn bucket(uid: &str, rate: Rate) -> Bucket {
    Throttle::builder(uid, TokenBucket::new(rate), memory(&Clock::default())).headers(HeaderFormat::Draft10)
}

/// Nobody knows who asks.
fn anonymous(_: RequestParts<'_>) -> Identity {
    Identity::anonymous()
}

fn failure() -> BackendError {
    BackendError::new(ErrorKind::Unavailable, "the service that knows is down")
}

/// All that keeps a throttle from asking its storage, found out at once and after a while.
fn stopped(enforcement: &Enforcement) -> Vec<(Bucket, u16)> {
    let build = || bucket("trial", rate!("9/h")).enforcement(enforcement.clone());
    let refused =
        || Err::<u32, RequestError>(Refusal::new(StatusCode::BAD_REQUEST, "a cost is a number").into());
    let failed = || Err::<u32, RequestError>(failure().into());
    vec![
        (build().cost_by(move |_| refused()), 400),
        (build().cost_by_async(move |_| async move { refused() }), 400),
        (build().cost_by(move |_| failed()), 503),
        (build().cost_by_async(move |_| async move { failed() }), 503),
        (build().identifier(anonymous).anonymous(Anonymous::Reject(StatusCode::UNAUTHORIZED)), 401),
        (build().identifier_by_async(|_| async { Err(RequestError::from(failure())) }), 503),
    ]
}

#[tokio::test]
async fn a_shadow_refuses_nobody() {
    for (enforcement, enforced) in [
        (Enforcement::Full, true),
        (Enforcement::Shadow, false),
        (Enforcement::percent(100, 7), true),
        (Enforcement::percent(0, 7), false),
    ] {
        for (at, (builder, status)) in stopped(&enforcement).into_iter().enumerate() {
            let tally = Tally::default();
            let throttle = builder.observe(tally.clone()).build().unwrap();
            let expected = if enforced { status } else { 201 };
            let told = format!("{at} {enforcement:?}");
            assert_eq!(statuses(&throttle, [request(1)]).await, [expected], "{told}");
            let real = bucket("real", rate!("9/h")).build().unwrap();
            let client = real.client(&request(1)).await.unwrap().unwrap();
            let both = ThrottleSet::new().and(throttle).and(real);
            assert_eq!(statuses(&both, [request(1)]).await, [expected], "{told}");
            let left = client.stat().await.unwrap().tokens;
            assert_eq!(left, if enforced { 9 } else { 8 }, "{told}: the other throttle counts");
            // Observers hear of it, as of the shadow's.
            let seen = if status == 503 { RequestOutcome::Failed } else { RequestOutcome::Refused };
            assert_eq!(tally.count("trial", seen), 2, "{told}");
            if !enforced {
                assert_eq!(tally.decisions("trial", Origin::Shadow), 2, "{told}");
            }
        }
    }
}

/// A limit that is enforced for some clients refuses no others where the client is known.
#[tokio::test]
async fn a_refusal_is_enforced_for_the_same_clients_as_the_limit() {
    let throttle = bucket("trial", rate!("1/h")).enforcement(Enforcement::percent(40, 7));
    let throttle = throttle.cost_by(|request| match request.headers.get("x-cost") {
        Some(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "a cost is a number").into()),
        None => Ok(1),
    });
    let throttle = throttle.build().unwrap();
    let mut kinds = [0, 0];
    for peer in 0..40 {
        let mut wrong = request(peer);
        wrong.headers_mut().insert("x-cost", "many".parse().unwrap());
        let got = statuses(&throttle, [request(peer), request(peer), wrong]).await;
        let kind = [[201, 429, 400], [201, 201, 201]].iter().position(|kind| got == *kind);
        kinds[kind.unwrap_or_else(|| panic!("{got:?}"))] += 1;
    }
    assert!(kinds[0] > 0 && kinds[1] > 0, "{kinds:?}");
}

/// A shadow that matches more closely takes nothing from the throttle that is enforced.
#[tokio::test]
async fn a_shadow_leaves_a_request_to_the_most_specific_throttle_that_is_enforced() {
    let shadow = || bucket("shadow", rate!("9/h")).enforcement(Enforcement::Shadow);
    let unable = Throttle::builder("shadow", TokenBucket::new(rate!("9/h")), Broken(ErrorKind::Unavailable));
    let unable = unable.enforcement(Enforcement::Shadow).on_error(OnError::Allow);
    async fn behind<G>(shadow: Throttle<TokenBucket, G>) -> Vec<(u16, bool)>
    where
        G: traffik::storage::AsyncStorage<TokenBucket> + 'static,
    {
        let api = bucket("api", rate!("2/h")).apply_to(Rule::new().prefix("/api")).build().unwrap();
        let both = ThrottleSet::new().and(api).and(shadow).most_specific();
        let mut got = Vec::new();
        for _ in 0..3 {
            let response = crate::answer(&both, at_me()).await;
            got.push((response.status().as_u16(), response.headers().contains_key("x-ratelimit-source")));
        }
        got
    }
    let me = || Rule::new().path("/api/me");
    let expected = [(201, false), (201, false), (429, false)];
    let exempt = |_: RequestParts<'_>| Identity::Exempt;
    assert_eq!(behind(shadow().apply_to(me()).identifier(exempt).build().unwrap()).await, expected);
    let failing = shadow()
        .apply_to(me())
        .on_error(OnError::Allow)
        .cost_by(|_| Err::<u32, RequestError>(failure().into()));
    assert_eq!(behind(failing.build().unwrap()).await, expected);
    assert_eq!(behind(unable.apply_to(me()).build().unwrap()).await, expected);
    // Nor is a client told that it is exempt from what it is not to know of.
    let alone = shadow().identifier(exempt).build().unwrap();
    assert!(!crate::answer(&alone, request(1)).await.headers().contains_key("x-ratelimit-source"));
}

fn at_me() -> Request<String> {
    let mut request = request(1);
    *request.uri_mut() = "/api/me".parse().unwrap();
    request
}

/// Where there is neither a background nor a service to be beside, a request that is hit waits for the shadow.
#[tokio::test]
async fn a_hit_counts_for_a_shadow_elsewhere() {
    let storage = elsewhere(memory(&Clock::default()));
    let tally = Tally::default();
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), storage)
        .enforcement(Enforcement::Shadow)
        .observe(tally.clone());
    let throttle = throttle.build().unwrap();
    for _ in 0..2 {
        assert!(throttle.hit(&request(1)).await.is_ok());
    }
    assert_eq!(
        (tally.count("api", RequestOutcome::Allowed), tally.count("api", RequestOutcome::WouldDeny)),
        (1, 1)
    );
    let client = throttle.client(&request(1)).await.unwrap().unwrap();
    assert!(!client.peek().await.unwrap().outcome().is_allowed());
}
