//! Answers to gRPC clients, with the status in the headers of a response without a body.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response};

use crate::http::headers::millis;

/// The gRPC code `RESOURCE_EXHAUSTED`.
const EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
/// The gRPC code `UNAVAILABLE`.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// The header with the wait until a retry, in milliseconds (gRFC A6).
pub(crate) const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Reports whether the request is a gRPC call, by its content type.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc") else { return false };
    // grpc-web carries its status in the body.
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Answers a call beyond the limit. The client may retry after `wait`; without one it must not retry.
pub(crate) fn exhausted(wait: Option<Duration>) -> Response<Bytes> {
    let mut response = status(EXHAUSTED, HeaderValue::from_static("too many requests"));
    // A negative pushback forbids a retry.
    let pushback = wait.map_or(HeaderValue::from_static("-1"), |wait| millis(wait).into());
    response.headers_mut().insert(PUSHBACK, pushback);
    response
}

/// Answers a call that the limiter cannot decide. The client may retry after `wait`, if there is one.
pub(crate) fn unavailable(wait: Option<Duration>) -> Response<Bytes> {
    let mut response = status(UNAVAILABLE, HeaderValue::from_static("the limiter cannot decide"));
    if let Some(wait) = wait {
        response.headers_mut().insert(PUSHBACK, millis(wait).into());
    }
    response
}

fn status(code: HeaderValue, message: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-status"), code);
    headers.insert(HeaderName::from_static("grpc-message"), message);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_content_type() {
        let of = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            is_grpc(&headers)
        };
        assert!(of("application/grpc") && of("application/grpc+proto") && of("application/grpc; x=1"));
        assert!(!of("application/grpc-web") && !of("application/json") && !is_grpc(&HeaderMap::new()));
    }
}
