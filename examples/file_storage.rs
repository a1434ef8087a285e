//! A storage on files in a directory, one for each key. `LockedStorage` turns any store with get and set
//! into a storage.
//!
//! The program checks the duties of storages one by one. Do the same with your own store.

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

/// A key-value store of files, one for each key; for one process, since a [`MemoryLock`] works within one.
///
/// A file holds its expiry in 8 bytes, then the value. An expired file stays until its key is written again,
/// so let a daily job remove files older than your longest period.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: Arc<Path>,
    /// Secrets of the file names. A name is a keyed hash of 2 · 64 bits, so any key has a name, and no client
    /// can choose two keys with the same name.
    seeds: [Seed; 2],
    /// Number of files written.
    written: Arc<AtomicU64>,
}

impl Files {
    /// Opens a directory, which is created if it is missing. Use the same secret each time.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be created.
    pub(crate) fn open(directory: impl Into<PathBuf>, secret: u64) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        let seeds = [Seed::new(secret), Seed::new(!secret)];
        Ok(Self { directory: directory.into(), seeds, written: Arc::default() })
    }

    /// Returns the number of files written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns the path of a key's file.
    pub(crate) fn path(&self, key: &[u8]) -> PathBuf {
        let [one, two] = self.seeds.each_ref().map(|seed| seed.digest(key).as_u64());
        self.directory.join(format!("{one:016x}{two:016x}"))
    }

    /// Writes a temporary file and renames it, so that a reader sees all of it or nothing. A loss of power
    /// may lose the write, since nothing waits for the disk: forgetting a limit once is cheaper.
    ///
    /// # Errors
    ///
    /// Fails with the error of the file system; the value before then stays.
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
        run_blocking(move || files.read(&key, now)).await
    }

    async fn set(&self, key: &[u8], bytes: &[u8], ttl: Duration) -> Result<(), BackendError> {
        let (files, key, bytes, end) = (self.clone(), key.to_vec(), bytes.to_vec(), self.now() + ttl);
        run_blocking(
            move || if bytes.is_empty() { files.remove(&key) } else { files.write(&key, &bytes, end) },
        )
        .await
    }
}

/// Runs blocking work on a thread of its own and waits for it. If the future is dropped, the work goes on;
/// `LockedStorage` then leaves its lock to expire by the TTL.
async fn run_blocking<T: Send + 'static>(
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

/// The storage over files.
pub(crate) type FileStorage = LockedStorage<Files, MemoryLock, Tokio>;

/// Makes a storage of these files.
pub(crate) fn storage(files: Files) -> FileStorage {
    LockedStorage::new(files, Locks::new(MemoryLock::new(), Tokio))
}

/// Checks the duties of storages, and calls `passed` with the name of each.
///
/// # Errors
///
/// Fails with the first duty that the storage breaks.
pub(crate) async fn conforms(mine: &FileStorage, mut passed: impl FnMut(&str)) -> Result<(), Box<dyn Error>> {
    // A small and slow limit, so that nothing refills during the checks.
    let limit = TokenBucket::new(rate!("5/h"));
    awaited::agrees_by_its_clock(&limit, mine, &[1, 0, 2, 1, 9, 1, 1, 1]).await?;
    passed("agrees with the pure function");
    awaited::denial_writes_nothing(&limit, mine, async || mine.store().written()).await?;
    passed("a denial writes nothing");
    awaited::keys_are_apart(&limit, mine).await?;
    passed("keys are apart");
    awaited::refund_takes_back(&limit, mine).await?;
    passed("a refund takes back what its receipt says");
    awaited::reset_starts_afresh(&limit, mine).await?;
    passed("a reset starts a key afresh");
    awaited::peek_is_free(&limit, mine).await?;
    passed("a peek charges nothing");
    awaited::racers_admit_the_limit(&limit, mine).await?;
    passed("racers for one key admit exactly the limit");
    let plant = async |key: &[u8], bytes: &[u8]| {
        mine.store().write(key, bytes, Timestamp::MAX).expect("the directory was written to before");
    };
    awaited::corrupt_is_never_seen(&limit, mine, plant).await?;
    passed("bytes that are no state count as a key never seen");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::temp_dir().join(format!("traffik-file-storage-{}", process::id()));
    let mine = storage(Files::open(&directory, 0x5eed)?);
    let conformance = conforms(&mine, |duty| println!("passed: {duty}")).await;

    let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), mine);
    for _ in 0..3 {
        println!("{:?}", limiter.check("alice").await?);
    }
    fs::remove_dir_all(directory)?;
    conformance
}
