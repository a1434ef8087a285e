//! A storage on SQLite: rows of a table that all threads and processes of a machine share. `CompareAndSwap`
//! is all that a store must implement; `Coalescing` makes a storage of it. On another database the two
//! statements are much the same, but use the database's clock instead of this machine's.
use std::sync::{Arc, Mutex, PoisonError};
use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, params};
use traffik::cas::{Coalescing, CompareAndSwap, Versioned, Write};
use traffik::{
    AsyncLimiter, Clock, ErrorKind, SystemClock, Timestamp, TokenBucket, rate, storage::BackendError,
};

/// Expired rows count as missing, and are removed here. A loss of power may lose the last writes, not the
/// file.
const OPEN: &str = "PRAGMA synchronous = normal;
    CREATE TABLE IF NOT EXISTS limits (key BLOB PRIMARY KEY, state BLOB, over INTEGER NOT NULL) WITHOUT ROWID;
    DELETE FROM limits WHERE over <= unixepoch() * 1000000";
const LOAD: &str = "SELECT state FROM limits WHERE key = ?1 AND over > ?2";
const SWAP: &str = "INSERT INTO limits SELECT ?1, ?4, ?5 -- if the row still holds the loaded version
    WHERE (SELECT state FROM limits WHERE key = ?1 AND over > ?2) IS ?3
    ON CONFLICT (key) DO UPDATE SET state = excluded.state, over = excluded.over";

type Row = Versioned<Option<Vec<u8>>>;
type Statement<T> = Box<dyn FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send>;

pub(crate) struct Rows(Arc<Mutex<Connection>>);

impl Rows {
    /// Opens or creates a file. Waits for another process's write, for at most 5 s.
    pub(crate) fn open(file: &Path) -> rusqlite::Result<Coalescing<Self>> {
        let rows = Connection::open(file)?;
        // Faster. It fails harmlessly while another process has the file open.
        let _ = rows.pragma_update(None, "journal_mode", "wal");
        rows.execute_batch(OPEN)?;
        Ok(Coalescing::new(Arc::new(Self(Arc::new(Mutex::new(rows))))))
    }

    /// Runs statements on a thread for blocking work. They run to their end even if the future is dropped.
    async fn run<T: Send + 'static>(&self, run: Statement<T>) -> Result<T, BackendError> {
        let rows = Arc::clone(&self.0);
        let run = move || {
            let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            run(&rows, SystemClock.now().as_micros().cast_signed())
        };
        let done =
            tokio::task::spawn_blocking(run).await.map_err(|e| BackendError::new(ErrorKind::Other, e))?;
        done.map_err(|e| BackendError::new(ErrorKind::Unavailable, e)) // a failed statement changed nothing
    }
}

impl CompareAndSwap for Rows {
    type Version = Option<Vec<u8>>; // the bytes that were loaded

    async fn load(&self, key: &[u8]) -> Result<Row, BackendError> {
        let key = key.to_vec();
        let load: Statement<_> = Box::new(move |rows, now| {
            let bytes = rows.prepare_cached(LOAD)?.query_row(params![key, now], |it| it.get(0)).optional()?;
            Ok((bytes, Timestamp::from_micros(now.cast_unsigned())))
        });
        self.run(load).await.map(|(bytes, now)| Versioned { version: bytes.clone(), bytes, now, kept: None })
    }

    async fn swap(
        &self,
        key: &[u8],
        version: Self::Version,
        change: Write,
    ) -> Result<Option<Row>, BackendError> {
        let (bytes, rest) = match change {
            Write::Remove => (None, Duration::ZERO),
            Write::Store(bytes, rest) => (Some(bytes), rest),
        };
        let name = key.to_vec();
        let swap: Statement<_> = Box::new(move |rows, now| {
            let over = now.saturating_add_unsigned(rest.as_micros().try_into().unwrap_or(u64::MAX));
            rows.prepare_cached(SWAP)?.execute(params![name, now, version, bytes, over])
        });
        if self.run(swap).await? == 1 { Ok(None) } else { self.load(key).await.map(Some) }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join(format!("traffik-{}.sqlite", std::process::id()));
    let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), Rows::open(&file)?);
    for _ in 0..3 {
        println!("{:?}", limiter.check("alice").await?);
    }
    Ok(std::fs::remove_file(file)?)
}
