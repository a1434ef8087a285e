//! A lock that a majority of independent servers has to grant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use traffik_core::debug_fields;
use traffik_core::storage::{BackendError, ErrorKind, Reply};

use super::RedisLock;
use super::lock::Verb;
use super::net;
use crate::lock::{Grant, Lock, Owner, Ttl};

mod ballot;
mod member;
mod round;

use member::{Member, Members};
use round::Round;

/// Locks on several Redis servers that know nothing of each other: a name is granted if more than half of
/// them grant it. So locks outlive the loss of fewer than half of the servers.
///
/// Take it where a single server that restarts without its data must not grant a name twice, and a
/// [`RedisLock`] everywhere else: that asks one server, once.
///
/// * All servers are asked at once, and a majority decides as soon as it has answered. A server that is slow,
///   or hangs, holds nobody up.
/// * A grant counts from before the first server was asked, less what clocks may drift apart meanwhile: a
///   hundredth of its TTL and two milliseconds.
/// * Fencing tokens are raised on a majority before a grant is handed out, so that they grow whichever
///   majority grants the next one. A holder that is paused for longer than its TTL does not notice: hand the
///   token to whatever the lock protects.
/// * Grants of a try that failed, or whose answer was dropped, are released in the background, and so are
///   those that a slow server makes after the release. A server that does not answer is asked for a minute. A
///   grant that it makes later ends with its TTL, as does one that is released by another `Redlock` than made
///   it, and before a slow server had answered.
///
/// Source: S. Sanfilippo, "Distributed Locks with Redis", the Redlock algorithm; the tokens are ours.
///
/// ```no_run
/// use std::time::Duration;
/// use traffik::lock::Locks;
/// use traffik::{RedisStorage, Redlock};
///
/// # async fn example(runtime: impl traffik::Timer) -> Result<(), Box<dyn std::error::Error>> {
/// let mut servers = Vec::new();
/// for url in ["redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"] {
///     servers.push(RedisStorage::url(url)?.timeout(Duration::from_millis(50)).build()?.lock());
/// }
/// let locks = Locks::new(Redlock::new(servers)?, runtime);
/// let held = locks.lock("invoices/7").await?;
/// println!("the token of the only one inside is {}", held.fencing());
/// held.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redlock(Arc<Members>);

debug_fields!([] Redlock: servers = |it| it.0.all.iter().map(|member| &member.lock).collect::<Vec<_>>());

impl Redlock {
    /// Makes locks on these servers, best an odd number of them. It does not connect yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for fewer than three: of two, none may fail.
    pub fn new(servers: impl IntoIterator<Item = RedisLock>) -> Result<Self, BackendError> {
        let all: Vec<_> = servers.into_iter().map(Member::new).collect();
        if all.len() < 3 {
            let message = format!("{} servers are no quorum that could lose one; give 3 or 5", all.len());
            return Err(BackendError::new(ErrorKind::Invalid, message));
        }
        Ok(Self(Arc::new(Members { all, held: Default::default() })))
    }

    /// Begins a round of questions about a name.
    fn round(&self, name: &[u8], owner: Owner) -> Round {
        Round::new(Arc::clone(&self.0), name.into(), owner)
    }

    /// Asks in the background, where a round goes on after it is decided, and if the answer is dropped.
    async fn decide(&self, grant: &Grant, verb: Verb) -> Result<bool, BackendError> {
        let (decided, answer) = oneshot::channel();
        let round = self.round(grant.name(), grant.owner());
        net::spawn(round.settle(verb, decided))?.detach();
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// How long a grant of this length can be relied on.
fn usable(ttl: Ttl) -> Duration {
    ttl.get().saturating_sub(ttl.get() / 100 + Duration::from_millis(2))
}

fn ended() -> BackendError {
    BackendError::new(ErrorKind::Timeout, "the runtime ended before a majority of the servers had answered")
}

impl Lock for Redlock {
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>> {
        let (lock, name, owner) = (self.clone(), name.to_vec(), Owner::random());
        Reply::pending(async move {
            let deadline = Instant::now().checked_add(usable(ttl));
            let (decided, answer) = oneshot::channel();
            // Dropped unless the grant is taken.
            let (take, taken) = oneshot::channel();
            net::spawn(lock.round(&name, owner).acquire(ttl, decided, taken))?.detach();
            let token = answer.await.unwrap_or_else(|_| Err(ended()))?;
            let in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
            let token = token.filter(|_| in_time && take.send(()).is_ok());
            Ok(token.map(|token| Grant::new(name, owner, token)))
        })
    }

    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool> {
        let (lock, grant) = (self.clone(), grant.clone());
        Reply::pending(async move {
            let began = Instant::now();
            let is_renewed = lock.decide(&grant, Verb::Renew(ttl)).await?;
            Ok(is_renewed && began.elapsed() < usable(ttl))
        })
    }

    fn release(&self, grant: Grant) -> Reply<bool> {
        let lock = self.clone();
        Reply::pending(async move {
            lock.0.held.lock().remove(&grant.owner());
            lock.decide(&grant, Verb::Release).await
        })
    }
}
