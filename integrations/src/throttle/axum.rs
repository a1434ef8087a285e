//! Extractors and responses for axum's handlers.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::Rejection;
use crate::RateLimitStatus;

/// Extracts the status of the innermost throttle that exposes one.
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

/// The rejection of the extractor [`RateLimitStatus`] if no throttle exposes a status. It answers 500.
///
/// Build the throttle with [`expose`](crate::ThrottleBuilder::expose), or extract an `Option`:
///
/// ```
/// use traffik::web::RateLimitStatus;
///
/// async fn index(status: Option<RateLimitStatus>) -> String {
///     let limits = status.map_or(0, |status| status.policies().count());
///     format!("{limits} limits apply")
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(index));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotExposed;

impl std::fmt::Display for NotExposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "no throttle exposes the status of the client; build one with expose(), or extract an Option",
        )
    }
}

impl std::error::Error for NotExposed {}

/// Responds with the throttle's own answer.
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
