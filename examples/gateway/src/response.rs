//! The gateway's own answers: a text, or a body of a content type that no cache keeps.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// The body of an answer, of the upstream's or of the gateway's own.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

pub(crate) type GatewayResponse = Response<Body>;

/// Answers with this text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> GatewayResponse {
    let mut reply = Response::new(whole(text));
    *reply.status_mut() = status;
    reply
}

/// Answers with a text of this content type, which no cache may keep.
pub(crate) fn typed(kind: &'static str, text: impl Into<Bytes>) -> GatewayResponse {
    streamed(kind, whole(text))
}

/// Answers with a body of this content type. No cache may keep it, as it is true for a moment only.
pub(crate) fn streamed(kind: &'static str, body: Body) -> GatewayResponse {
    let mut reply = Response::new(body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}
