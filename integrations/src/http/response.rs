//! Answers to requests that do not pass, and the headers of those that do.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use smallvec::SmallVec;
use traffik_core::storage::BackendError;
use traffik_core::{Decision, Outcome, Verdict};

use crate::http::denial::wait_of;
use crate::http::grpc;
use crate::http::headers::{HeaderFormat, Policies, PolicyDecision, millis, number, seconds};
use crate::http::on_error::{ErrorAction, OUTAGE_WAIT};
use crate::http::request::Refusal;

/// The responses that carry a header which the user added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendWhen {
    /// All responses to admitted and denied requests.
    Always,
    /// Denials only.
    WhenDenied,
}

/// The names of a throttle's policies, the format of its headers, and the headers of the user.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) names: Vec<String>,
    pub(crate) format: HeaderFormat,
    pub(crate) extra: Vec<(HeaderName, HeaderValue, SendWhen)>,
}

impl Answers {
    pub(crate) const fn new(names: Vec<String>) -> Self {
        Self { names, format: HeaderFormat::None, extra: Vec::new() }
    }

    /// Adds the headers to the response of an admitted request.
    pub(crate) fn write(&self, verdict: &impl Verdict, headers: &mut HeaderMap) {
        if self.format != HeaderFormat::None {
            self.format.write(&mut self.limits(verdict), headers);
        }
        self.add(SendWhen::Always, headers);
    }

    /// Adds the headers of the user.
    pub(crate) fn add(&self, reason: SendWhen, headers: &mut HeaderMap) {
        for (name, value, sent) in &self.extra {
            if *sent == SendWhen::Always || *sent == reason {
                headers.insert(name.clone(), value.clone());
            }
        }
    }

    /// Returns each limit with its name. The last name stands for all limits beyond it.
    pub(crate) fn limits(&self, verdict: &impl Verdict) -> Policies<'_> {
        let mut limits = Policies::new();
        verdict.for_each(&mut |decision: &Decision| limits.push(self.policy(limits.len(), decision)));
        limits
    }

    /// Returns the limit at this position with its name.
    pub(crate) fn policy(&self, at: usize, decision: &Decision) -> PolicyDecision<'_> {
        let name = self.names.get(at).or(self.names.last());
        PolicyDecision { name: name.map_or("limit", String::as_str), decision: *decision }
    }
}

/// Answers 429, with the wait or the note that waiting does not help. Answers a gRPC request by a gRPC
/// status.
pub(crate) fn denied(is_grpc: bool, outcome: Outcome, limits: &[PolicyDecision<'_>]) -> Response<Bytes> {
    let wait = wait_of(outcome);
    if is_grpc {
        return grpc::exhausted(wait);
    }
    answer(StatusCode::TOO_MANY_REQUESTS, problem(wait, limits), wait)
}

/// Returns the body of a denial. It is written into one exact allocation, since denied clients retry often.
fn problem(wait: Option<Duration>, limits: &[PolicyDecision<'_>]) -> Bytes {
    const BEGIN: &str = "{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\
        \"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"";
    const POLICIES: &str = ",\"violated-policies\":[";
    let violated = limits.iter().filter(|limit| !limit.decision.is_allowed());
    let names: SmallVec<[Cow<'_, str>; 4]> = violated.map(|limit| escaped(limit.name)).collect();
    let (mut whole, mut exact) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (what, end) = match (wait, names.is_empty()) {
        (Some(_), false) => ("over the limit ", "; try again in "),
        (Some(_), true) => ("too early", "; try again in "),
        (None, false) => ("over the limit ", ", which never admits as much at once\",\"never\":true"),
        (None, true) => ("too much at once", "\",\"never\":true"),
    };
    let [when, unit, number] = match wait {
        Some(wait) => {
            // At least 1 s, as in `Retry-After`: 0 would invite a retry that is denied again.
            let when = whole.format(seconds(wait).max(1));
            [when, " s\",\"retry_after_ms\":", exact.format(millis(wait))]
        }
        None => [""; 3],
    };
    // Each name appears twice: after " and ", and quoted after a comma. The first of each has no separator,
    // so listed = Σ (2 * len + |" and "| + |"\"\","|) - |" and ,"|.
    let listed: usize = names.iter().map(|name| 2 * name.len() + " and ".len() + "\"\",".len()).sum();
    let listed = listed.saturating_sub(" and ,".len());
    let ends = [BEGIN, what, end, when, unit, number, POLICIES, "]}"];
    // One allocation of the exact length: `Bytes::from` then keeps it instead of copying.
    let mut body = String::with_capacity(listed + ends.iter().map(|piece| piece.len()).sum::<usize>());
    body.extend([BEGIN, what]);
    for (at, name) in names.iter().enumerate() {
        body.extend([if at > 0 { " and " } else { "" }, name]);
    }
    body.extend([end, when, unit, number, POLICIES]);
    for (at, name) in names.iter().enumerate() {
        body.extend([if at > 0 { ",\"" } else { "\"" }, name, "\""]);
    }
    body.push_str("]}");
    Bytes::from(body)
}

/// Escapes text for a JSON string. Control characters become spaces.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// Answers a request on which a throttle could not decide; `None` if the request passes.
pub(crate) fn failed(is_grpc: bool, remedy: ErrorAction, failure: &BackendError) -> Option<Response<Bytes>> {
    Some(match remedy {
        ErrorAction::Allow => return None,
        ErrorAction::Throttle => unavailable(is_grpc, None),
        ErrorAction::ThrottleFor(wait) => unavailable(is_grpc, Some(wait)),
        ErrorAction::Answer(response) => response,
        // A layer outside reads the failure from the response's extensions.
        ErrorAction::Raise => {
            const BODY: &[u8] = b"{\"title\":\"Internal Server Error\",\"status\":500}";
            let mut response = answer(StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(BODY), None);
            response.extensions_mut().insert(failure.clone());
            response
        }
    })
}

/// Answers 503: the limiter cannot decide, which is not the client's fault. `wait` defaults to 1 s.
pub(crate) fn unavailable(is_grpc: bool, wait: Option<Duration>) -> Response<Bytes> {
    if is_grpc {
        return grpc::unavailable(wait);
    }
    // While a store is down every request gets this body, so it is a constant.
    const USUAL: &[u8] =
        b"{\"type\":\"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity\",\
        \"title\":\"Service Unavailable\",\"status\":503,\
        \"detail\":\"the limiter cannot decide at present\",\"retry_after_ms\":1000}";
    const { assert!(millis(OUTAGE_WAIT) == 1_000, "the constant body says 1000 ms") };
    let body = match wait {
        None => Bytes::from_static(USUAL),
        Some(wait) => {
            // All but the number of the constant body.
            let rest = USUAL.strip_suffix(b"1000}").unwrap_or_default();
            [rest, millis(wait).to_string().as_bytes(), b"}"].concat().into()
        }
    };
    answer(StatusCode::SERVICE_UNAVAILABLE, body, Some(wait.unwrap_or(OUTAGE_WAIT)))
}

impl Refusal {
    /// Returns the answer: a problem document with the status and the detail.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let title = self.status.canonical_reason().unwrap_or("Refused");
        let detail = escaped(&self.detail);
        let body =
            format!("{{\"title\":\"{title}\",\"status\":{},\"detail\":\"{detail}\"}}", self.status.as_u16());
        answer(self.status, Bytes::from(body), None)
    }
}

/// The content type. A constant is checked when the program is built, and not by each denial.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Answers with a problem document.
fn answer(status: StatusCode, body: Bytes, wait: Option<Duration>) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM);
    if let Some(wait) = wait {
        // At least 1 s: 0 would invite a retry that fails again.
        headers.insert(RETRY_AFTER, number(seconds(wait).max(1)));
    }
    response
}
