//! The notices to a peer whose messages are dropped, and their frequency.

use std::fmt::Write;
use std::time::Duration;

use traffik_core::{Decision, Outcome, Verdict};

use crate::http::denial::wait_of;
use crate::http::headers::{millis, seconds};

/// The frequency of notices to a peer whose messages are dropped. Choose `EachWait` for clients that resume
/// at the time that a notice names, and `Each` only for trusted clients.
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use traffik::runtime::Manual;
/// use traffik::web::{WsNotices, WsPolicy};
///
/// let policy = WsPolicy::<u32, tungstenite::Message>::new(Manual::new()).notices(WsNotices::EachWait);
/// # let _ = policy;
/// assert_eq!(WsNotices::default(), WsNotices::EachWindow);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WsNotices {
    /// One in a window. A window lasts until the limit would be unused if the peer sent nothing, and at least
    /// 1 s.
    #[default]
    EachWindow,
    /// One for each wait: none before the wait in the last notice has passed.
    EachWait,
    /// One for each dropped message, so that a flood is answered by a flood.
    Each,
}

impl WsNotices {
    /// Returns how long no notice follows one that is sent now.
    pub(super) fn silence(self, outcome: Outcome, verdict: Option<&impl Verdict>) -> Duration {
        let wait = wait_of(outcome).unwrap_or(Duration::from_secs(1));
        match self {
            Self::Each => Duration::ZERO,
            Self::EachWait => wait,
            Self::EachWindow => {
                let mut window = wait.max(Duration::from_secs(1));
                if let Some(verdict) = verdict {
                    verdict.for_each(&mut |decision: &Decision| {
                        if !decision.is_allowed() {
                            // A message that can never pass may come when nothing is used, and `reset_after`
                            // is 0.
                            let never = matches!(decision.outcome(), Outcome::Never);
                            let whole = if never { decision.window() } else { decision.reset_after() };
                            window = window.max(whole);
                        }
                    });
                }
                window
            }
        }
    }
}

/// A value that every notice contains; see [`WsPolicy::extra`](super::WsPolicy::extra).
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use traffik::runtime::Manual;
/// use traffik::web::{WsExtra, WsPolicy};
///
/// assert_eq!(WsExtra::from(7), WsExtra::Number(7));
/// let policy = WsPolicy::<u32, tungstenite::Message>::new(Manual::new()).extra("room", 7);
/// # let _ = policy;
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WsExtra {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A boolean.
    Flag(bool),
}

impl From<&str> for WsExtra {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for WsExtra {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for WsExtra {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl WsExtra {
    /// Appends the value as a member to a JSON object that is not empty.
    pub(super) fn append(&self, name: &str, json: &mut String) {
        json.push(',');
        quote(name, json);
        json.push(':');
        match self {
            Self::Text(text) => quote(text, json),
            Self::Number(number) => json.push_str(itoa::Buffer::new().format(*number)),
            Self::Flag(flag) => json.push_str(if *flag { "true" } else { "false" }),
        }
    }
}

/// Appends text as a JSON string.
fn quote(text: &str, json: &mut String) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            // Writing into a string never fails.
            control if control < ' ' => drop(write!(json, "\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
}

/// Returns a notice as JSON: the wait, or that such a message can never pass, and the extras.
pub(super) fn json(wait: Option<Duration>, has_failed: bool, extras: &str) -> String {
    let error = match (has_failed, wait) {
        (true, _) => "temporarily unavailable",
        (false, Some(_)) => "rate limit exceeded",
        (false, None) => "too large for the rate limit",
    };
    let mut json = String::with_capacity(100 + extras.len());
    json.extend(["{\"type\":\"rate_limit\",\"error\":\"", error, "\""]);
    let mut digits = itoa::Buffer::new();
    match wait {
        Some(wait) => {
            json.extend([",\"retry_after\":", digits.format(seconds(wait).max(1))]);
            json.extend([",\"retry_after_ms\":", digits.format(millis(wait).max(1))]);
        }
        None => json.push_str(",\"never\":true"),
    }
    json.extend([extras, "}"]);
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_tells_the_wait_rounded_up_and_the_extras() {
        let mut extras = String::new();
        WsExtra::from("say \"less\"\n\\").append("hint", &mut extras);
        WsExtra::from(-7).append("room", &mut extras);
        WsExtra::from(true).append("mu\u{1}te", &mut extras);
        assert_eq!(
            json(Some(Duration::from_micros(1_200_001)), false, &extras),
            "{\"type\":\"rate_limit\",\"error\":\"rate limit exceeded\",\"retry_after\":2,\"retry_after_ms\":1201,\
             \"hint\":\"say \\\"less\\\"\\u000a\\\\\",\"room\":-7,\"mu\\u0001te\":true}"
        );
        assert_eq!(
            json(None, false, ""),
            "{\"type\":\"rate_limit\",\"error\":\"too large for the rate limit\",\"never\":true}"
        );
        assert!(json(Some(Duration::ZERO), true, "").contains("\"retry_after\":1,\"retry_after_ms\":1"));
    }

    #[test]
    fn a_window_ends_when_the_limit_is_unused() {
        let (wait, whole) = (Duration::from_secs(2), Duration::from_secs(9));
        let denied = Decision::deny(5, 0, wait, whole).with_window(Duration::from_secs(10));
        let silence =
            |notices: WsNotices, decision: Decision| notices.silence(decision.outcome(), Some(&decision));
        assert_eq!(silence(WsNotices::EachWindow, denied), whole);
        assert_eq!(silence(WsNotices::EachWait, denied), wait);
        assert_eq!(silence(WsNotices::Each, denied), Duration::ZERO);
        let never = Decision::never(5, 5, Duration::ZERO).with_window(Duration::from_secs(10));
        assert_eq!(silence(WsNotices::EachWindow, never), Duration::from_secs(10));
        let brief = Decision::deny(5, 0, Duration::from_millis(20), Duration::from_millis(20));
        assert_eq!(silence(WsNotices::EachWindow, brief), Duration::from_secs(1));
    }
}
