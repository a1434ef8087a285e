//! The reply to a denied request, where a throttle has one of its own.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use traffik::Outcome;
use traffik::web::Denial;

/// The parts of the reply that a throttle replaces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DenialReply {
    pub(crate) status: Option<StatusCode>,
    pub(crate) body: Option<BodyTemplate>,
    /// The content type of the body; guessed from its first character if it is missing.
    pub(crate) body_type: Option<HeaderValue>,
}

impl DenialReply {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Answers a denied request. A gRPC client gets the library's answer, since it reads no other.
    pub(crate) fn answer(&self, denial: &Denial<'_>) -> Response<Bytes> {
        let mut response = denial.response();
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if denial.request.headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
            return response;
        }
        if let Some(status) = self.status {
            *response.status_mut() = status;
        }
        response.extensions_mut().insert(OwnReply);
        if let Some(body) = &self.body {
            let content_type = self.body_type.clone().unwrap_or_else(|| body.content_type());
            *response.body_mut() = body.filled(denial, response.status()).into();
            // The length was that of the former body; the server writes the new one.
            response.headers_mut().remove(CONTENT_LENGTH);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    }
}

/// Marks a response as a denial, since its status may be any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnReply;

/// A body with placeholders in braces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BodyTemplate(Vec<BodyPart>);

#[derive(Clone, Debug, PartialEq)]
enum BodyPart {
    Text(String),
    Value(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Placeholder {
    RetryAfter,
    RetryAfterMs,
    Limit,
    Remaining,
    Policy,
    Uid,
    Status,
}

const PLACEHOLDERS: [(&str, Placeholder); 7] = [
    ("retry_after", Placeholder::RetryAfter),
    ("retry_after_ms", Placeholder::RetryAfterMs),
    ("limit", Placeholder::Limit),
    ("remaining", Placeholder::Remaining),
    ("policy", Placeholder::Policy),
    ("uid", Placeholder::Uid),
    ("status", Placeholder::Status),
];

impl FromStr for BodyTemplate {
    type Err = String;

    /// Parses a text. Braces around anything but small letters and `_` are text, as in JSON.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        let mut plain = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            let name = after.split_once('}').map(|(name, _)| name).filter(|name| {
                !name.is_empty() && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
            });
            // A brace of JSON or of a style sheet is text.
            let Some(name) = name else {
                plain.push('{');
                rest = after;
                continue;
            };
            let Some((_, value)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = PLACEHOLDERS.iter().map(|(known, _)| format!("{{{known}}}")).collect();
                return Err(format!("{{{name}}} is not a placeholder; there are {}", known.join(", ")));
            };
            // A text stands before each value, also an empty one, so that `begins_with` sees the start.
            parts.extend([BodyPart::Text(std::mem::take(&mut plain)), BodyPart::Value(*value)]);
            rest = after.get(name.len() + 1..).unwrap_or_default();
        }
        plain.push_str(rest);
        parts.push(BodyPart::Text(plain));
        Ok(Self(parts))
    }
}

impl BodyTemplate {
    fn begins_with(&self, starts: &[char]) -> bool {
        matches!(self.0.first(), Some(BodyPart::Text(text)) if text.trim_start().starts_with(starts))
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match (self.begins_with(&['{', '[']), self.begins_with(&['<'])) {
            (true, _) => "application/json",
            (_, true) => "text/html; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        })
    }

    /// Fills in the values. Names have no character that JSON or HTML escapes, and numbers need no quotes.
    fn filled(&self, denial: &Denial<'_>, status: StatusCode) -> String {
        // The limit that denies is the one with the longest wait.
        let wait_of = |outcome: Outcome| match outcome {
            Outcome::Deny { retry_after } => retry_after,
            // It never passes, which is longer than any wait.
            Outcome::Never => Duration::MAX,
            Outcome::Allow { .. } => Duration::ZERO,
        };
        let limit = denial.limits.iter().max_by_key(|it| wait_of(it.decision.outcome()));
        let wait = |per_second: u128| match denial.retry_after() {
            // ceil(wait / unit), and at least 1: a client that comes back too early is denied again.
            Some(wait) => wait.as_nanos().div_ceil(1_000_000_000 / per_second).max(1).to_string(),
            None => "null".to_owned(),
        };
        let mut body = String::new();
        for part in &self.0 {
            match part {
                BodyPart::Text(text) => body.push_str(text),
                BodyPart::Value(value) => body.push_str(&match value {
                    Placeholder::RetryAfter => wait(1),
                    Placeholder::RetryAfterMs => wait(1_000),
                    Placeholder::Limit => limit.map_or(0, |it| it.decision.limit()).to_string(),
                    Placeholder::Remaining => limit.map_or(0, |it| it.decision.remaining()).to_string(),
                    Placeholder::Policy => limit.map_or("", |it| it.name).to_owned(),
                    Placeholder::Uid => denial.throttle.to_owned(),
                    Placeholder::Status => status.as_u16().to_string(),
                }),
            }
        }
        body
    }
}
