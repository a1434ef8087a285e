//! The outcome of a hit, of one limit and of several.

use core::time::Duration;

/// The outcome of a hit: whether it may pass, and when.
///
/// Match on it where the three cases differ; to know only whether a hit may pass call `is_allowed` of the
/// verdict.
///
/// ```
/// use core::time::Duration;
/// use traffik::{Limiter, Memory, Outcome, TokenBucket, rate};
///
/// let limiter = Limiter::new(TokenBucket::new(rate!("2/min")), Memory::new(1_000));
/// let text = |outcome| match outcome {
///     Outcome::Allow { after } if after.is_zero() => "go on".to_string(),
///     Outcome::Allow { after } => format!("go on in {after:?}"),
///     Outcome::Deny { retry_after } => format!("try again in {} s", retry_after.as_secs_f64().ceil()),
///     Outcome::Never => "too large".to_string(),
/// };
/// assert_eq!(text(limiter.check("alice")?.outcome()), "go on");
/// assert_eq!(text(limiter.check_n("alice", 2)?.outcome()), "try again in 30 s");
/// assert_eq!(text(limiter.check_n("alice", 3)?.outcome()), "too large");
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[must_use]
pub enum Outcome {
    /// The hit may pass once `after` has passed. That is zero, so at once, unless the strategy queues hits.
    Allow {
        /// The delay before the hit may proceed.
        #[cfg_attr(feature = "serde", serde(with = "crate::time::micros"))]
        after: Duration,
    },
    /// The hit may not pass now. It would pass after `retry_after` if nothing else happens, and not a
    /// microsecond sooner.
    Deny {
        /// The wait until the same hit would be admitted.
        #[cfg_attr(feature = "serde", serde(with = "crate::time::micros"))]
        retry_after: Duration,
    },
    /// The hit can never pass: its cost is above the most that the limit can ever hold, or the limit is used
    /// up and never refills.
    Never,
}

impl Outcome {
    /// Reports whether the hit may pass.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// Returns this outcome `by` microseconds later; `None` if the wait of a denial has ended by then.
    pub(crate) fn aged_by(self, by: u64) -> Option<Self> {
        let by = Duration::from_micros(by);
        match self {
            // retry_after - by and after - by; once the wait of a denial has ended, only the storage can
            // decide.
            Self::Deny { retry_after } if retry_after <= by => None,
            Self::Deny { retry_after } => Some(Self::Deny { retry_after: retry_after.saturating_sub(by) }),
            Self::Allow { after } => Some(Self::Allow { after: after.saturating_sub(by) }),
            Self::Never => Some(Self::Never),
        }
    }

    /// Returns the outcome of limits that must all admit.
    pub(crate) fn all(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().fold(Self::Allow { after: Duration::ZERO }, Self::and)
    }

    /// Returns the outcome of two limits that must both admit: the longer of their waits.
    pub fn and(self, other: Self) -> Self {
        // Never over Deny over Allow; of two alike the longer wait, max(a, b).
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
