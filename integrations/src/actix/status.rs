//! The extractor of a [`RateLimitStatus`] for handlers of actix-web.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::error::ErrorInternalServerError;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use http::Extensions;

use crate::RateLimitStatus;

/// Extracts the status of the innermost throttle that exposes one.
///
/// Extraction fails with status 500 if no throttle does: it was built without
/// [`expose`](crate::ThrottleBuilder::expose), or did not count the request. Extract an `Option` where that
/// can happen.
impl FromRequest for RateLimitStatus {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let outer = request.extensions();
        let innermost = outer.get::<Extensions>().and_then(|own| Self::all(own).last().cloned());
        ready(innermost.ok_or_else(|| {
            ErrorInternalServerError(
                "no throttle exposes the status of the client; build one with expose(), or extract an Option",
            )
        }))
    }
}
