//! The responses that the gateway itself writes: plain text, or a body that no cache may store.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// The failure of a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response, from the upstream or from the gateway itself.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A response to a client.
pub(crate) type GatewayResponse = Response<Body>;

/// Returns a plain text response.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> GatewayResponse {
    let mut reply = Response::new(whole(text));
    *reply.status_mut() = status;
    reply
}

/// Returns a response of this content type that no cache may store.
pub(crate) fn typed(kind: &'static str, text: impl Into<Bytes>) -> GatewayResponse {
    streamed(kind, whole(text))
}

/// Returns a response with a body of this content type. No cache may store it: the content is outdated at
/// once.
pub(crate) fn streamed(kind: &'static str, body: Body) -> GatewayResponse {
    let mut reply = Response::new(body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}
