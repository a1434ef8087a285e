//! The grant of a lock: the name, the owner, the fencing token and the TTL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SettingsError;
use crate::util::random::random;

/// The time that a grant lasts unless it is renewed, always above zero.
///
/// ```
/// use std::time::Duration;
/// use traffik::lock::Ttl;
///
/// let ttl = Ttl::new(Duration::from_micros(1_500))?;
/// assert_eq!(ttl.as_millis(), 2); // rounded up, for stores that count in milliseconds
/// assert!(Ttl::new(Duration::ZERO).is_err());
/// # Ok::<(), traffik::storage::BackendError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub(super) Duration);

impl Ttl {
    /// Creates a TTL. No lock lasts for ever, since its holder may die.
    ///
    /// # Errors
    ///
    /// Fails for zero. `?` turns the error into a [`BackendError`](traffik_core::storage::BackendError) of
    /// the kind [`Invalid`](traffik_core::ErrorKind::Invalid).
    pub fn new(ttl: Duration) -> Result<Self, SettingsError> {
        if ttl.is_zero() {
            let expected =
                "a time above zero, such as 5s, after which the lock is free, even if its holder died";
            return Err(SettingsError::new("the TTL of a lock", format!("{ttl:?}"), expected));
        }
        Ok(Self(ttl))
    }

    /// Returns the time.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Returns whole milliseconds, rounded up: at least 1, and at most 2⁵³, some 285 000 years, which every
    /// store can count.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        const MOST: u64 = 1 << 53;
        // ceil(nanoseconds / 10^6), at most 2^53: what a double and a signed integer of a store hold
        // exactly.
        u64::try_from(self.0.as_nanos().div_ceil(1_000_000)).map_or(MOST, |millis| millis.min(MOST))
    }
}

/// The owner of a grant: 128 random bits, so that a store does not confuse two holders.
///
/// An implementation of [`Lock`](super::Lock) keeps its bytes beside the name.
///
/// ```
/// use traffik::lock::Owner;
///
/// let owner = Owner::random();
/// assert_eq!(Owner::from_bytes(*owner.as_bytes()), owner);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner([u8; 16]);

impl Owner {
    /// Creates a random owner.
    #[must_use]
    pub fn random() -> Self {
        // owner = high * 2^64 + low.
        let (high, low) = (u128::from(random()), u128::from(random()));
        Self((high << 64 | low).to_be_bytes())
    }

    /// Restores an owner from the bytes that a store kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, for a store to keep and compare.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Writes 32 hexadecimal digits.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({self})")
    }
}

/// A name that was granted to an owner. Cheap to clone; a clone is the same grant, and ends with it.
///
/// Implementations of [`Lock`](super::Lock) create it; users get it from a [`LockGuard`](super::LockGuard).
///
/// ```
/// use traffik::lock::{Grant, Owner};
///
/// let grant = Grant::new(*b"invoices/7", Owner::random(), 42);
/// assert_eq!((grant.name(), grant.fencing()), (&b"invoices/7"[..], 42));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    name: Arc<[u8]>,
    owner: Owner,
    fencing: u64,
}

impl Grant {
    /// Creates a grant of `name` to `owner`, for implementations of [`Lock`](super::Lock).
    ///
    /// The owner of a new grant is `Owner::random()`, 128 random bits. A store keeps and compares
    /// `owner.as_bytes()`, which `Owner::from_bytes` reads back.
    ///
    /// ```
    /// use traffik::lock::{Grant, Owner};
    ///
    /// let grant = Grant::new(*b"invoices/7", Owner::random(), 1);
    /// let stored: [u8; 16] = *grant.owner().as_bytes();
    /// assert_eq!(Owner::from_bytes(stored), grant.owner());
    /// ```
    #[must_use]
    pub fn new(name: impl Into<Arc<[u8]>>, owner: Owner, fencing: u64) -> Self {
        Self { name: name.into(), owner, fencing }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the owner.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns the fencing token, which is larger than that of every earlier grant of this name.
    #[must_use]
    pub const fn fencing(&self) -> u64 {
        self.fencing
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({} to {}, fencing {})", self.name.escape_ascii(), self.owner, self.fencing)
    }
}

/// Quotes a name on one line.
pub(super) fn quoted(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffik_core::ErrorKind;
    use traffik_core::storage::BackendError;

    #[test]
    fn a_ttl_of_zero_is_refused_with_what_would_be_right() {
        let error = Ttl::new(Duration::ZERO).unwrap_err();
        assert!(error.to_string().starts_with("the TTL of a lock is 0ns; give a time above zero"), "{error}");
        assert_eq!(BackendError::from(error).kind(), ErrorKind::Invalid);
    }

    #[test]
    fn milliseconds_are_rounded_up_and_bounded() {
        let millis = |ttl| Ttl::new(ttl).unwrap().as_millis();
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(7)), 7);
        assert_eq!(millis(Duration::from_nanos(7_000_001)), 8);
        assert_eq!(millis(Duration::MAX), 1 << 53);
    }

    #[test]
    fn owners_are_random_and_keep_their_bytes() {
        let owner = Owner::random();
        assert_ne!(owner, Owner::random());
        assert_eq!(Owner::from_bytes(*owner.as_bytes()), owner);
        assert_eq!(Owner::from_bytes([0xab; 16]).to_string(), "ab".repeat(16));
    }
}
