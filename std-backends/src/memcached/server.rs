//! One server: its connections, its share of the keys, and calls with a deadline.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use traffik_core::storage::Failure;
use traffik_core::{ErrorKind, Seed};
use traffik_runtimes::Connect;

use super::clock::ServerClock;
use super::command::{Command, Found, GetGeneration, Version, evictions};
use super::failure::{failure, late};
use super::generation::Generation;
use super::pool::{Lease, Pool};
use crate::util::evictions::{EvictionWatch, PATIENCE};
use crate::util::race::{Either, race};
use crate::util::warning::Warning;

/// The end of a call, which all its steps share.
pub(super) type End<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send + 'a)>;

pub(super) struct Server<R: Connect> {
    pub(super) pool: Arc<Pool<R>>,
    pub(super) generation: Generation,
    pub(super) clock: ServerClock,
    /// That it does not say its time.
    pub(super) timeless: Arc<Warning>,
    pub(super) evictions: EvictionWatch,
    /// What weighs keys for this server.
    seed: Seed,
}

impl<R: Connect> Server<R> {
    pub(super) fn new(
        pool: Arc<Pool<R>>,
        clock: ServerClock,
        timeless: Arc<Warning>,
        evictions: EvictionWatch,
    ) -> Self {
        // The same wherever it is known by the same address.
        let seed = Seed::new(Seed::new(0).digest(pool.address.as_str()).as_u64());
        Self { pool, generation: Generation::default(), clock, timeless, evictions, seed }
    }

    /// How much a key belongs here: it is kept where that is most.
    pub(super) fn weight(&self, escaped: &str) -> u64 {
        self.seed.digest(escaped).as_u64()
    }

    /// A connection for one call.
    pub(super) async fn lease(&self, end: End<'_>) -> Result<Lease<R>, Failure> {
        match race(self.pool.lease(), end).await {
            Either::Left(lease) => lease,
            Either::Right(()) => {
                let message =
                    format!("no connection to {} came free in time; nothing was charged", self.pool.address);
                Err(Failure::new(ErrorKind::Unavailable, message))
            }
        }
    }

    /// Asks, and waits for the answer until the deadline.
    pub(super) async fn call<C: Command>(&self, command: C, mut end: End<'_>) -> Result<C::Answer, Failure> {
        let mut lease = self.lease(end.as_mut()).await?;
        let answer = self.ask(&mut lease, command, end).await?;
        lease.give_back();
        Ok(answer)
    }

    /// Asks on this connection, which is to be given back once all of the answer is taken.
    async fn ask<C: Command>(
        &self,
        lease: &mut Lease<R>,
        command: C,
        end: End<'_>,
    ) -> Result<C::Answer, Failure> {
        lease.wire.begin();
        let answer = race(command.ask(&mut lease.wire), end).await;
        let may_have_changed = C::CHANGES && lease.wire.is_sent;
        match answer {
            Either::Left(Ok(answer)) => Ok(answer),
            Either::Left(Err(error)) => Err(failure(error, may_have_changed)),
            Either::Right(()) => Err(late(&self.pool.address, may_have_changed)),
        }
    }

    /// Asks for the item of a generation; with it, rarely or if it `must`, for what the server gave up.
    /// Whatever comes of that, the call goes on.
    pub(super) async fn survey(&self, name: &str, must: bool, mut end: End<'_>) -> Result<Found, Failure> {
        let and_evictions = self.evictions.begin(Instant::now()) || must;
        let mut lease = self.lease(end.as_mut()).await?;
        let found = self.ask(&mut lease, GetGeneration { name, and_evictions }, end).await?;
        if !and_evictions {
            lease.give_back();
            return Ok(found);
        }
        match race(evictions(&mut lease.wire), pin!(self.pool.runtime.sleep(PATIENCE))).await {
            Either::Left(Ok(count)) => {
                lease.give_back();
                if self.evictions.end(count) > 0 {
                    self.evictions.evictions.warn(|| self.has_given_up(count));
                }
            }
            // The rest of an answer may be on its way: the connection is not used again.
            Either::Left(Err(_)) | Either::Right(()) => self.evictions.refused(Instant::now()),
        }
        Ok(found)
    }

    fn has_given_up(&self, count: u64) -> String {
        format!(
            "memcached at {} has given up {count} items for want of memory: each key among them has its \
             whole limit again; give it more memory (-m), or use one for limits alone",
            self.pool.address
        )
    }

    /// Makes as many connections as there are to be at least, and asks on each whether the server can do
    /// what is needed; then for the generation of this name, the time, and what was given up.
    pub(super) async fn ready(&self, name: &str, mut end: End<'_>) -> Result<(), Failure> {
        let mut leases = Vec::new();
        for _ in 0..self.pool.settings.minimum.max(1) {
            leases.push(self.lease(end.as_mut()).await?);
        }
        for mut lease in leases {
            let version = self.ask(&mut lease, Version, end.as_mut()).await?;
            lease.give_back();
            if !can_count(&version) {
                let message = format!("{} is memcached {version}; 1.6 or later is needed", self.pool.address);
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
        }
        self.look(name, true, end).await.map(drop)
    }
}

/// Whether a server of this version knows `ma`; what is no version of memcached's own is not judged.
fn can_count(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', ' ']).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= (1, 6),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged_by_what_they_know() {
        for good in ["1.6.18", "1.6", "1.10.2", "2.0.0-rc1", "memcached-compatible"] {
            assert!(can_count(good), "{good}");
        }
        assert!(!can_count("1.5.22") && !can_count("1.4.39-beta"));
    }
}
