//! Where a client stands, for handlers of actix-web.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::error::ErrorInternalServerError;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use http::Extensions;

use crate::RateLimitStatus;

/// The innermost throttle that has noted something on the request; ask for an `Option` where none may have.
impl FromRequest for RateLimitStatus {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let noted = request.extensions();
        let innermost = noted.get::<Extensions>().and_then(|noted| Self::all(noted).last().cloned());
        ready(innermost.ok_or_else(|| {
            ErrorInternalServerError(
                "no throttle tells where the client stands; build it with expose(), or ask for an Option",
            )
        }))
    }
}
