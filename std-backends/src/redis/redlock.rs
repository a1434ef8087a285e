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

use member::{Members, RedlockMember};
use round::Round;

/// Locks on several independent Redis servers: a name is granted if more than half of them grant it.
///
/// Choose it where a single server that restarts without its data must not grant a name twice. It survives
/// the loss of fewer than half of the servers. Choose [`RedisLock`] everywhere else: it needs one call of one
/// server.
///
/// * All servers are asked at once, and a majority decides as soon as it has answered. A slow or hanging
///   server delays nobody. Each call of a server waits at most for the
///   [timeout](super::RedisBuilder::timeout) of its storage. Acquiring takes up to two calls of each server,
///   renewing and releasing one.
/// * A grant counts from before the first server was asked, less a margin for the drift of clocks: a
///   hundredth of its TTL and 2 ms.
/// * The fencing token is raised on a majority before a grant is returned, so tokens grow, whichever majority
///   grants next. A holder that is paused for longer than its TTL does not notice: hand the token to whatever
///   the lock protects.
/// * Grants of a failed try, or of a dropped answer, are released in the background, and so are grants that a
///   slow server makes after a release. A release is repeated for a minute to a server that does not answer.
///   A grant that such a server makes later ends with its TTL. If another `Redlock` releases a grant, so does
///   the grant of a server that had not answered by then.
///
/// Source: S. Sanfilippo, "Distributed Locks with Redis", the Redlock algorithm; the tokens are an addition.
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
/// let guard = locks.lock("invoices/7").await?;
/// println!("the fencing token is {}", guard.fencing());
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redlock(Arc<Members>);

debug_fields!([] Redlock: servers = |it| it.0.all.iter().map(|member| &member.lock).collect::<Vec<_>>());

impl Redlock {
    /// Creates locks on these servers, best an odd number of them. The servers connect on first use.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Invalid`] for fewer than three servers: a majority of two cannot lose one.
    pub fn new(servers: impl IntoIterator<Item = RedisLock>) -> Result<Self, BackendError> {
        let all: Vec<_> = servers.into_iter().map(RedlockMember::new).collect();
        if all.len() < 3 {
            let message = format!("a majority of {} servers cannot lose one; give 3 or 5 servers", all.len());
            return Err(BackendError::new(ErrorKind::Invalid, message));
        }
        Ok(Self(Arc::new(Members { all, held: Default::default() })))
    }

    /// Starts a round of questions about a name.
    fn round(&self, name: &[u8], owner: Owner) -> Round {
        Round::new(Arc::clone(&self.0), name.into(), owner)
    }

    /// Runs a round in the background, where it continues after its decision and after a dropped answer.
    async fn decide(&self, grant: &Grant, verb: Verb) -> Result<bool, BackendError> {
        let (decided, answer) = oneshot::channel();
        let round = self.round(grant.name(), grant.owner());
        net::spawn(round.settle(verb, decided))?.detach();
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Returns how long a grant of this TTL can be relied on.
fn usable(ttl: Ttl) -> Duration {
    // usable = ttl − (ttl / 100 + 2 ms): the drift that Redlock allows between the clocks of client and
    // servers.
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
            // Dropped unless the grant is taken: the round then releases all grants.
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
