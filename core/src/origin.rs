//! The origin of a decision.

named! {
    /// The origin of a decision: the store, or what replaces it.
    ///
    /// Read it from a [`Decision`](crate::Decision) to tell an answer of the store from one without it. A
    /// storage sets the first three; a throttle for requests sets the others, for requests that it passed or
    /// refused without a decision.
    ///
    /// ```
    /// use traffik::{Limiter, Memory, Origin, TokenBucket, rate};
    ///
    /// let limiter = Limiter::new(TokenBucket::new(rate!("2/min")), Memory::new(1_000));
    /// assert_eq!(limiter.check("alice")?.origin(), Origin::Store);
    /// assert_eq!(Origin::DenyCache.name(), "deny-cache"); // in metrics and logs
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    #[non_exhaustive]
    pub enum Origin {
        /// The storage that holds the state decided.
        #[default]
        Store = "store",
        /// A cache of denials repeated what the storage said before, without asking it again.
        DenyCache = "deny-cache",
        /// The fallback of a storage that cannot be reached decided.
        Fallback = "fallback",
        /// The client is exempt.
        Exempt = "exempt",
        /// The throttle does not apply to such requests.
        Bypassed = "bypassed",
        /// The throttle is disabled.
        Disabled = "disabled",
        /// The storage denied, but the limit is not enforced for this client.
        Shadow = "shadow",
        /// No storage could decide, and such requests pass.
        DegradedOpen = "degraded-open",
        /// No storage could decide, and such requests do not pass.
        DegradedClosed = "degraded-closed",
    }
}
