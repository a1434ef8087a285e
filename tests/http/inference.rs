//! Closures that need no annotation, and the errors that `?` turns into a failure or a refusal.

use std::num::ParseIntError;

use http::StatusCode;
use traffik::storage::BackendError;
use traffik::web::{
    CompositeKey, ErrorAction, Identity, OnError, Peer, Refusal, RequestError, RequestOutcome, Rule, Tally,
    Throttle, ThrottleDefaults,
};
use traffik::{Class, ErrorKind, TokenBucket, rate};

use crate::{Clock, answer, memory, request};

const LIMIT: TokenBucket = TokenBucket::new(rate!("100/h"));

/// Each takes its argument's type from the method, asks of it, and answers with a value or a result.
#[tokio::test]
async fn closures_need_no_annotation() {
    let by_both = CompositeKey::new()
        .and(Peer::default())
        .and_by(|request| Identity::of(b'm', request.method.as_str().as_bytes()));
    let throttle = Throttle::builder_by("all", LIMIT, |request| {
        let _ = request.uri.path();
        std::sync::Arc::new(memory(&Clock::default()))
    })
    .identifier(by_both)
    .strategy_by(|request| if request.uri.path() == "/" { LIMIT } else { TokenBucket::new(rate!("1/h")) })
    .cost_by(|request| request.uri.path().len() as u32)
    .class_by(|request| request.extensions.get::<Class>().copied().unwrap_or_default())
    .apply_to(Rule::new().when(|request| request.uri.path() == "/").when_async(|request| {
        let is_root = request.uri.path() == "/";
        async move { is_root }
    }))
    .charge_if(|response| response.status.is_success())
    .on_throttled(|denial| denial.response())
    .on_error(OnError::ask(
        |trouble| if trouble.client.is_none() { ErrorAction::Allow } else { ErrorAction::Raise },
    ))
    .build()
    .unwrap();
    assert_eq!(answer(&throttle, request(1)).await.status(), 201);

    let awaited = Throttle::in_memory("awaited", LIMIT)
        .identifier_by_async(|request| {
            let method = request.method.clone();
            async move { Identity::of(b'm', method.as_str().as_bytes()) }
        })
        .strategy_by_async(|request| {
            let is_root = request.uri.path() == "/";
            async move { if is_root { LIMIT } else { TokenBucket::new(rate!("1/h")) } }
        })
        .cost_by_async(|request| {
            let length = request.uri.path().to_owned();
            async move { Ok(length.len().try_into()?) }
        })
        .class_by_async(|_| async { Class::default() })
        .on_throttled_async(|denial| {
            let response = denial.response();
            async move { response }
        })
        .on_error(OnError::ask_async(|trouble| {
            let is_safe = trouble.request.method.is_safe();
            async move { if is_safe { ErrorAction::Allow } else { ErrorAction::Throttle } }
        }))
        .build()
        .unwrap();
    assert_eq!(answer(&awaited, request(1)).await.status(), 201);

    let base = ThrottleDefaults::new(std::sync::Arc::new(memory(&Clock::default())))
        .identifier_by(|request| Identity::of(b'm', request.method.as_str().as_bytes()))
        .on_throttled(|denial| denial.response());
    let named = base.throttle("named", TokenBucket::new(rate!("1/h")));
    let named = named.identifier_by(|request| {
        let Some(name) = request.headers.get("name") else { return Ok(Identity::anonymous()) };
        Ok(Identity::of(b'h', name.to_str()?.as_bytes()))
    });
    let named = named.build().unwrap();
    let of = |name: &[u8]| {
        let mut request = request(1);
        request.headers_mut().insert("name", http::HeaderValue::from_bytes(name).unwrap());
        request
    };
    for (name, status) in [(&b"ann"[..], 201), (b"bob", 201), (b"ann", 429), (b"\xff", 503)] {
        assert_eq!(answer(&named, of(name)).await.status(), status, "{name:?}");
    }
}

#[derive(Debug)]
struct Unpaid;

impl std::fmt::Display for Unpaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the invoice is open")
    }
}

impl std::error::Error for Unpaid {}

/// Three types of errors in one closure; what is a refusal, or a failure with a kind, stays that.
#[tokio::test]
async fn any_error_stops_a_request() {
    let tally = Tally::default();
    let throttle = Throttle::in_memory("api", LIMIT)
        .cost_by(|request| {
            match request.uri.path() {
                "/io" => Err(std::io::Error::from(std::io::ErrorKind::NotFound))?,
                "/unpaid" => Err(Unpaid)?,
                "/refused" => Err(Refusal::new(StatusCode::PAYMENT_REQUIRED, "pay first"))?,
                "/down" => Err(BackendError::new(ErrorKind::Unavailable, "down"))?,
                _ => {}
            }
            Ok(request.uri.path().trim_start_matches('/').parse::<u32>()?)
        })
        .on_error(OnError::ask(|trouble| {
            let text = format!("{:?} {}", trouble.kind(), trouble.failure);
            ErrorAction::Answer(http::Response::builder().status(507).body(text.into()).unwrap())
        }))
        .observe(tally.clone())
        .build()
        .unwrap();
    for (path, status, text) in [
        ("/7", 200, ""),
        ("/io", 507, "Other entity not found"),
        ("/unpaid", 507, "Other the invoice is open"),
        ("/refused", 402, "pay first"),
        ("/down", 507, "Unavailable down"),
        ("/x", 507, "Other invalid digit found in string"),
    ] {
        let mut request = request(1);
        *request.uri_mut() = path.parse().unwrap();
        let got = match throttle.hit(&request).await {
            Ok(_) => (200, String::new()),
            Err(rejection) => {
                let body = String::from_utf8(rejection.response().body().to_vec()).unwrap();
                (rejection.status().as_u16(), body)
            }
        };
        assert!(got.0 == status && got.1.contains(text), "{path}: {got:?}");
    }
    assert_eq!(
        (tally.count("api", RequestOutcome::Failed), tally.count("api", RequestOutcome::Refused)),
        (4, 1)
    );
    let stop: RequestError = "x".parse::<u8>().unwrap_err().into();
    let RequestError::Failed(failure) = stop else { panic!("{stop:?}") };
    assert!(failure.cause().is::<ParseIntError>(), "the cause can be found again");
}
