//! The error of setting up a throttle.

use std::fmt;

/// Why a throttle, or what it is made of, cannot be set up as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThrottleError {
    /// This name of a throttle, or of one of its policies, cannot stand in a header.
    Name(String),
    /// A throttle of this name is in use already.
    Taken(String),
    /// No throttle of this name is in use.
    Unknown(String),
    /// This text is no network.
    Network(String),
    /// This pattern of a path cannot be matched, or not beside the others.
    Route {
        /// The pattern.
        pattern: String,
        /// The reason.
        reason: String,
    },
    /// This pattern of a path, or this method, is in no request.
    Rule {
        /// The pattern, or the method.
        pattern: String,
        /// The cure.
        reason: String,
    },
}

impl ThrottleError {
    pub(crate) fn route(pattern: &str, reason: impl fmt::Display) -> Self {
        Self::Route { pattern: pattern.to_owned(), reason: reason.to_string() }
    }
}

impl fmt::Display for ThrottleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} is no name for a throttle: use 1 to 64 of the characters a-z A-Z 0-9 . _ : -"
            ),
            Self::Taken(uid) => {
                write!(f, "a throttle named {uid:?} is in use already; give this one a name of its own")
            }
            Self::Unknown(uid) => write!(f, "no throttle named {uid:?} is in use"),
            Self::Network(text) => {
                write!(f, "{text:?} is no network; write 10.0.0.0/8, 2001:db8::/32 or an address")
            }
            Self::Rule { pattern, reason } => write!(f, "{pattern:?} matches no request: {reason}"),
            Self::Route { pattern, reason } => {
                write!(f, "{pattern:?} is no route: {reason}; write /users/{{id}} or /files/{{*path}}")
            }
        }
    }
}

impl std::error::Error for ThrottleError {}
