//! What a client whose request does not pass is told.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use traffik_core::{Decision, Outcome, Verdict};

use crate::headers::{Dialect, Limits, Told, seconds};

/// The names of a throttle's policies and the way they are told.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) names: Vec<String>,
    pub(crate) dialect: Dialect,
}

impl Answers {
    /// Adds the headers that tell where the client stands.
    pub(crate) fn tell(&self, verdict: &impl Verdict, headers: &mut HeaderMap) {
        if self.dialect != Dialect::None {
            self.dialect.write(&mut self.limits(verdict), headers);
        }
    }

    /// 429: how long to wait, or that waiting is in vain.
    pub(crate) fn denied(&self, verdict: &impl Verdict) -> Response<Bytes> {
        let wait = match verdict.outcome() {
            Outcome::Deny { retry_after } => Some(retry_after),
            Outcome::Allow { after } => Some(after),
            Outcome::Never => None,
        };
        let mut response = Response::new(self.problem(verdict, wait));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, seconds(wait).max(1).into());
        }
        self.tell(verdict, headers);
        response
    }

    /// Each limit with its name; the last name stands for all beyond it.
    fn limits(&self, verdict: &impl Verdict) -> Limits<'_> {
        let mut limits = Limits::new();
        verdict.each(&mut |decision: &Decision| {
            let name = self.names.get(limits.len()).or(self.names.last());
            limits.push(Told { name: name.map_or("limit", String::as_str), decision: *decision });
        });
        limits
    }

    fn problem(&self, verdict: &impl Verdict, wait: Option<Duration>) -> Bytes {
        let mut violated = String::new();
        for Told { name, decision } in self.limits(verdict) {
            if !decision.is_allowed() {
                let comma = if violated.is_empty() { "" } else { "," };
                violated.extend([comma, "\"", name, "\""]);
            }
        }
        let when = match wait {
            Some(wait) => format!("\"retry_after_ms\":{}", wait.as_nanos().div_ceil(1_000_000)),
            None => String::from("\"never\":true"),
        };
        Bytes::from(format!(
            "{{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\
             \"title\":\"Too Many Requests\",\"status\":429,{when},\"violated-policies\":[{violated}]}}"
        ))
    }
}

/// 503: the limiter itself cannot decide, which is not the client's fault.
pub(crate) fn unavailable() -> Response<Bytes> {
    const BODY: &[u8] =
        b"{\"type\":\"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity\",\
        \"title\":\"Service Unavailable\",\"status\":503,\"retry_after_ms\":1000}";
    let mut response = Response::new(Bytes::from_static(BODY));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
