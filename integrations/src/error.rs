//! The error of setting up a throttle.

use std::fmt;

/// The reason why a throttle, or a part of one, cannot be set up.
///
/// Its text says what would be right; each variant names the calls that fail with it, and the cure. What a
/// strategy refuses is a [`StrategyError`](traffik_core::StrategyError) of its own constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThrottleError {
    /// The name of a throttle, or of one of its policies, cannot stand in a header. From
    /// [`build`](crate::ThrottleBuilder::build): use 1 to 64 of `a-z A-Z 0-9 . _ : -`.
    Name(String),
    /// A throttle of this name is in the [`Registry`](crate::Registry) already. From
    /// [`build`](crate::ThrottleBuilder::build): use another name, or drop the other throttle before.
    Taken(String),
    /// A throttle of this name counts in the same storage already. From
    /// [`build`](crate::ThrottleBuilder::build): clone the throttle, use another name, or say
    /// [`shared`](crate::ThrottleBuilder::shared).
    Shared(String),
    /// No throttle of this name is in use. From a [`Registry`](crate::Registry): ask for one of its
    /// [`names`](crate::Registry::names).
    Unknown(String),
    /// The text is no network. From [`Networks::parse`](crate::Networks::parse): write an address, or one
    /// with the length of its prefix.
    Network(String),
    /// The pattern of a path cannot be matched, or not beside the others. From
    /// [`Route::new`](crate::Route::new), [`Rule::template`](crate::Rule::template) and `Rule::regex`: the
    /// reason says where it goes wrong.
    Route {
        /// The pattern.
        pattern: String,
        /// The reason.
        reason: String,
    },
    /// The pattern of a path, or the method, is in no request. From
    /// [`build`](crate::ThrottleBuilder::build) and [`Rule::check`](crate::Rule::check): the reason says what
    /// to write.
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
