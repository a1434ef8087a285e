//! The error of making a throttle.

use std::fmt;

use matchit::InsertError;

/// The reason why a throttle, or a part of one, cannot be made, or why a registry has none of this name.
///
/// Print it: the text names the correction. Match on it to treat causes differently. A strategy's constructor
/// fails with a [`StrategyError`](traffik_core::StrategyError) instead.
///
/// ```
/// use traffik::{Gcra, rate};
/// use traffik::web::{Throttle, ThrottleError};
///
/// let error = Throttle::in_memory("my api", Gcra::new(rate!("5/s"))).build().unwrap_err();
/// assert_eq!(error, ThrottleError::Name("my api".to_owned()));
/// assert!(error.to_string().contains("use 1 to 64 of the characters"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThrottleError {
    /// The name of a throttle or of a policy is empty, too long, or has a character that headers cannot hold.
    /// [`build`](crate::ThrottleBuilder::build) returns it: use 1 to 64 of `a-z A-Z 0-9 . _ : -`.
    Name(String),
    /// A throttle in the [`Registry`](crate::Registry) has this name.
    /// [`build`](crate::ThrottleBuilder::build) returns it: use another name, or drop the other throttle
    /// first.
    Taken(String),
    /// Another throttle of this name and scope counts in the same storage.
    /// [`build`](crate::ThrottleBuilder::build) returns it: clone the throttle, use another name, or call
    /// [`shared`](crate::ThrottleBuilder::shared).
    Shared(String),
    /// No throttle of this name is in use. A [`Registry`](crate::Registry) returns it: use one of its
    /// [`names`](crate::Registry::names).
    Unknown(String),
    /// The text is not a network. [`Networks::parse`](crate::Networks::parse) returns it: write an address,
    /// or an address with the length of its prefix.
    Network(String),
    /// A template or a regular expression cannot be compiled, or a template conflicts with another one.
    /// [`Route::new`](crate::Route::new), [`Rule::template`](crate::Rule::template) and `Rule::regex` return
    /// it: the reason names the mistake.
    Route {
        /// The pattern.
        pattern: String,
        /// The reason.
        reason: String,
    },
    /// No request can have this path or method. [`build`](crate::ThrottleBuilder::build),
    /// [`Rule::check`](crate::Rule::check) and [`Rule::template`](crate::Rule::template) return it: the
    /// reason says what to write.
    Rule {
        /// The pattern, or the method.
        pattern: String,
        /// The correction.
        reason: String,
    },
}

impl ThrottleError {
    /// Makes the error of a pattern that does not compile.
    /// The error of a template, in words that do not depend on the crate that compiles it.
    pub(crate) fn template(pattern: &str, error: &InsertError) -> Self {
        const FORMS: &str = "write /users/{id} or /files/{*path}";
        let reason = match error {
            InsertError::Conflict { with } => {
                format!("it matches the same paths as {with:?}; keep one of the two")
            }
            InsertError::InvalidParamSegment => {
                format!("a segment has more than one name in braces; {FORMS}")
            }
            InsertError::InvalidParam => format!("a name in braces is empty, or a brace is missing; {FORMS}"),
            InsertError::InvalidCatchAll => format!("a name with a star is not at the end; {FORMS}"),
            other => other.to_string(),
        };
        Self::Route { pattern: pattern.to_owned(), reason }
    }

    /// The error of a regular expression. The last line of the `error` names the mistake; the lines before
    /// it show the expression.
    #[cfg(feature = "regex")]
    pub(crate) fn regex(pattern: &str, error: &impl fmt::Display) -> Self {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        let last = last.strip_prefix("error: ").unwrap_or(last);
        Self::Route {
            pattern: pattern.to_owned(),
            reason: format!("it is no regular expression: {}", last.trim_end_matches('.')),
        }
    }
}

impl fmt::Display for ThrottleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} is no name for a throttle or a policy; use 1 to 64 of the characters a-z A-Z 0-9 \
                 . _ : -"
            ),
            Self::Taken(uid) => {
                write!(f, "a throttle named {uid:?} is in use already; give this one another name")
            }
            Self::Shared(uid) => write!(
                f,
                "a throttle named {uid:?} counts in this storage already, and both would count as one; \
                 clone it to limit in several places, give this one another name, or build it with \
                 shared() if both are to count as one, as after a reload of limits"
            ),
            Self::Unknown(uid) => {
                write!(f, "no throttle named {uid:?} is in use; Registry::names lists those that are")
            }
            Self::Network(text) => {
                write!(f, "{text:?} is no network; write 10.0.0.0/8, 2001:db8::/32 or an address")
            }
            Self::Rule { pattern, reason } => write!(f, "{pattern:?} matches no request: {reason}"),
            Self::Route { pattern, reason } => write!(f, "{pattern:?} cannot be used: {reason}"),
        }
    }
}

impl std::error::Error for ThrottleError {}
