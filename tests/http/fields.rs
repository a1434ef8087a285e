//! Fields that a service or another layer has written: what they tell of stays.

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tower::{Layer, Service, ServiceExt, service_fn};
use traffik::http::headers::{Limits, Told};
use traffik::http::{Dialect, Peer, Rule, Throttle, ThrottleLayer};
use traffik::{Decision, TokenBucket, rate};

fn field(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// A service that answers 429 with these fields, behind a throttle of many requests.
async fn behind(dialect: Dialect, fields: &'static [(&'static str, &'static str)]) -> HeaderMap {
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
        Dialect::Draft10,
        &[("ratelimit", "\"up\";r=0;t=9"), ("ratelimit-policy", "\"up\";q=5;w=60"), ("retry-after", "120")],
    )
    .await;
    assert!(field(&told, "ratelimit").starts_with("\"up\";r=0;t=9, \"outer\";r=999"), "{told:?}");
    assert_eq!(field(&told, "ratelimit-policy"), "\"up\";q=5;w=60, \"outer\";q=1000;w=3600");
    assert_eq!(told[RETRY_AFTER], "120", "the service knows best when it will answer");
    let several =
        behind(Dialect::Draft10, &[("ratelimit", "\"a\";r=5000"), ("ratelimit", "\"b, c\";r=7")]).await;
    let told = field(&several, "ratelimit");
    assert!(told.starts_with("\"b, c\";r=7, \"outer\";r=999") && told.ends_with(", \"a\";r=5000"), "{told}");
    // What is no list cannot be added to.
    let odd = behind(Dialect::Draft10, &[("ratelimit", "limit=5, remaining=0, reset=;")]).await;
    assert!(field(&odd, "ratelimit").starts_with("\"outer\";r=999"), "{odd:?}");
}

#[tokio::test]
async fn where_one_limit_is_told_it_is_the_tighter_one() {
    for (dialect, fields) in [
        (
            Dialect::XRateLimit,
            &[("x-ratelimit-limit", "5"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")][..],
        ),
        (
            Dialect::Draft06,
            &[("ratelimit-limit", "5"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "9")],
        ),
        (Dialect::Draft07, &[("ratelimit", "limit=5, remaining=0, reset=9"), ("ratelimit-policy", "5;w=60")]),
    ] {
        let told = behind(dialect, fields).await;
        for (name, value) in fields {
            assert_eq!(field(&told, name), *value, "{dialect:?}");
        }
    }
    let told =
        behind(Dialect::XRateLimit, &[("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4000")])
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
        let throttle = Throttle::in_memory(uid, TokenBucket::new(limit)).headers(Dialect::Draft10);
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
    let told =
        Told { name: "a \"b\" \\ é\n", decision: Decision::allow(5, 4, std::time::Duration::from_secs(9)) };
    let mut headers = HeaderMap::new();
    Dialect::Draft10.write(&mut Limits::from_iter([told]), &mut headers);
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
