//! Where a decision comes from.

/// Where a decision comes from: the store, or what stands in its stead.
///
/// A storage tells the first three of them with each [`Decision`](crate::Decision); the others are those of a request that
/// was let pass, or turned away, without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Origin {
    /// From the storage that holds the state.
    #[default]
    Store,
    /// Out of a cache of denials: the storage said so before, and was not asked again.
    DenyCache,
    /// From the fallback of a storage that cannot be reached.
    Fallback,
    /// The client is exempt.
    Exempt,
    /// The throttle does not apply to such requests.
    Bypassed,
    /// The throttle is disabled.
    Disabled,
    /// The storage says otherwise, but the limit is not enforced for this client.
    Shadow,
    /// Nothing could decide, and such requests pass.
    DegradedOpen,
    /// Nothing could decide, and such requests do not pass.
    DegradedClosed,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Store,
        Self::DenyCache,
        Self::Fallback,
        Self::Exempt,
        Self::Bypassed,
        Self::Disabled,
        Self::Shadow,
        Self::DegradedOpen,
        Self::DegradedClosed,
    ];

    /// The word for it, as it stands in headers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::DenyCache => "deny-cache",
            Self::Fallback => "fallback",
            Self::Exempt => "exempt",
            Self::Bypassed => "bypassed",
            Self::Disabled => "disabled",
            Self::Shadow => "shadow",
            Self::DegradedOpen => "degraded-open",
            Self::DegradedClosed => "degraded-closed",
        }
    }
}
