//! A storage over files in a directory, one for each key: `LockedStorage` makes one of any store that can get and
//! set.
//!
//! It then runs the duties of storages as a checklist, which is what to do with a store of your own.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, io, process};

use traffik::laws::awaited;
use traffik::lock::{Locks, MemoryLock};
use traffik::runtime::Tokio;
use traffik::storage::BackendError;
use traffik::{AsyncLimiter, ErrorKind, KeyValueStore, LockedStorage, Seed, Timestamp, TokenBucket, rate};

/// Bytes by key, each in a file of its own; for one process, since [`MemoryLock`] is of one process.
///
/// A file holds when its bytes are over, in 8 bytes, and the bytes. What is over is written over when its key comes
/// again; let a daily job remove files that were not touched for longer than your longest period.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: Arc<Path>,
    /// A file's name is a keyed hash, in twice 64 bits: any key has a name, and nobody can choose two that share one.
    seeds: [Seed; 2],
    /// How many files were written.
    written: Arc<AtomicU64>,
}

impl Files {
    /// Files in this directory, made if it is not there. The secret must be the same whenever it is opened.
    pub(crate) fn open(directory: impl Into<PathBuf>, secret: u64) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        let seeds = [Seed::new(secret), Seed::new(!secret)];
        Ok(Self { directory: directory.into(), seeds, written: Arc::default() })
    }

    /// How many files were written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Where the bytes of a key are.
    pub(crate) fn path(&self, key: &[u8]) -> PathBuf {
        let [one, two] = self.seeds.each_ref().map(|seed| seed.digest(key).as_u64());
        self.directory.join(format!("{one:016x}{two:016x}"))
    }

    /// Writes beside and renames, so that whoever reads sees all of it or nothing. Is not safe from a loss of power,
    /// which would take a wait for the disk; a limit that is forgotten once then is cheaper.
    pub(crate) fn write(&self, key: &[u8], bytes: &[u8], end: Timestamp) -> io::Result<()> {
        let path = self.path(key);
        let beside = path.with_extension(self.written.fetch_add(1, Ordering::Relaxed).to_string());
        fs::write(&beside, [&end.as_micros().to_le_bytes(), bytes].concat())?;
        fs::rename(&beside, path).inspect_err(|_| drop(fs::remove_file(&beside)))
    }

    fn read(&self, key: &[u8], now: Timestamp) -> io::Result<Option<Vec<u8>>> {
        let kept = match fs::read(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            kept => kept?,
        };
        let Some((end, bytes)) = kept.split_first_chunk() else { return Ok(None) };
        Ok((Timestamp::from_micros(u64::from_le_bytes(*end)) > now).then(|| bytes.to_vec()))
    }

    fn remove(&self, key: &[u8]) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl KeyValueStore for Files {
    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        let (files, key, now) = (self.clone(), key.to_vec(), self.now());
        apart(move || files.read(&key, now)).await
    }

    async fn set(&self, key: &[u8], bytes: &[u8], ttl: Duration) -> Result<(), BackendError> {
        let (files, key, bytes, end) = (self.clone(), key.to_vec(), bytes.to_vec(), self.now() + ttl);
        apart(move || if bytes.is_empty() { files.remove(&key) } else { files.write(&key, &bytes, end) })
            .await
    }
}

/// Runs what may wait for a disk where it holds up nobody else. It goes on if its answer is dropped; `LockedStorage` leaves the
/// lock to its TTL then.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BackendError> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| BackendError::new(ErrorKind::Other, error))?;
    done.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Unavailable,
        };
        BackendError::new(kind, error)
    })
}

/// Files as a storage.
pub(crate) type FileStorage = LockedStorage<Files, MemoryLock, Tokio>;

/// A storage over these files.
pub(crate) fn storage(files: Files) -> FileStorage {
    LockedStorage::new(files, Locks::new(MemoryLock::new(), Tokio))
}

/// The duties of storages, each told once it is done.
pub(crate) async fn conforms(mine: &FileStorage, mut told: impl FnMut(&str)) -> Result<(), Box<dyn Error>> {
    // Few, and for long: nothing comes back while the duties are looked at.
    let limit = TokenBucket::new(rate!("5/h"));
    awaited::agrees_by_its_clock(&limit, mine, &[1, 0, 2, 1, 9, 1, 1, 1]).await?;
    told("agrees with the pure function");
    awaited::denial_writes_nothing(&limit, mine, async || mine.store().written()).await?;
    told("a denial writes nothing");
    awaited::keys_are_apart(&limit, mine).await?;
    told("keys are apart");
    awaited::refund_takes_back(&limit, mine).await?;
    told("a refund takes back what its receipt says");
    awaited::reset_starts_afresh(&limit, mine).await?;
    told("a reset starts a key afresh");
    awaited::peek_is_free(&limit, mine).await?;
    told("a peek charges nothing");
    awaited::racers_admit_the_limit(&limit, mine).await?;
    told("racers for one key admit exactly the limit");
    let plant = async |key: &[u8], bytes: &[u8]| {
        mine.store().write(key, bytes, Timestamp::MAX).expect("the directory was written to before");
    };
    awaited::corrupt_is_never_seen(&limit, mine, plant).await?;
    told("bytes that are no state count as a key never seen");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::temp_dir().join(format!("traffik-file-storage-{}", process::id()));
    let mine = storage(Files::open(&directory, 0x5eed)?);
    let held = conforms(&mine, |duty| println!("held: {duty}")).await;

    let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), mine);
    for _ in 0..3 {
        println!("{:?}", limiter.check("alice").await?);
    }
    fs::remove_dir_all(directory)?;
    held
}
