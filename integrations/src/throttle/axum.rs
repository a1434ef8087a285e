//! What handlers of axum can ask for.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::Rejection;
use crate::RateLimitStatus;

/// The innermost throttle that has noted something on the request.
impl<S: Send + Sync> FromRequestParts<S> for RateLimitStatus {
    type Rejection = NotExposed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotExposed> {
        Self::all(&parts.extensions).last().cloned().ok_or(NotExposed)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for RateLimitStatus {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::all(&parts.extensions).last().cloned())
    }
}

/// No throttle has noted where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotExposed;

impl std::fmt::Display for NotExposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no throttle tells where the client stands; build it with expose(), or ask for an Option")
    }
}

impl std::error::Error for NotExposed {}

/// The throttle's own answer.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.into_inner().map(Body::from)
    }
}

impl IntoResponse for NotExposed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
