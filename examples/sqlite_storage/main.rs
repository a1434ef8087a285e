//! A storage in an SQLite file: limits outlive the process, and all processes of a machine share them.
//!
//! Each operation is one transaction. [`Sqlite`] serves a blocking `Limiter`, and [`AsyncSqlite`] async code,
//! whose threads it does not block. The file must lie on a local disk, where its locks work. On Postgres, let
//! the transaction lock the key even if it has no row yet, and read the database's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use traffik::cas::{self, Write};
use traffik::storage::{AsyncStorage, BackendError, Reply, WaitQueue};
use traffik::{
    AsyncLimiter, Clock, ErasedKey, ErrorKind, FifoQueue, Key, Op, Storage, StorageError, Strategy,
    SystemClock, Timestamp, TokenBucket, rate,
};

mod fault;
use fault::Fault;

/// A loss of power may lose the last writes, but neither the file nor the order of its writes.
const OPEN: &str = "PRAGMA synchronous = normal;
    CREATE TABLE IF NOT EXISTS limits (key BLOB PRIMARY KEY, state BLOB, over INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS limits_over ON limits (over)";
const LOAD: &str = "SELECT state FROM limits WHERE key = ?1";
const STORE: &str = "INSERT OR REPLACE INTO limits VALUES (?1, ?2, ?3)";
const REMOVE: &str = "DELETE FROM limits WHERE key = ?1";
/// Removes more rows than a write adds, so that the file does not grow for ever.
const SWEEP: &str =
    "DELETE FROM limits WHERE key IN (SELECT key FROM limits WHERE over < ?1 ORDER BY over LIMIT 2)";
/// The time for which a row outlasts its state: an operation may decide as of an earlier time than another.
const GRACE: Duration = Duration::from_secs(60);

/// A storage in an SQLite file, for a `Limiter`. A call blocks until it has the file's lock.
pub(crate) struct Sqlite<C = SystemClock> {
    file: Mutex<Connection>,
    patience: Duration,
    /// The clock that all processes read: a `MonotonicClock` would differ between them.
    clock: C,
    waiters: FifoQueue,
}

impl<C: Clock> Sqlite<C> {
    /// Opens or creates a file. Calls wait up to `patience` for the locks of other processes.
    pub(crate) fn open(file: &Path, patience: Duration, clock: C) -> rusqlite::Result<Self> {
        let file = Connection::open(file)?;
        file.busy_timeout(patience)?;
        // Lets readers pass writers. It fails harmlessly while another process has the file open.
        let _ = file.pragma_update(None, "journal_mode", "wal");
        file.execute_batch(OPEN)?;
        Ok(Self { file: Mutex::new(file), patience, clock, waiters: FifoQueue::new() })
    }

    /// Runs an operation in one transaction, as of `at` or of the present.
    fn run<S: Strategy>(
        &self,
        strategy: &S,
        key: &[u8],
        op: &Op<S>,
        at: Option<Timestamp>,
    ) -> Result<S::Verdict, Fault> {
        let is_peek = matches!(op, Op::Peek(_));
        // Locks the file before it reads: else two processes could decide on the same state.
        let lock = if is_peek { TransactionBehavior::Deferred } else { TransactionBehavior::Immediate };
        let mut file = self.file();
        let step = file.transaction_with_behavior(lock)?;
        // Read under the lock, so that a state ahead of it shows that the clock was set back.
        let present = self.clock.now();
        let now = at.unwrap_or(present);

        let mut state = load::<S>(&step, key)?;
        let is_moved = strategy.rebase(&mut state, now.max(present));
        let (verdict, is_changed) = op.apply(strategy, &mut state, now);
        if is_changed || (is_moved && !is_peek) {
            match Write::of(strategy, &state, op.class(), now) {
                Write::Remove => step.prepare_cached(REMOVE)?.execute([key])?,
                Write::Store(bytes, rest) => {
                    step.prepare_cached(STORE)?.execute(params![key, bytes, micros(now + rest + GRACE)])?
                }
            };
            step.prepare_cached(SWEEP)?.execute([micros(now)])?;
            step.commit().map_err(Fault::of_commit)?;
        }
        Ok(verdict) // otherwise the transaction ends without a write
    }

    /// Locks the connection. A strategy that panics leaves it sound, since its transaction is rolled back.
    fn file(&self) -> MutexGuard<'_, Connection> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are no state count as a key never seen.
fn load<S: Strategy>(file: &Connection, key: &[u8]) -> Result<S::State, Fault> {
    let bytes = file.prepare_cached(LOAD)?.query_row([key], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    Ok(cas::state::<S>(bytes.as_deref()))
}

fn micros(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn bytes(key: &(impl Key + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.feed(&mut |piece: &[u8]| bytes.extend_from_slice(piece));
    bytes
}

impl<S: Strategy, C: Clock> Storage<S> for Sqlite<C> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn apply<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        Ok(self.run(strategy, &bytes(key), op, Some(now))?)
    }

    fn apply_now<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
    ) -> Result<S::Verdict, StorageError> {
        Ok(self.run(strategy, &bytes(key), op, None)?)
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        Ok(load::<S>(&self.file(), &bytes(key))?)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.waiters)
    }
}

const CROWDED: &str = "the calls in front still wait for the file";

/// The storage for async code: its calls run on tokio's threads for blocking work, one at a time.
pub(crate) struct AsyncSqlite<C = SystemClock>(Arc<Sqlite<C>>, Arc<tokio::sync::Mutex<()>>);

impl<C: Clock + Send + Sync + 'static> AsyncSqlite<C> {
    pub(crate) fn new(storage: Sqlite<C>) -> Self {
        Self(Arc::new(storage), Arc::default())
    }

    /// Runs a call to its end, even if the reply is dropped.
    fn reply<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Sqlite<C>) -> Result<T, Fault> + Send + 'static,
    ) -> Reply<T> {
        let Self(storage, turn) = self;
        let (storage, turn) = (Arc::clone(storage), Arc::clone(turn));
        Reply::pending(async move {
            // Calls wait here, not on threads: while the file is locked they would occupy all that tokio has.
            let turn = tokio::time::timeout(storage.patience, turn.lock_owned()).await;
            let turn = turn.map_err(|_| BackendError::new(ErrorKind::Unavailable, CROWDED))?;
            let run = move || {
                let answer = call(&storage);
                drop(turn); // not earlier, even if nobody awaits the answer
                answer
            };
            let answer = tokio::task::spawn_blocking(run).await;
            // Lost if the strategy panicked or the runtime ends: the hit may have been charged.
            answer.map_err(|lost| BackendError::new(ErrorKind::Timeout, lost))?.map_err(BackendError::from)
        })
    }
}

impl<S: Strategy, C: Clock + Send + Sync + 'static> AsyncStorage<S> for AsyncSqlite<C> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (strategy, key, op) = (strategy.clone(), bytes(key), *op);
        self.reply(move |storage| storage.run(&strategy, &key, &op, None))
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let key = bytes(key);
        self.reply(move |storage| Ok((load::<S>(&storage.file(), &key)?, storage.clock.now())))
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.0.waiters)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join(format!("traffik-{}.sqlite", std::process::id()));
    let storage = AsyncSqlite::new(Sqlite::open(&file, Duration::from_secs(1), SystemClock)?);
    let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), storage);
    for _ in 0..3 {
        println!("{:?}", limiter.check("alice").await?);
    }
    Ok(std::fs::remove_file(file)?)
}
