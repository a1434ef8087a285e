//! The bytes that identify a client, and the forms that storages and people see.

use std::fmt::{self, Write};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use traffik_core::Key;

use crate::http::request::Refusal;

/// The client that a request is counted for, or the reason why it is not counted.
///
/// An identifier returns it.
///
/// ```
/// use traffik::{Gcra, rate};
/// use traffik::web::{Identity, Throttle};
///
/// let throttle = Throttle::in_memory("api", Gcra::new(rate!("5/s"))).identifier_by(|request| {
///     match request.headers.get("x-user") {
///         Some(user) => Identity::of(b'h', user.as_bytes()), // `h`: storages see a hash
///         None => Identity::anonymous(),
///     }
/// });
/// # let _ = throttle.build()?;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Counts the request for this client.
    Key(ClientKey),
    /// Does not count the request: the limit does not apply.
    Exempt,
    /// Refuses the request, and does not count it.
    Refused(Refusal),
}

impl Identity {
    /// Returns a client with these bytes. `way` is a lower-case letter that names the way of identification;
    /// clients of different ways are different clients. The identifiers here use `c`, `e`, `h`, `k`, `o` and
    /// `r`; other letters are free.
    ///
    /// Storages see a hash of the bytes for two letters: `h`, for a name that a client wrote, and `k`, for a
    /// secret. Logs show the name as it is, and a secret by the first 32 bits of the hash. For other letters,
    /// storages and logs see the bytes.
    #[must_use]
    pub fn of(way: u8, bytes: &[u8]) -> Self {
        let mut key = SmallVec::with_capacity(bytes.len() + 1);
        key.push(way);
        key.extend_from_slice(bytes);
        Self::Key(ClientKey(key))
    }

    /// Returns the client of all requests without an identity, which share one limit.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(b'?', &[])
    }
}

/// The bytes that identify a client.
///
/// Choose it to check a known client without a request, by
/// [`Throttle::client_for`](crate::Throttle::client_for). A key of up to 63 bytes takes no allocation.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{ClientKey, Throttle};
///
/// let throttle = Throttle::in_memory("mail", TokenBucket::new(rate!("10/h"))).build()?;
/// let alice = throttle.client_for(ClientKey::of("alice"));
/// assert_eq!(alice.key(), &ClientKey::of("alice"));
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey(SmallVec<[u8; 64]>);

impl ClientKey {
    /// Returns a client with a key that you choose, such as the name of a user.
    #[must_use]
    pub fn of(key: &(impl Key + ?Sized)) -> Self {
        let mut bytes = SmallVec::from_slice(b"o");
        key.feed(&mut |piece: &[u8]| bytes.extend_from_slice(piece));
        Self(bytes)
    }

    /// Returns a new client, different from all others in any process, such as a connection that is counted
    /// alone.
    #[must_use]
    pub fn connection() -> Self {
        // Random 64 bits for the process, so that connections of two processes do not meet on a shared store.
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // `fetch_add` returns each number once under any ordering; nothing else is published by it.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(SmallVec::from_slice(format!("c{:016x}-{number}", *PROCESS).as_bytes()))
    }

    /// Returns the client that a [`CompositeKey`](super::CompositeKey) of these parts identifies.
    ///
    /// Choose it where the parts come from elsewhere than a request.
    ///
    /// ```
    /// use traffik::web::ClientKey;
    ///
    /// let of = |user, tenant| ClientKey::combined(&[ClientKey::of(user), ClientKey::of(tenant)]);
    /// assert_eq!(of("alice", "a"), of("alice", "a"));
    /// assert_ne!(of("alice", "a"), of("alice", "b"));
    /// ```
    #[must_use]
    pub fn combined(parts: &[Self]) -> Self {
        let mut all = SmallVec::from_slice(b"+");
        for Self(part) in parts {
            all.extend_from_slice(part);
            // The length marks the end of a part, so that no part can pass for the beginning of the next.
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
        }
        Self(all)
    }

    /// Returns the bytes, with the letter of the way in front. They are not hashed, so they can be a secret.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Names and secrets of clients are hashed before a storage sees them. So no secret is stored, and no name is
/// longer than a hash.
#[deny(clippy::missing_trait_methods)]
impl Key for ClientKey {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        feed(&self.0, sink);
    }

    fn name(&self, text: &mut dyn Write) -> fmt::Result {
        name(&self.0, text)
    }
}

/// Passes the bytes that a storage sees.
fn feed(bytes: &[u8], sink: &mut dyn FnMut(&[u8])) {
    match bytes.split_first() {
        // The way stays in front of the hash, so that a name and a secret of the same text differ.
        Some((way @ (b'h' | b'k'), written)) => {
            sink(&[*way]);
            sink(&hash(written));
        }
        Some((b'+', parts)) => {
            sink(b"+");
            feed_parts(parts, sink);
        }
        _ => sink(bytes),
    }
}

/// Returns half of a SHA-256: 128 bits, so that two names with one hash take about 2^64 attempts to find.
fn hash(bytes: &[u8]) -> [u8; 16] {
    let whole: [u8; 32] = Sha256::digest(bytes).into();
    let (half, _) = whole.split_first_chunk().unwrap_or((&[0; 16], &[]));
    *half
}

/// Writes the name that people see.
fn name(bytes: &[u8], text: &mut dyn Write) -> fmt::Result {
    let address = match bytes.split_first() {
        Some((b'4', rest)) => <[u8; 4]>::try_from(rest).ok().map(IpAddr::from),
        Some((b'6', rest)) => <[u8; 16]>::try_from(rest).ok().map(IpAddr::from),
        _ => None,
    };
    // Bytes of another length are not an address, and are shown as text.
    if let Some(address) = address {
        return write!(text, "{address}");
    }
    match bytes.split_first() {
        None | Some((b'?', [])) => text.write_str("anonymous"),
        Some((b'+', parts)) => name_parts(parts, text),
        Some((b'k', secret)) => {
            // 32 bits are enough to recognize a key in a log, and too few to recover a random one.
            let [a, b, c, d, ..] = hash(secret);
            write!(text, "key {a:02x}{b:02x}{c:02x}{d:02x}")
        }
        Some((b'r', [])) => text.write_str("other routes"),
        Some((_, rest)) => write!(text, "{}", String::from_utf8_lossy(rest).escape_debug()),
    }
}

/// Writes the names of all parts of a composite client.
fn name_parts(parts: &[u8], text: &mut dyn Write) -> fmt::Result {
    let Some((before, last)) = split_last(parts) else { return Ok(()) };
    if !before.is_empty() {
        name_parts(before, text)?;
        text.write_char('+')?;
    }
    name(last, text)
}

/// Passes the parts of a composite client: each as a storage sees it alone, with its length.
fn feed_parts(parts: &[u8], sink: &mut dyn FnMut(&[u8])) {
    let Some((before, last)) = split_last(parts) else { return };
    feed_parts(before, sink);
    let mut length = 0u64;
    feed(last, &mut |bytes| {
        length = length.wrapping_add(bytes.len() as u64);
        sink(bytes);
    });
    // The length is that of the fed form, which can be a hash: (bytes, length) pairs are then unambiguous.
    sink(&length.to_le_bytes());
}

/// Returns the last part, and those before it.
fn split_last(parts: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, length) = parts.split_last_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    rest.split_at_checked(rest.len().checked_sub(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(way: u8, bytes: &[u8]) -> ClientKey {
        match Identity::of(way, bytes) {
            Identity::Key(key) => key,
            _ => unreachable!(),
        }
    }

    fn seen(key: &ClientKey) -> (Vec<u8>, String) {
        let (mut bytes, mut name) = (Vec::new(), String::new());
        key.feed(&mut |piece: &[u8]| bytes.extend_from_slice(piece));
        key.name(&mut name).unwrap();
        (bytes, name)
    }

    #[test]
    fn a_storage_sees_a_hash_of_what_a_client_wrote() {
        let (bytes, name) = seen(&key(b'h', b"alice\n"));
        assert_eq!((bytes.len(), &bytes[..1], name.as_str()), (17, &b"h"[..], "alice\\n"));
        let long = seen(&key(b'k', &[b'x'; 10_000]));
        assert_eq!((long.0.len(), long.1.len()), (17, 12));
        // SHA-256 of "abc", as FIPS 180 has it.
        let (bytes, name) = seen(&key(b'k', b"abc"));
        assert_eq!(&bytes[1..9], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
        assert_eq!(name, "key ba7816bf");
        assert_eq!(seen(&key(b'e', b"user 7")), (b"euser 7".to_vec(), "user 7".to_owned()));
    }

    #[test]
    fn a_key_of_ones_own_is_a_client_and_each_connection_another() {
        assert_eq!(seen(&ClientKey::of("alice")), (b"oalice".to_vec(), "alice".to_owned()));
        let connections: std::collections::HashSet<_> =
            (0..1_000).map(|_| seen(&ClientKey::connection())).collect();
        assert_eq!(connections.len(), 1_000);
    }
}
