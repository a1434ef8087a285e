//! The error of setting up a throttle.

use std::fmt;

/// The reason why a throttle, or a part of one, cannot be set up.
///
/// | variant | from | cure |
/// |---|---|---|
/// | [`Name`](Self::Name) | [`build`](crate::ThrottleBuilder::build) | 1 to 64 of `a-z A-Z 0-9 . _ : -` |
/// | [`Taken`](Self::Taken) | `build`, with a [`Registry`](crate::Registry) | another name, or drop the other throttle first |
/// | [`Shared`](Self::Shared) | `build` | a clone, another name, or [`shared`](crate::ThrottleBuilder::shared) |
/// | [`Rule`](Self::Rule) | `build`, [`Rule::check`](crate::Rule::check) | the path or method that its text names |
/// | [`Route`](Self::Route) | [`Route::new`](crate::Route::new), [`Rule::template`](crate::Rule::template), `Rule::regex` | the pattern as its text says |
/// | [`Network`](Self::Network) | [`Networks::parse`](crate::Networks::parse) | an address, or one with the length of its prefix |
/// | [`Unknown`](Self::Unknown) | [`Registry`](crate::Registry), asked for a name | a name of [`Registry::names`](crate::Registry::names) |
///
/// Its text says what would be right. What a strategy refuses is a [`StrategyError`](traffik_core::StrategyError)
/// of its own constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThrottleError {
    /// This name of a throttle, or of one of its policies, cannot stand in a header.
    Name(String),
    /// A throttle of this name is in the registry already.
    Taken(String),
    /// A throttle of this name counts in the same storage already.
    Shared(String),
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
            Self::Shared(uid) => write!(
                f,
                "a throttle named {uid:?} counts in this storage already, and both would count as one: \
                 clone it to limit in several places, give this one a name of its own, or build it with \
                 shared() if that is meant, as when limits are read anew"
            ),
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
