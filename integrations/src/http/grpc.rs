//! What a gRPC client whose request does not pass is told: a status in the headers, of a response that has nothing else.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response};

use crate::http::headers::millis;

/// `RESOURCE_EXHAUSTED` and `UNAVAILABLE`, by their numbers.
const EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

pub(crate) const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Whether the request is a gRPC call, by its content type.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc") else { return false };
    // grpc-web carries its status in the body.
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The call is beyond the limit. The client may try again after the wait, or is told never to.
pub(crate) fn exhausted(wait: Option<Duration>) -> Response<Bytes> {
    let mut response = status(EXHAUSTED, HeaderValue::from_static("too many requests"));
    // A negative pushback says that the call is not to be tried again.
    let pushback = wait.map_or(HeaderValue::from_static("-1"), |wait| millis(wait).into());
    response.headers_mut().insert(PUSHBACK, pushback);
    response
}

/// The limiter itself cannot decide. The client may try again after the wait, if there is one.
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
