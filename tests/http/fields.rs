//! Fields that a service or another layer has written: what they tell of stays.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tower::{Layer, Service, ServiceExt, service_fn};
use traffik::web::headers::{Policies, PolicyDecision};
use traffik::web::{HeaderFormat, Peer, Rule, Throttle, ThrottleLayer};
use traffik::{
    Adaptive, All, Class, CostBased, Decision, FairShare, FixedWindow, Gcra, Label, LeakyBucket,
    LeakyBucketQueue, Priority, QuotaRollover, Ratio, Regions, SlidingLog, SlidingWindow, Strategy, Tiered,
    TimeOfDay, Timestamp, TokenBucket, rate,
};

fn field(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// A service that answers 429 with these fields, behind a throttle of many requests.
async fn behind(dialect: HeaderFormat, fields: &'static [(&'static str, &'static str)]) -> HeaderMap {
    let service = service_fn(move |_: Request<()>| async move {
        let response =
            fields.iter().fold(Response::builder().status(429), |it, (name, value)| it.header(*name, *value));
        Ok::<_, std::convert::Infallible>(response.body(String::new()).unwrap())
    });
    let outer = Throttle::in_memory("outer", TokenBucket::new(rate!("1000/h"))).headers(dialect);
    let outer = outer.identifier(Peer::default().or_anonymous()).build().unwrap();
    ThrottleLayer::new(outer).layer(service).oneshot(Request::new(())).await.unwrap().headers().clone()
}

#[tokio::test]
async fn a_list_of_the_service_stays_beside_ours_and_the_tightest_is_first() {
    let told = behind(
        HeaderFormat::Draft10,
        &[("ratelimit", "\"up\";r=0;t=9"), ("ratelimit-policy", "\"up\";q=5;w=60"), ("retry-after", "120")],
    )
    .await;
    assert!(field(&told, "ratelimit").starts_with("\"up\";r=0;t=9, \"outer\";r=999"), "{told:?}");
    assert_eq!(field(&told, "ratelimit-policy"), "\"up\";q=5;w=60, \"outer\";q=1000;w=3600");
    assert_eq!(told[RETRY_AFTER], "120", "the service knows best when it will answer");
    let several =
        behind(HeaderFormat::Draft10, &[("ratelimit", "\"a\";r=5000"), ("ratelimit", "\"b, c\";r=7")]).await;
    let told = field(&several, "ratelimit");
    assert!(told.starts_with("\"b, c\";r=7, \"outer\";r=999") && told.ends_with(", \"a\";r=5000"), "{told}");
    // A value that is no list cannot be added to.
    let odd = behind(HeaderFormat::Draft10, &[("ratelimit", "limit=5, remaining=0, reset=;")]).await;
    assert!(field(&odd, "ratelimit").starts_with("\"outer\";r=999"), "{odd:?}");
}

#[tokio::test]
async fn where_one_limit_is_told_it_is_the_tighter_one() {
    for (dialect, fields) in [
        (
            HeaderFormat::XRateLimit,
            &[("x-ratelimit-limit", "5"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")][..],
        ),
        (
            HeaderFormat::Draft06,
            &[("ratelimit-limit", "5"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "9")],
        ),
        (
            HeaderFormat::Draft07,
            &[("ratelimit", "limit=5, remaining=0, reset=9"), ("ratelimit-policy", "5;w=60")],
        ),
    ] {
        let told = behind(dialect, fields).await;
        for (name, value) in fields {
            assert_eq!(field(&told, name), *value, "{dialect:?}");
        }
    }
    let told =
        behind(HeaderFormat::XRateLimit, &[("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4000")])
            .await;
    assert_eq!(
        (field(&told, "x-ratelimit-limit"), field(&told, "x-ratelimit-remaining")),
        ("1000".into(), "999".into())
    );
}

/// Two layers of ours, one within the other.
#[tokio::test]
async fn a_denial_within_is_told_first() {
    let layer = |uid, limit| {
        let throttle = Throttle::in_memory(uid, TokenBucket::new(limit)).headers(HeaderFormat::Draft10);
        ThrottleLayer::new(throttle.identifier(Peer::default().or_anonymous()).build().unwrap())
    };
    let service = service_fn(|_: Request<()>| async {
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let mut service = layer("outer", rate!("1000/h")).layer(layer("inner", rate!("1/h")).layer(service));
    let first = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    assert_eq!(first.status(), 200);
    let denied = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    assert_eq!((denied.status().as_u16(), denied.headers()[RETRY_AFTER].to_str().unwrap()), (429, "3600"));
    let told = field(denied.headers(), "ratelimit");
    assert!(told.starts_with("\"inner\";r=0;t=3600, \"outer\";r=998"), "{told}");
}

/// A name that was not checked by a builder.
#[test]
fn any_name_is_a_string_of_a_structured_field() {
    let decision =
        Decision::allow(5, 4, Duration::from_secs(9)).with_more_after(Some(Duration::from_secs(9)));
    let told = PolicyDecision { name: "a \"b\" \\ é\n", decision };
    let mut headers = HeaderMap::new();
    HeaderFormat::Draft10.write(&mut Policies::from_iter([told]), &mut headers);
    assert_eq!(field(&headers, "ratelimit"), r#""a \"b\" \\ %C3%A9%0A";r=4;t=9"#);
}

/// A page of another site asks first whether it may: that is not its request.
#[tokio::test]
async fn a_preflight_can_pass_uncounted() {
    let throttle = || {
        let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("1/h")));
        throttle.identifier(Peer::default().or_anonymous()).apply_to(Rule::new().prefix("/"))
    };
    let ask = async |throttle: &_, method: Method, fields: &[(&'static str, &'static str)]| {
        let service = service_fn(|_: Request<()>| async {
            Ok::<_, std::convert::Infallible>(Response::new(String::new()))
        });
        let mut request = Request::builder().method(method).uri("/").body(()).unwrap();
        fields.iter().for_each(|(name, value)| {
            drop(request.headers_mut().insert(*name, HeaderValue::from_static(value)))
        });
        ThrottleLayer::new(Clone::clone(throttle))
            .layer(service)
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "POST")];
    let counted = throttle().build().unwrap();
    assert_eq!(ask(&counted, Method::OPTIONS, &preflight).await, 200);
    assert_eq!(ask(&counted, Method::OPTIONS, &preflight).await, 429);
    let exempt = throttle().bypass_preflights().build().unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&exempt, Method::OPTIONS, &preflight).await, 200);
    }
    assert_eq!(ask(&exempt, Method::OPTIONS, &preflight[..1]).await, 200, "that is none");
    assert_eq!(ask(&exempt, Method::POST, &preflight).await, 429);
}

/// `RateLimit-Policy` and `RateLimit` of draft 10 after so many hits of cost 1 at the epoch.
fn told_of(limit: impl Strategy<Cost = u32>, class: Class, hits: u32) -> [String; 2] {
    use traffik::Verdict;

    let hit = traffik::Hit::new(1).with_class(class);
    let (mut state, mut limits) = (Default::default(), Policies::new());
    for _ in 0..hits {
        limits.clear();
        let verdict = limit.decide(&mut state, &hit, Timestamp::EPOCH);
        verdict.for_each(&mut |decision| limits.push(PolicyDecision { name: "it", decision: *decision }));
    }
    let mut headers = HeaderMap::new();
    HeaderFormat::Draft10.write(&mut limits, &mut headers);
    ["ratelimit-policy", "ratelimit"].map(|name| field(&headers, name).replace("\"it\";", ""))
}

/// `q` and `w` are those of the rate, whatever may be had at once, and `r` is never above `q`.
#[test]
fn policies_state_the_rate() {
    let (minute, class) = (rate!("100/min"), Class::default());
    let policy = |[policy, _]: [String; 2]| policy;
    let spaced = [
        policy(told_of(Gcra::new(minute), class, 1)),
        policy(told_of(LeakyBucket::new(minute), class, 1)),
        policy(told_of(LeakyBucketQueue::new(minute).queue(5).unwrap(), class, 1)),
        policy(told_of(TokenBucket::new(minute).burst(3).unwrap(), class, 1)),
        policy(told_of(CostBased::new(minute).burst(300).unwrap(), class, 1)),
        policy(told_of(FixedWindow::new(minute), class, 1)),
        policy(told_of(SlidingWindow::new(minute), class, 1)),
        policy(told_of(SlidingWindow::strict::<6>(minute), class, 1)),
        policy(told_of(SlidingLog::<100>::new(minute).unwrap(), class, 1)),
        policy(told_of(Adaptive::new(minute), class, 1)),
        policy(told_of(QuotaRollover::new(minute), class, 1)),
        policy(told_of(FairShare::<4>::new(minute), class, 1)),
    ];
    assert_eq!(spaced, ["q=100;w=60"; 12]);
    let burst = TokenBucket::new(rate!("10/min")).burst(20).unwrap();
    assert_eq!(told_of(burst, class, 1), ["q=10;w=60", "r=10"], "more than r is there already");
    assert_eq!(told_of(burst, class, 10), ["q=10;w=60", "r=10;t=6"]);
    assert_eq!(told_of(burst, class, 12), ["q=10;w=60", "r=8;t=6"]);
    let rolled = QuotaRollover::new(rate!("10/min"));
    assert_eq!(told_of(rolled, class, 1), ["q=10;w=60", "r=10"]);
    assert_eq!(told_of(rolled, class, 6), ["q=10;w=60", "r=9;t=60"]);
}

/// A tier, an hour and a region have a rate of their own, and hits that leave a reserve one that is less.
#[test]
fn policies_state_the_rate_of_the_hits_class() {
    let class = |label| {
        let mut class = Class::default();
        (class.tier, class.priority, class.region) = (label, label, label);
        class
    };
    let (half, gold) = (Ratio::new(1, 2).unwrap(), class(Label(7)));
    let gcra = Gcra::new(rate!("10/min"));
    let tiered = Tiered::new(gcra, [(Label(1), Ratio::ONE), (Label(7), Ratio::new(5, 1).unwrap())]).unwrap();
    assert_eq!(told_of(tiered, class(Label(1)), 1), ["q=10;w=60", "r=0;t=6"]);
    assert_eq!(told_of(tiered, gold, 1), ["q=50;w=60", "r=0;t=2"]);
    let night = traffik::Hours::new((0, 0), (8, 0), half);
    let hours = TimeOfDay::new(gcra, [night]).unwrap();
    assert_eq!(told_of(hours, gold, 1), ["q=5;w=60", "r=0;t=12"]);
    let reserved = [(Label(7), half)];
    let window = Priority::new(FixedWindow::new(rate!("10/min")), reserved).unwrap();
    assert_eq!(told_of(window, gold, 1), ["q=5;w=60", "r=4;t=60"]);
    let bucket = Priority::new(TokenBucket::new(rate!("10/min")).burst(20).unwrap(), reserved).unwrap();
    assert_eq!(told_of(bucket, gold, 1), ["q=10;w=60", "r=9;t=6"], "it refills at the whole rate");
    let regions = Regions::<2>::new(rate!("10/min"), &[(Label(7), Ratio::new(3, 10).unwrap())]).unwrap();
    assert_eq!(told_of(regions, gold, 1), ["q=3;w=60", "r=2;t=60"]);
    assert_eq!(told_of(regions.spill(true), gold, 1), ["q=3;w=60", "r=3"], "it may have others' as well");
    assert_eq!(
        told_of(All([gcra, Gcra::new(rate!("100/h"))]), gold, 1),
        ["q=10;w=60, q=100;w=3600", "r=0;t=6, r=0;t=36"]
    );
}

/// `t` is the time until more can be had, and on a denial the wait.
#[test]
fn the_time_is_that_until_more_can_be_had() {
    let class = Class::default();
    let told = |limit, hits| told_of(limit, class, hits)[1].clone();
    let bucket = TokenBucket::new(rate!("5/10s"));
    let all: Vec<String> = (1..7).map(|hits| told(bucket, hits)).collect();
    assert_eq!(all, ["r=4;t=2", "r=3;t=2", "r=2;t=2", "r=1;t=2", "r=0;t=2", "r=0;t=2"]);
    assert_eq!(told_of(FixedWindow::new(rate!("5/10s")), class, 1)[1], "r=4;t=10");
    assert_eq!(told_of(SlidingWindow::new(rate!("5/10s")), class, 1)[1], "r=4;t=11", "after the next begins");
    assert_eq!(told_of(SlidingLog::<5>::new(rate!("5/10s")).unwrap(), class, 2)[1], "r=3");
    assert_eq!(told_of(SlidingWindow::strict::<5>(rate!("5/10s")), class, 1)[1], "r=4;t=12");
    assert_eq!(told_of(LeakyBucketQueue::new(rate!("5/10s")), class, 2)[1], "r=4;t=2");
    let debt = TokenBucket::new(rate!("5/10s")).debt(2).unwrap();
    assert_eq!(told_of(debt, class, 7)[1], "r=0;t=6", "two are owed");
}
