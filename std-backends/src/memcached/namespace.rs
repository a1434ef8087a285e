//! The generation of a namespace on a server, which clearing replaces.

use std::pin::pin;

use traffik_core::storage::{BackendError, ErrorKind};
use traffik_runtimes::Connect;

use super::clock::LAST;
use super::command::{Get, Store};
use super::failure::failure;
use super::generation::next;
use super::host::Listed;
use super::pool::Lease;
use super::server::{End, Server};
use super::wire::number;
use crate::util::evictions::PATIENCE;
use crate::util::race::{Either, race};

impl<R: Connect> Server<R> {
    /// Returns the generation where none was known: a connection that is made asks for it by itself.
    pub(super) async fn first_look(&self, mut end: End<'_>) -> Result<u64, BackendError> {
        self.lease(end.as_mut()).await?.put_back();
        match self.generation().number() {
            Some(generation) => Ok(generation),
            None => self.look(false, end).await,
        }
    }

    /// Asks for the generation, the time, and now and then or if it `must` for what was given up and for the
    /// list of servers. For these two nobody waits, unless it must.
    pub(super) async fn look(&self, must: bool, mut end: End<'_>) -> Result<u64, BackendError> {
        let host = &self.pool.host;
        let (known, asked, survey) = (host.generation.number(), host.clock.host(), host.survey(must));
        let (found, lease) = self.exchange(&survey, end.as_mut()).await?;
        let generation = match known {
            Some(known) if known > 0 && found.bytes.is_empty() => known,
            // What is no number is none of ours: as if it had never been cleared.
            _ => number(&found.bytes).unwrap_or(0),
        };
        host.learn(&found, asked, generation);
        match survey.list {
            None => lease.give_back(),
            Some(_) if must => Box::pin(look_beside(lease)).await,
            Some(_) => self.pool.runtime.spawn(look_beside(lease)),
        }
        if generation > 0 && found.bytes.is_empty() {
            // It was lost. Somebody else may be faster, perhaps with a newer one: that is known in a second.
            let bytes = generation.to_string();
            let (name, unique) = (&*host.item, found.unique);
            self.call(Store { name, bytes: bytes.as_bytes(), expiry: LAST, unique }, end).await?;
        }
        Ok(generation)
    }

    /// Begins another generation.
    pub(super) async fn begin_generation(&self, mut end: End<'_>) -> Result<(), BackendError> {
        /// Others who clear it at the same time are as good.
        const ATTEMPTS: usize = 8;
        let host = &self.pool.host;
        let (name, known) = (&*host.item, host.generation.number().unwrap_or(0));
        for _ in 0..ATTEMPTS {
            let found = self.call(Get(name), end.as_mut()).await?;
            let old = found.as_ref().and_then(|(bytes, _)| number(bytes)).unwrap_or(0).max(known);
            let new = next(old, host.clock.now());
            let (text, unique) = (new.to_string(), found.map(|(_, unique)| unique));
            let begun = Store { name, bytes: text.as_bytes(), expiry: LAST, unique };
            if self.call(begun, end.as_mut()).await? {
                host.generation.learn(new);
                return Ok(());
            }
        }
        Err(failure(ErrorKind::Contended, &host.title, "others keep clearing the same namespace"))
    }
}

/// Reads what was asked beside a survey. Whatever comes of it, no call fails.
async fn look_beside<R: Connect>(mut lease: Lease<R>) {
    let pool = lease.pool().clone();
    let listed = pool.host.read_beside(&mut lease.wire, pool.runtime.sleep(PATIENCE)).await;
    let is_well = match listed {
        Some(Listed::Other { unique }) => {
            let put = pool.host.list.put(&mut lease.wire, unique);
            matches!(race(put, pin!(pool.runtime.sleep(PATIENCE))).await, Either::Left(Ok(())))
        }
        Some(Listed::Same) => true,
        None => false,
    };
    if is_well {
        lease.give_back();
    }
}
