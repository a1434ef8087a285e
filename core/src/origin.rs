//! Where a decision comes from.

named! {
    /// Where a decision comes from: the store, or what stands in its stead.
    ///
    /// A storage tells the first three of them with each [`Decision`](crate::Decision); the others are those
    /// of a request that was let pass, or turned away, without one.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    #[non_exhaustive]
    pub enum Origin {
        /// From the storage that holds the state.
        #[default]
        Store = "store",
        /// Out of a cache of denials: the storage said so before, and was not asked again.
        DenyCache = "deny-cache",
        /// From the fallback of a storage that cannot be reached.
        Fallback = "fallback",
        /// The client is exempt.
        Exempt = "exempt",
        /// The throttle does not apply to such requests.
        Bypassed = "bypassed",
        /// The throttle is disabled.
        Disabled = "disabled",
        /// The storage says otherwise, but the limit is not enforced for this client.
        Shadow = "shadow",
        /// Nothing could decide, and such requests pass.
        DegradedOpen = "degraded-open",
        /// Nothing could decide, and such requests do not pass.
        DegradedClosed = "degraded-closed",
    }
}
