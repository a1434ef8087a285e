//! Reading and replacing the generation of a namespace on a server.

use std::pin::pin;

use traffik_core::storage::{BackendError, ErrorKind};
use traffik_runtimes::Connect;

use super::clock::LAST;
use super::command::{GetCommand, StoreCommand};
use super::failure::failure;
use super::generation::next_generation;
use super::host::ListComparison;
use super::pool::PoolLease;
use super::server::{End, Server};
use super::wire::number;
use crate::util::evictions::PATIENCE;
use crate::util::race::{Either, race};

impl<R: Connect> Server<R> {
    /// Returns the generation where none is cached. A new connection reads it in its greeting.
    pub(super) async fn first_generation(&self, mut end: End<'_>) -> Result<u64, BackendError> {
        self.lease(end.as_mut()).await?.return_unused();
        match self.generation().number() {
            Some(generation) => Ok(generation),
            None => self.refresh_generation(false, end).await,
        }
    }

    /// Reads the generation and the time, and also the eviction count and the list of servers if they are due
    /// or if `must`. Waits for these two only if `must`.
    pub(super) async fn refresh_generation(&self, must: bool, mut end: End<'_>) -> Result<u64, BackendError> {
        let host = &self.pool.host;
        let (known, asked, survey) = (host.generation.number(), host.clock.host(), host.survey(must));
        let (found, lease) = self.exchange(&survey, end.as_mut()).await?;
        let generation = match known {
            Some(known) if known > 0 && found.bytes.is_empty() => known,
            // Bytes that are no number were not written by a storage: treat the namespace as never cleared.
            _ => number(&found.bytes).unwrap_or(0),
        };
        host.learn(&found, asked, generation);
        match survey.list {
            None => lease.give_back(),
            Some(_) if must => Box::pin(finish_survey(lease)).await,
            Some(_) => self.pool.runtime.spawn(finish_survey(lease)),
        }
        if generation > 0 && found.bytes.is_empty() {
            // The item was lost. Another process may store a newer one first; this process reads that within
            // a second.
            let bytes = generation.to_string();
            let (name, unique) = (&*host.item, found.unique);
            self.call(StoreCommand { name, bytes: bytes.as_bytes(), expiry: LAST, unique }, end).await?;
        }
        Ok(generation)
    }

    /// Starts another generation.
    pub(super) async fn begin_generation(&self, mut end: End<'_>) -> Result<(), BackendError> {
        /// The most swaps that are lost to other processes that clear the namespace too.
        const ATTEMPTS: usize = 8;
        let host = &self.pool.host;
        let (name, known) = (&*host.item, host.generation.number().unwrap_or(0));
        for _ in 0..ATTEMPTS {
            let found = self.call(GetCommand(name), end.as_mut()).await?;
            let old = found.as_ref().and_then(|(bytes, _)| number(bytes)).unwrap_or(0).max(known);
            let new = next_generation(old, host.clock.now());
            let (text, unique) = (new.to_string(), found.map(|(_, unique)| unique));
            let stored = StoreCommand { name, bytes: text.as_bytes(), expiry: LAST, unique };
            if self.call(stored, end.as_mut()).await? {
                host.generation.store(new);
                return Ok(());
            }
        }
        Err(failure(ErrorKind::Contended, &host.title, "other processes kept clearing the same namespace"))
    }
}

/// Reads the extras of a survey. A failure here fails no call.
async fn finish_survey<R: Connect>(mut lease: PoolLease<R>) {
    let pool = lease.pool().clone();
    let comparison = pool.host.read_survey_extras(&mut lease.wire, pool.runtime.sleep(PATIENCE)).await;
    let is_well = match comparison {
        Some(ListComparison::Other { unique }) => {
            let put = pool.host.list.put(&mut lease.wire, unique);
            matches!(race(put, pin!(pool.runtime.sleep(PATIENCE))).await, Either::Left(Ok(())))
        }
        Some(ListComparison::Same) => true,
        None => false,
    };
    if is_well {
        lease.give_back();
    }
}
