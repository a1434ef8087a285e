//! Heads of `http` 0.2 as those of `http` 1, and back.
//!
//! Neither version shows the other what it holds, so a head is written anew: its target, if it has one, and
//! its values into one buffer, which they share.

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

/// Room for the target and the values of most requests, in bytes.
const USUAL: usize = 1_024;

/// The head of a request. The extensions that are meant for throttles leave the request for it, until they
/// are [given back](give_back).
///
/// # Errors
///
/// Fails with a refusal for a head that `http` 1 does not take.
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
    let mut text = Vec::with_capacity(USUAL);
    write!(text, "{}", request.uri()).ok()?;
    let mut head = Request::new(());
    *head.method_mut() = Method::from_bytes(request.method().as_str().as_bytes()).ok()?;
    let target = text.len();
    let (target, headers) = headers(text, target, request.headers())?;
    *head.uri_mut() = Uri::from_maybe_shared(target).ok()?;
    *head.headers_mut() = headers;
    Some(head)
}

/// The first bytes of a buffer, and headers whose values are added to it.
fn headers(mut text: Vec<u8>, first: usize, from: &ActixHeaders) -> Option<(Bytes, HeaderMap)> {
    from.iter().for_each(|(_, value)| text.extend_from_slice(value.as_bytes()));
    let mut text = Bytes::from(text);
    let first = text.split_to(first);
    let mut headers = HeaderMap::try_with_capacity(from.len()).ok()?;
    for (name, value) in from {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(text.split_to(value.len())).ok()?).ok()?;
    }
    Some((first, headers))
}

/// Puts the extensions that are meant for throttles, with what those have noted, where handlers find them.
pub(super) fn give_back(head: Request<()>, request: &ServiceRequest) {
    let (head, ()) = head.into_parts();
    request.extensions_mut().insert(head.extensions);
}

/// Takes leave of an admitted request, and writes into its response what the gate adds to the head.
pub(super) fn leave<G: Admission, B>(
    gate: &G,
    pass: G::Permit,
    response: &mut ServiceResponse<B>,
) -> Completion {
    let (_, before) = headers(Vec::new(), 0, response.headers()).unwrap_or_default();
    let mut head = head_with(response.status(), before);
    // Functions of the response read what was noted on it for throttles, such as a failure.
    let noted = response.response_mut().extensions_mut().remove::<Extensions>();
    head.extensions = noted.unwrap_or_default();
    let left = gate.leave(pass, &mut head);
    if !head.extensions.is_empty() {
        response.response_mut().extensions_mut().insert(mem::take(&mut head.extensions));
    }
    for name in head.headers.keys() {
        let (told, stood) = (head.headers.get_all(name), response.headers().get_all(name.as_str()));
        if !told.iter().map(HeaderValue::as_bytes).eq(stood.map(ActixValue::as_bytes)) {
            response.headers_mut().remove(name.as_str());
            told.iter().for_each(|value| append(response.headers_mut(), name, value));
        }
    }
    left
}

/// The head of a response with nothing but this status and these headers.
pub(super) fn head_with(status: ActixStatus, headers: HeaderMap) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    // Both versions know the same numbers.
    head.status = StatusCode::from_u16(status.as_u16()).unwrap_or_default();
    head.headers = headers;
    head
}

/// A throttle's own answer to a request.
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

/// Appends a header: the form that one version takes the other takes, too.
fn append(headers: &mut ActixHeaders, name: &HeaderName, value: &HeaderValue) {
    let name = ActixName::from_bytes(name.as_str().as_bytes());
    if let (Ok(name), Ok(value)) = (name, ActixValue::from_bytes(value.as_bytes())) {
        headers.append(name, value);
    }
}
