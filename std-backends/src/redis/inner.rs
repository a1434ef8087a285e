//! The part of a storage on Redis that its clones, checks and locks share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value};
use traffik_core::storage::BackendError;
use traffik_core::{Clock, Timestamp};

use super::failure;
use super::script::{LOAD, SWAP};
use super::servers::Servers;
use crate::FifoQueue;
use crate::cas::{CompareAndSwap, Versioned, Write};
use crate::util::corrupt::CorruptValues;
use crate::util::shutdown::ShutdownGate;

/// The servers and options of a storage.
pub(super) struct RedisInner {
    pub(super) servers: Servers,
    pub(super) namespace: String,
    /// The clock that replaces the server's, in tests.
    pub(super) clock: Option<Arc<dyn Clock + Send + Sync>>,
    pub(super) persistent: bool,
    pub(super) corrupt: CorruptValues,
    pub(super) wait_queue: FifoQueue,
    pub(super) gate: ShutdownGate,
}

impl CompareAndSwap for RedisInner {
    /// The stored bytes; empty if there are none.
    type Version = Vec<u8>;

    async fn load(&self, key: &[u8]) -> Result<Versioned<Vec<u8>>, BackendError> {
        self.load_by(self.servers.end(), key).await
    }

    async fn swap(
        &self,
        key: &[u8],
        version: Vec<u8>,
        change: Write,
    ) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        self.swap_by(self.servers.end(), key, version, change).await
    }

    async fn pause(&self, wait: Duration) {
        self.servers.wait(wait).await;
    }

    fn found_corrupt(&self) {
        self.corrupt.add();
    }
}

impl RedisInner {
    async fn load_by(&self, until: Instant, key: &[u8]) -> Result<Versioned<Vec<u8>>, BackendError> {
        let mut call = LOAD.call(self.servers.known(), &[key]);
        call.arg(self.time());
        let run = async |mut session| LOAD.run(&mut session, &call).await;
        let answer = self.servers.call(key, until, run).await;
        loaded(answer.map_err(failure::nothing_charged)?)
    }

    async fn swap_by(
        &self,
        until: Instant,
        key: &[u8],
        version: Vec<u8>,
        change: Write,
    ) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        let (bytes, rest) = match change {
            Write::Remove => (Vec::new(), Duration::ZERO),
            Write::Store(bytes, rest) => (bytes, rest),
        };
        // rest is rounded up to whole milliseconds, the unit of `PX`, so that no state ends early.
        let rest = rest.as_micros().div_ceil(1_000).max(self.least().into());
        let mut call = SWAP.call(self.servers.known(), &[key]);
        call.arg(version).arg(bytes).arg(rest).arg(self.time());
        let run = async |mut session| SWAP.run(&mut session, &call).await;
        match self.servers.call(key, until, run).await? {
            // The script answers with nothing if it swapped, else with the present value.
            Value::Array(nothing) if nothing.is_empty() => Ok(None),
            answer => loaded(answer).map(Some),
        }
    }

    /// Writes a key of no limit, in the same way as a state.
    ///
    /// Waits until `connected` for a connection, and then at most for the timeouts of two calls.
    pub(super) async fn probe(&self, connected: Instant, key: &[u8]) -> Result<(), BackendError> {
        self.servers.connect(key, connected).await?;
        let found = self.load_by(self.servers.end(), key).await?;
        let change = Write::Store(b"ready".to_vec(), Duration::from_secs(1));
        // If another process has written it meanwhile, the server accepts writes.
        self.swap_by(self.servers.end(), key, found.version, change).await.map(drop)
    }

    /// Returns the time argument of scripts: empty for the server's time, or that of `clock` in microseconds.
    pub(super) fn time(&self) -> Vec<u8> {
        let time = self.clock.as_ref().map(|clock| clock.now().as_micros().to_string());
        time.unwrap_or_default().into_bytes()
    }

    /// Returns the least time that a state is kept, in milliseconds.
    pub(super) fn least(&self) -> u64 {
        const DAY: u64 = 24 * 3_600 * 1_000;
        // A clock of another kind than the server's may be slower.
        if self.clock.is_some() { DAY } else { 1 }
    }
}

/// Decodes a reply into values of these types.
pub(super) fn decode_reply<T: FromRedisValue>(answer: Value) -> Result<T, BackendError> {
    FromRedisValue::from_redis_value(answer).map_err(|error| failure::failure("the end", error.into()))
}

pub(super) fn time(seconds: u64, micros: u64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Decodes the reply of `load.lua`: the stored bytes, the server's time in seconds and microseconds, and the
/// milliseconds that the bytes are kept for, negative if they have no time to live.
fn loaded(answer: Value) -> Result<Versioned<Vec<u8>>, BackendError> {
    let (bytes, seconds, micros, kept): (Option<Vec<u8>>, u64, u64, i64) = decode_reply(answer)?;
    let kept = u64::try_from(kept).ok().map(Duration::from_millis);
    Ok(Versioned { version: bytes.clone().unwrap_or_default(), bytes, now: time(seconds, micros), kept })
}
