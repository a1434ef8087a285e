//! The treatment of requests without an identity.

use http::StatusCode;

use super::Identity;

/// The treatment of requests without an identity, such as those without an API key.
///
/// Set it by [`ThrottleBuilder::anonymous`](crate::ThrottleBuilder::anonymous). Choose `Reject` if every
/// client must identify itself.
///
/// ```
/// use http::StatusCode;
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{Anonymous, ApiKey, Throttle};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min")))
///     .identifier(ApiKey::new("x-api-key".parse()?))
///     .anonymous(Anonymous::Reject(StatusCode::UNAUTHORIZED))
///     .build()?;
/// assert_eq!(throttle.uid(), "api");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Anonymous {
    /// Counts them together, under one limit. The default.
    #[default]
    Bucket,
    /// Refuses them with this status, such as 401 or 403.
    Reject(StatusCode),
    /// Does not count them.
    Exempt,
}

impl Anonymous {
    /// Applies the treatment to an identity.
    pub(crate) fn applied_to(self, identity: Identity) -> Identity {
        match self {
            Self::Reject(status) if identity == Identity::anonymous() => Identity::Refused(status.into()),
            Self::Exempt if identity == Identity::anonymous() => Identity::Exempt,
            _ => identity,
        }
    }
}
