//! The origin of a decision.

named! {
    /// The origin of a decision: the store, or what replaces it.
    ///
    /// Read it from a [`Decision`](crate::Decision) to see whether the store decided. A storage sets the
    /// first three variants. A throttle for requests sets the others, for requests that it passed or refused
    /// by a rule of its own.
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
        /// A cache repeated an earlier denial of the storage, without another call.
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
