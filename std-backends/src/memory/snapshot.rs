//! The states of a storage as bytes, which survive a restart.

use std::error::Error;
use std::fmt;

use traffik_core::storage::WideTag;
use traffik_core::strategy::{Reader, State, encode};
use traffik_core::{Clock, Seed, Strategy, Timestamp};

use super::shards::Shards;
use super::{Memory, MemoryBuilder};

/// The first bytes of every snapshot.
const MAGIC: [u8; 7] = *b"traffik";
/// The version of the format that follows: secret, time, count, entries (word, time, state), checksum.
const VERSION: u8 = 2;

/// The reason why bytes cannot be restored.
///
/// [`MemoryBuilder::restore`] fails with it.
///
/// ```
/// use traffik::{Gcra, Memory, SnapshotError};
///
/// match Memory::<Gcra>::builder().restore(b"something else") {
///     Err(SnapshotError::NotASnapshot) => println!("starting afresh"),
///     other => unreachable!("{other:?}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes are no snapshot.
    NotASnapshot,
    /// The snapshot has a version that this version of traffik cannot read.
    Version(u8),
    /// The snapshot was cut short or changed, or has states of another strategy.
    Corrupt,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASnapshot => f.write_str("not a snapshot of a storage"),
            Self::Version(version) => {
                write!(f, "a snapshot of version {version}; this version of traffik reads version {VERSION}")
            }
            Self::Corrupt => f.write_str("the snapshot is cut short, was changed, or is of another strategy"),
        }
    }
}

impl Error for SnapshotError {}

impl<S: Strategy, C: Clock> Memory<S, C> {
    /// Returns all states in use, as bytes for [`MemoryBuilder::restore`].
    ///
    /// Other threads may continue meanwhile: each part of the storage is recorded as it was at some time
    /// during the call. The bytes contain no key, but they contain the secret of the keys' hashes, so store
    /// them like a secret.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot(&self.shards, self.clock.now())
    }
}

impl<S: Strategy, C: Clock> MemoryBuilder<S, C> {
    /// Builds a storage that remembers a [snapshot](Memory::snapshot).
    ///
    /// The capacity may differ. If not all keys fit, the storage treats them like new keys without room: its
    /// [`when_full`](Self::when_full) policy gives up those that would be fresh soonest, or refuses the last
    /// ones.
    ///
    /// The clock should count from the same epoch. If it counts from a later one, as an uptime does, the
    /// states lie ahead of it. Each is moved to the present at the next check of its key, so a client waits
    /// once more, for at most as long as the limit lasts.
    ///
    /// # Errors
    ///
    /// Fails with [`SnapshotError`] if the bytes are no snapshot, have another version, are damaged, or have
    /// states of another strategy.
    ///
    /// # Panics
    ///
    /// Panics as [`build`](Self::build) does.
    pub fn restore(self, bytes: &[u8]) -> Result<Memory<S, C>, SnapshotError> {
        restore(bytes, |secret| self.build_with(secret), |storage| (&storage.shards, storage.clock.now()))
    }
}

/// Returns all states in use at this time, as bytes.
pub(super) fn snapshot<T: State>(shards: &Shards<T>, now: Timestamp) -> Vec<u8> {
    let (mut entries, mut count) = (Vec::new(), 0u64);
    let mut state_bytes = vec![0; T::MAX_LEN];
    for table in shards.tables() {
        for (head, state) in table.entries(now) {
            // A state encodes to at most `MAX_LEN` bytes, so this never fails.
            let Some(length) = encode(state, &mut state_bytes) else { continue };
            let (word, fresh) = head.parts();
            entries.extend_from_slice(&word.to_le_bytes());
            entries.extend_from_slice(&fresh.to_le_bytes());
            entries.extend_from_slice(state_bytes.get(..length).unwrap_or_default());
            count += 1;
        }
    }
    let mut bytes = Vec::with_capacity(entries.len() + 40);
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&shards.secret.to_le_bytes());
    bytes.extend_from_slice(&now.as_micros().to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.append(&mut entries);
    let checksum = checksum(shards.secret, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Restores the entries of a snapshot into a storage that `build` makes with its secret. `shards` returns
/// the shards of that storage, and its present time.
pub(super) fn restore<T: State, M>(
    bytes: &[u8],
    build: impl FnOnce(u64) -> M,
    shards: impl Fn(&M) -> (&Shards<T>, Timestamp),
) -> Result<M, SnapshotError> {
    let corrupt = |_| SnapshotError::Corrupt;
    let (body, sum) = bytes.split_last_chunk().ok_or(SnapshotError::NotASnapshot)?;
    let mut reader = Reader::new(body);
    if reader.bytes() != Ok(MAGIC) {
        return Err(SnapshotError::NotASnapshot);
    }
    match reader.u8() {
        Ok(VERSION) => {}
        Ok(other) => return Err(SnapshotError::Version(other)),
        Err(_) => return Err(SnapshotError::NotASnapshot),
    }
    let secret = reader.u64().map_err(corrupt)?;
    if u64::from_le_bytes(*sum) != checksum(secret, body) {
        return Err(SnapshotError::Corrupt);
    }
    let taken = Timestamp::from_micros(reader.u64().map_err(corrupt)?);
    let storage = build(secret);
    let (shards, now) = shards(&storage);
    for _ in 0..reader.u64().map_err(corrupt)? {
        let (word, fresh) = (reader.u64().map_err(corrupt)?, reader.u32().map_err(corrupt)?);
        let head = WideTag::from_parts(word, fresh).ok_or(SnapshotError::Corrupt)?;
        let state = T::decode(&mut reader).map_err(corrupt)?;
        shards.adopt((head, state), taken, now);
    }
    if reader.is_empty() { Ok(storage) } else { Err(SnapshotError::Corrupt) }
}

fn checksum(secret: u64, bytes: &[u8]) -> u64 {
    Seed::new(secret).digest(bytes).as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffik_core::storage::WhenFull;
    use traffik_core::{FixedWindow, HeapLog, Limiter, ManualClock, Rate, TokenBucket};

    fn clock() -> ManualClock {
        ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000))
    }

    fn used() -> Limiter<TokenBucket, Memory<TokenBucket, ManualClock>> {
        let storage = Memory::builder().capacity(5_000).clock(clock()).build();
        let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(10)), storage);
        (0..1_000u32).for_each(|key| assert!(limiter.check_n(&key, key % 10 + 1).unwrap().is_allowed()));
        limiter
    }

    #[test]
    fn a_restored_storage_decides_as_the_one_before() {
        let before = used();
        let bytes = before.storage().snapshot();
        for capacity in [1_000, 5_000, 100_000] {
            let storage = Memory::builder().capacity(capacity).clock(clock()).restore(&bytes).unwrap();
            let after = Limiter::new(*before.strategy(), storage);
            let displaced = after.storage().counters().evictions;
            assert_eq!(after.storage().len() as u64 + displaced, before.storage().len() as u64);
            let kept = (0..1_000u32).filter(|key| after.peek(key, 1) == before.peek(key, 1)).count();
            assert!(kept as u64 + displaced >= 1_000, "{kept} of 1000 with room for {capacity}");
            assert!(displaced < 20, "{displaced} of 1000 displaced with room for {capacity}");
            assert!(after.peek(&5_000u32, 10).unwrap().is_allowed());
        }
        let again = Memory::<TokenBucket, _>::builder().clock(clock()).restore(&bytes).unwrap().snapshot();
        assert_eq!(again.len(), bytes.len());
    }

    #[test]
    fn what_does_not_fit_gives_way_by_the_policy() {
        let bytes = used().storage().snapshot();
        let builder =
            |when_full| Memory::<TokenBucket>::builder().capacity(10).when_full(when_full).clock(clock());
        let refusing = builder(WhenFull::Refuse).restore(&bytes).unwrap();
        assert!(
            refusing.len() < 1_000 && refusing.counters().refusals > 0 && refusing.counters().evictions == 0
        );
        let evicting = builder(WhenFull::Evict).restore(&bytes).unwrap();
        assert!(
            evicting.len() < 1_000 && evicting.counters().evictions > 0 && evicting.counters().refusals == 0
        );
    }

    #[test]
    fn what_has_become_fresh_is_left_out() {
        let limiter = used();
        limiter.storage().clock.advance(std::time::Duration::from_secs(600));
        assert_eq!(limiter.storage().snapshot().len(), 40);
    }

    /// A state whose length depends on the limit.
    #[test]
    fn a_log_on_the_heap_is_carried_too() {
        let limit = HeapLog::new(Rate::per_hour(1_000)).unwrap();
        let before = Limiter::new(limit, Memory::builder().capacity(10).clock(clock()).build());
        for _ in 0..500 {
            assert!(before.check("long").unwrap().is_allowed());
            before.storage().clock.advance(std::time::Duration::from_secs(1));
        }
        let builder = Memory::builder().clock(ManualClock::new(before.now()));
        let after = Limiter::new(limit, builder.restore(&before.storage().snapshot()).unwrap());
        assert_eq!(after.peek("long", 1), before.peek("long", 1));
        assert_eq!(after.peek("long", 0).unwrap().remaining(), 500);
    }

    #[test]
    fn whatever_was_changed_is_refused() {
        let bytes = used().storage().snapshot();
        let restore = |bytes: &[u8]| Memory::<TokenBucket>::builder().clock(clock()).restore(bytes).err();
        assert_eq!(restore(&bytes), None);
        assert_eq!(restore(b"nothing of the kind"), Some(SnapshotError::NotASnapshot));
        assert_eq!(restore(b""), Some(SnapshotError::NotASnapshot));
        for at in (0..bytes.len()).step_by(7).chain([7]) {
            assert!(restore(&bytes[..at]).is_some(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let expected = match at {
                0..7 => SnapshotError::NotASnapshot,
                7 => SnapshotError::Version(VERSION ^ 1 << 7),
                _ => SnapshotError::Corrupt,
            };
            assert_eq!(restore(&changed), Some(expected), "changed at {at}");
        }
        let windows = Memory::<FixedWindow>::builder().clock(clock()).restore(&bytes);
        assert_eq!(windows.err(), Some(SnapshotError::Corrupt));
    }
}
