//! The answer to a question: 200, or the denial.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use traffik::web::ResponseBody;

use super::question;
use crate::gateway::Gateway;
use crate::limits::denial_reply::OwnReply;
use crate::observe::counters::{self, COUNTERS};
use crate::proxy::target;
use crate::response::{Body, text};

/// Answers the question of a proxy.
pub(crate) async fn answer<B>(
    request: Request<B>,
    proxy: SocketAddr,
    gateway: &Gateway,
) -> Response<ResponseBody<Body>> {
    counters::count(&COUNTERS.auth_requests);
    let trusted = &gateway.common.trusted;
    let refused = |status, reason: &str| text(status, format!("{reason}\n")).map(ResponseBody::from);
    if !trusted.contains(proxy.ip()) {
        let reason = format!("{} is no trusted proxy; name its network by --trusted-proxy", proxy.ip());
        return refused(StatusCode::FORBIDDEN, &reason);
    }
    let asked = match question::asked(request, proxy, trusted) {
        Ok(asked) => asked,
        Err(reason) => return refused(StatusCode::BAD_REQUEST, &reason),
    };
    if let Some(reason) = target::refusal(asked.uri()) {
        return refused(StatusCode::BAD_REQUEST, reason);
    }
    let handler = Arc::clone(&gateway.pipeline.load().doors.auth);
    let Ok(mut response) = handler(asked).await;
    // Any other response that is not 200, such as 503 without a store, is no denial.
    let is_denial = response.status() == StatusCode::TOO_MANY_REQUESTS
        || response.extensions().get::<OwnReply>().is_some();
    if let (Some(status), true) = (gateway.auth_denied_status, is_denial) {
        *response.status_mut() = status;
    }
    // A denial of HEAD has the length of the body that GET would have, and the question may be a GET.
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}
