//! The extractor of a [`RateLimitStatus`] for handlers of actix-web.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::error::ErrorInternalServerError;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use http::Extensions;

use crate::RateLimitStatus;

/// The status of the innermost throttle that wrote one on the request.
///
/// Extraction fails with status 500 if there is none: the throttle was built without
/// [`expose`](crate::ThrottleBuilder::expose), or did not apply. Extract an `Option` where that can happen.
impl FromRequest for RateLimitStatus {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let noted = request.extensions();
        let innermost = noted.get::<Extensions>().and_then(|noted| Self::all(noted).last().cloned());
        ready(innermost.ok_or_else(|| {
            ErrorInternalServerError(
                "the request has no RateLimitStatus; build the throttle with expose(), or extract an Option",
            )
        }))
    }
}
