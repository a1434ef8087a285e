//! A storage on SQLite: states as rows of a table, which the threads and processes of a machine share.
//!
//! A store that can compare and swap implements `cas::Swap`, and `cas::Combining` makes a storage of it. On
//! another database the two statements are much the same, and its clock takes the place of this machine's.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use traffik::cas::{self, Change, Combining, Loaded, Swap};
use traffik::laws::awaited;
use traffik::storage::{AsyncStorage, Failure, Reply};
use traffik::{
    AsyncLimiter, Clock, ErasedKey, ErrorKind, Op, Strategy, SystemClock, Timestamp, TokenBucket, rate,
};

/// Waits for the disk so rarely that a loss of power may cost what was counted last, and nothing else. A row
/// that is over counts as none; those are removed here.
const OPEN: &str = "PRAGMA synchronous = normal;
    CREATE TABLE IF NOT EXISTS limits
        (key BLOB PRIMARY KEY, state BLOB, over INTEGER NOT NULL) WITHOUT ROWID;
    DELETE FROM limits WHERE over <= unixepoch() * 1000000";
const LOAD: &str = "SELECT state FROM limits WHERE key = ?1 AND over > ?2";
/// Stores if there is still what was loaded: `IS` is true of two that are `NULL`.
const SWAP: &str = "INSERT INTO limits SELECT ?1, ?4, ?5
    WHERE (SELECT state FROM limits WHERE key = ?1 AND over > ?2) IS ?3
    ON CONFLICT (key) DO UPDATE SET state = excluded.state, over = excluded.over";

type Row = Loaded<Option<Vec<u8>>>;

#[derive(Clone, Debug)]
struct Rows(Arc<Mutex<Connection>>);

impl Rows {
    /// Runs a statement on a thread where it holds up nobody else. It runs also if the answer is dropped.
    async fn run<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let rows = Arc::clone(&self.0);
        let run = move || {
            let connection = rows.lock().unwrap_or_else(PoisonError::into_inner);
            statement(&connection, SystemClock.now().as_micros().cast_signed())
        };
        let done = tokio::task::spawn_blocking(run).await;
        // A statement that fails has changed nothing.
        done.map_err(|error| Failure::new(ErrorKind::Other, error))?
            .map_err(|error| Failure::new(ErrorKind::Unavailable, error))
    }
}

impl Swap for Rows {
    /// The bytes themselves: a state that was changed and changed back is the same state.
    type Mark = Option<Vec<u8>>;

    async fn load(&self, key: &[u8]) -> Result<Row, Failure> {
        let key = key.to_vec();
        self.run(move |rows, now| {
            let mut load = rows.prepare_cached(LOAD)?;
            let bytes: Option<Vec<u8>> = load.query_row(params![key, now], |row| row.get(0)).optional()?;
            let now = Timestamp::from_micros(now.cast_unsigned());
            Ok(Loaded { mark: bytes.clone(), bytes, now, kept: None })
        })
        .await
    }

    async fn swap(&self, key: &[u8], mark: Self::Mark, change: Change) -> Result<Option<Row>, Failure> {
        let (name, (bytes, rest)) = (
            key.to_vec(),
            match change {
                Change::Remove => (None, Duration::ZERO),
                Change::Store(bytes, rest) => (Some(bytes), rest),
            },
        );
        let swap = move |rows: &Connection, now: i64| {
            let over = now.saturating_add_unsigned(rest.as_micros().try_into().unwrap_or(u64::MAX));
            rows.prepare_cached(SWAP)?.execute(params![name, now, mark, bytes, over])
        };
        if self.run(swap).await? == 1 { Ok(None) } else { self.load(key).await.map(Some) }
    }
}

/// Rows as a storage.
#[derive(Clone, Debug)]
pub(crate) struct SqliteStorage(Combining<Rows>);

impl SqliteStorage {
    /// Opens a file, or makes it. Another process that writes is waited for.
    pub(crate) fn open(file: &Path) -> rusqlite::Result<Self> {
        let rows = Connection::open(file)?;
        rows.busy_timeout(Duration::from_secs(1))?;
        // Of the file, not of this connection, and only faster: two that do it at once may both be refused.
        let _ = rows.pragma_update(None, "journal_mode", "wal");
        rows.execute_batch(OPEN)?;
        Ok(Self(Combining::new(Arc::new(Rows(Arc::new(Mutex::new(rows)))))))
    }
}

fn name(key: &dyn ErasedKey) -> Vec<u8> {
    let mut name = Vec::new();
    key.feed_to(&mut |piece| name.extend_from_slice(piece));
    name
}

impl<S: Strategy> AsyncStorage<S> for SqliteStorage {
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let pending = self.0.apply(limit.clone(), name(key), *op);
        Reply::pending(pending.by(tokio::time::sleep(Duration::from_secs(2))))
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (rows, key) = (Arc::clone(self.0.store()), name(key));
        Reply::pending(async move {
            rows.load(&key).await.map(|loaded| (cas::state::<S>(loaded.bytes.as_deref()), loaded.now))
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("traffik-{}.sqlite", std::process::id()));
    let mine = SqliteStorage::open(&file)?;
    awaited::every(&TokenBucket::new(rate!("5/h")), &mine).await?;

    let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), mine);
    for _ in 0..3 {
        println!("{:?}", limiter.check("alice").await?);
    }
    Ok(std::fs::remove_file(file)?)
}
