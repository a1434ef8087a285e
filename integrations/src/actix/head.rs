//! Conversion of requests and responses of `http` 0.2 to those of `http` 1, and back.
//!
//! The two versions cannot share values, so a head is copied: the target and the header values go into one
//! buffer, which the new values share.

use std::io::Write;
use std::mem;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode as ActixStatus;
use actix_web::http::header::{
    HeaderMap as ActixHeaders, HeaderName as ActixName, HeaderValue as ActixValue,
};
use actix_web::{HttpMessage, HttpResponse};
use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

use crate::http::request::Refusal;
use crate::middleware::admission::{Admission, Completion};
use crate::{PeerAddress, ResponseBody};

/// Size in bytes of the buffer for a head: the target and the values of most requests fit.
const HEAD_BUFFER: usize = 1_024;

/// Returns the head of a request as one of `http` 1. The extensions for throttles move from the request into
/// it, until [`give_back`] returns them.
///
/// # Errors
///
/// Fails with a refusal (400) if `http` 1 does not accept the target or a header.
pub(super) fn head_of(request: &ServiceRequest) -> Result<Request<()>, Refusal> {
    let mut head = rewritten(request).ok_or_else(|| {
        Refusal::new(StatusCode::BAD_REQUEST, "the target or a header of the request is not well formed")
    })?;
    *head.extensions_mut() = request.extensions_mut().remove::<Extensions>().unwrap_or_default();
    if let Some(peer) = request.peer_addr() {
        head.extensions_mut().get_or_insert(PeerAddress::new(peer));
    }
    Ok(head)
}

fn rewritten(request: &ServiceRequest) -> Option<Request<()>> {
    let mut text = Vec::with_capacity(HEAD_BUFFER);
    write!(text, "{}", request.uri()).ok()?;
    let mut head = Request::new(());
    *head.method_mut() = Method::from_bytes(request.method().as_str().as_bytes()).ok()?;
    let target = text.len();
    let (target, headers) = headers(text, target, request.headers())?;
    *head.uri_mut() = Uri::from_maybe_shared(target).ok()?;
    *head.headers_mut() = headers;
    Some(head)
}

/// Returns the `first` bytes of a buffer, and headers whose values were appended to it.
fn headers(mut text: Vec<u8>, first: usize, from: &ActixHeaders) -> Option<(Bytes, HeaderMap)> {
    from.iter().for_each(|(_, value)| text.extend_from_slice(value.as_bytes()));
    // From here on `text` starts with the values that are not handed out yet, in the order of `from`.
    let mut text = Bytes::from(text);
    let first = text.split_to(first);
    let mut headers = HeaderMap::try_with_capacity(from.len()).ok()?;
    for (name, value) in from {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(text.split_to(value.len())).ok()?).ok()?;
    }
    Some((first, headers))
}

/// Moves the extensions for throttles, with all that throttles wrote into them, back to the request.
pub(super) fn give_back(head: Request<()>, request: &ServiceRequest) {
    let (head, ()) = head.into_parts();
    request.extensions_mut().insert(head.extensions);
}

/// Calls [`Admission::leave`] for a response, and copies the headers that changed into the response.
pub(super) fn leave<G: Admission, B>(
    admission: &G,
    permit: G::Permit,
    response: &mut ServiceResponse<B>,
) -> Completion {
    let (_, before) = headers(Vec::new(), 0, response.headers()).unwrap_or_default();
    let mut head = head_with(response.status(), before);
    // Functions of the response read its extensions, such as a failure that a handler put there.
    let extensions = response.response_mut().extensions_mut().remove::<Extensions>();
    head.extensions = extensions.unwrap_or_default();
    let completion = admission.leave(permit, &mut head);
    if !head.extensions.is_empty() {
        response.response_mut().extensions_mut().insert(mem::take(&mut head.extensions));
    }
    // Only headers that differ are written, so that all others keep their order and number.
    for name in head.headers.keys() {
        let (new, old) = (head.headers.get_all(name), response.headers().get_all(name.as_str()));
        if !new.iter().map(HeaderValue::as_bytes).eq(old.map(ActixValue::as_bytes)) {
            response.headers_mut().remove(name.as_str());
            new.iter().for_each(|value| append(response.headers_mut(), name, value));
        }
    }
    completion
}

/// Returns the head of a response with this status and these headers.
pub(super) fn head_with(status: ActixStatus, headers: HeaderMap) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    // Both versions accept the same numbers, so the default is never used.
    head.status = StatusCode::from_u16(status.as_u16()).unwrap_or_default();
    head.headers = headers;
    head
}

/// Returns a throttle's own response to a request.
pub(super) fn answer<B>(
    request: ServiceRequest,
    response: Response<Bytes>,
) -> ServiceResponse<ResponseBody<B>> {
    let (head, body) = response.into_parts();
    let status = ActixStatus::from_u16(head.status.as_u16()).unwrap_or_default();
    let mut answer = HttpResponse::with_body(status, ResponseBody::own(body));
    head.headers.iter().for_each(|(name, value)| append(answer.headers_mut(), name, value));
    if !head.extensions.is_empty() {
        answer.extensions_mut().insert(head.extensions);
    }
    ServiceResponse::new(request.into_parts().0, answer)
}

/// Appends a header. Both versions accept the same names and values.
fn append(headers: &mut ActixHeaders, name: &HeaderName, value: &HeaderValue) {
    let name = ActixName::from_bytes(name.as_str().as_bytes());
    if let (Ok(name), Ok(value)) = (name, ActixValue::from_bytes(value.as_bytes())) {
        headers.append(name, value);
    }
}
