//! What becomes of requests about whose sender nothing is known.

use http::StatusCode;

use super::Identity;

/// What becomes of requests about whose sender nothing is known, such as those without an API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Anonymous {
    /// All of them share one limit of their own.
    #[default]
    Bucket,
    /// They are refused with this status, such as 401 or 403.
    Reject(StatusCode),
    /// They are not counted.
    Exempt,
}

impl Anonymous {
    pub(crate) fn applied_to(self, identity: Identity) -> Identity {
        match self {
            Self::Reject(status) if identity == Identity::anonymous() => Identity::Refused(status.into()),
            Self::Exempt if identity == Identity::anonymous() => Identity::Exempt,
            _ => identity,
        }
    }
}
