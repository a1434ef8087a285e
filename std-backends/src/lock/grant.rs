//! What whoever holds a lock has in hand: a name, proof of ownership, a fencing token; and how long it lasts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SettingsError;
use crate::util::random::random;

/// How long a grant lasts unless it is renewed: more than no time at all.
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
    /// A grant that ends after this time.
    ///
    /// # Errors
    ///
    /// Zero is refused; `?` turns the error into a [`BackendError`](traffik_core::storage::BackendError) of the kind
    /// [`Invalid`](traffik_core::ErrorKind::Invalid). There is no way to say that a lock is to last for ever:
    /// its holder may die.
    pub fn new(ttl: Duration) -> Result<Self, SettingsError> {
        if ttl.is_zero() {
            let expected =
                "a time above zero, such as 5s, after which the lock is free even if its holder died";
            return Err(SettingsError::new("the TTL of a lock", format!("{ttl:?}"), expected));
        }
        Ok(Self(ttl))
    }

    /// The time.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// In milliseconds, rounded up, so at least 1; at most 2⁵³, some 285 000 years, which every store can count.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        const MOST: u64 = 1 << 53;
        u64::try_from(self.0.as_nanos().div_ceil(1_000_000)).map_or(MOST, |millis| millis.min(MOST))
    }
}

/// Who holds a lock: 128 random bits, so that nobody else's release or renewal is taken for the holder's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner([u8; 16]);

impl Owner {
    /// An owner nobody else is.
    #[must_use]
    pub fn random() -> Self {
        let (high, low) = (u128::from(random()), u128::from(random()));
        Self((high << 64 | low).to_be_bytes())
    }

    /// The owner whose bytes these are, as a store has kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep and compare.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// As 32 hexadecimal digits.
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

/// That a name was granted. Cheap to clone; a clone is the same grant, and ends with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    name: Arc<[u8]>,
    owner: Owner,
    fencing: u64,
}

impl Grant {
    /// For implementations of [`Lock`](super::Lock): `name` was granted to `owner`.
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

    /// What was granted.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// To whom.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// The fencing token: larger than that of every grant of this name before it.
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

/// A name as text on one line.
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
        assert!(error.to_string().starts_with("the TTL of a lock is 0ns: give a time above zero"), "{error}");
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
