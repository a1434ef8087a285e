//! The outcome of a hit, by itself and of several limits together.

use core::time::Duration;

/// The outcome of a hit: whether it may pass, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[must_use]
pub enum Outcome {
    /// The hit may pass once `after` has gone by: at once if that is zero, as with all but the queueing
    /// strategies.
    Allow {
        /// The delay before the hit may proceed.
        #[cfg_attr(feature = "serde", serde(with = "crate::time::micros"))]
        after: Duration,
    },
    /// The hit may not pass now. It would after `retry_after` if nothing else happens, and not a microsecond
    /// sooner.
    Deny {
        /// The wait until the same hit would be admitted.
        #[cfg_attr(feature = "serde", serde(with = "crate::time::micros"))]
        retry_after: Duration,
    },
    /// The hit can never pass: its cost is above the most that the limit can ever hold.
    Never,
}

impl Outcome {
    /// Whether the hit may pass.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// This outcome once so many microseconds have passed; `None` if the denial is over by then.
    pub(crate) fn aged_by(self, by: u64) -> Option<Self> {
        let by = Duration::from_micros(by);
        match self {
            Self::Deny { retry_after } if retry_after <= by => None,
            Self::Deny { retry_after } => Some(Self::Deny { retry_after: retry_after.saturating_sub(by) }),
            Self::Allow { after } => Some(Self::Allow { after: after.saturating_sub(by) }),
            Self::Never => Some(Self::Never),
        }
    }

    /// The outcome of limits that must all admit.
    pub(crate) fn all(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().fold(Self::Allow { after: Duration::ZERO }, Self::and)
    }

    /// The outcome of two limits that must both admit: the longer of their waits.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Deny { retry_after: a }, Self::Deny { retry_after: b }) => {
                Self::Deny { retry_after: a.max(b) }
            }
            (deny @ Self::Deny { .. }, _) | (_, deny @ Self::Deny { .. }) => deny,
            (Self::Allow { after: a }, Self::Allow { after: b }) => Self::Allow { after: a.max(b) },
        }
    }
}
