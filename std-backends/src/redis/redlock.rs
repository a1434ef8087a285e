//! A lock that a majority of independent servers has to grant.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use traffik_core::storage::{ErrorKind, Failure, Reply};

use super::RedisLock;
use super::lock::Verb;
use crate::lock::{Grant, Lock, Owner, Ttl};

/// Locks on several Redis servers that know nothing of each other: a name is granted if more than half of them grant
/// it, soon enough that the grant is of use. So it outlives the loss of fewer than half of them.
///
/// A grant counts from before the first server was asked, less what clocks may drift apart meanwhile: a hundredth of
/// its TTL and two milliseconds. Whatever was granted in vain is released. Fencing tokens are raised on a majority
/// before a grant is handed out, so that they grow whichever majority grants the next one; nevertheless a holder that
/// is paused for longer than its TTL does not know, so hand the token to whatever the lock protects.
///
/// Source: S. Sanfilippo, "Distributed Locks with Redis", the Redlock algorithm; the tokens are ours.
#[derive(Clone, Debug)]
pub struct Redlock {
    servers: Vec<RedisLock>,
}

impl Redlock {
    /// Locks on these servers, best an odd number of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for fewer than three: of two, none may fail.
    pub fn new(servers: impl IntoIterator<Item = RedisLock>) -> Result<Self, Failure> {
        let servers: Vec<_> = servers.into_iter().collect();
        if servers.len() < 3 {
            let message = format!("{} servers are no quorum that could lose one; give 3 or 5", servers.len());
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        Ok(Self { servers })
    }

    /// More than half.
    fn quorum(&self) -> usize {
        self.servers.len() / 2 + 1
    }

    /// Asks all servers at once: the tokens of those that say yes, or the failure of one if so many failed that the
    /// others could not have been enough.
    async fn ask(&self, name: &[u8], owner: Owner, verb: Verb) -> Result<Vec<u64>, Failure> {
        let answers = join_all(self.servers.iter().map(|server| server.ask(name, owner, verb))).await;
        let (told, mut failed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        match failed.pop() {
            Some(Err(failure)) if told.len() < self.quorum() => Err(failure),
            _ => Ok(told.into_iter().flatten().flatten().collect()),
        }
    }

    async fn acquire(&self, name: &[u8], owner: Owner, ttl: Ttl) -> Result<Option<u64>, Failure> {
        let deadline = Instant::now().checked_add(usable(ttl));
        let in_time = || deadline.is_none_or(|deadline| Instant::now() < deadline);
        let granted = self.ask(name, owner, Verb::Acquire(ttl)).await?;
        let Some(token) = granted.iter().copied().max().filter(|_| granted.len() >= self.quorum()) else {
            return Ok(None);
        };
        let raised = self.ask(name, owner, Verb::Raise(token)).await?;
        Ok((raised.len() >= self.quorum() && in_time()).then_some(token))
    }
}

/// How long a grant of this length can be relied on.
fn usable(ttl: Ttl) -> Duration {
    ttl.get().saturating_sub(ttl.get() / 100 + Duration::from_millis(2))
}

impl Lock for Redlock {
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>> {
        let (lock, name, owner) = (self.clone(), name.to_vec(), Owner::random());
        Reply::pending(async move {
            let token = lock.acquire(&name, owner, ttl).await;
            if !matches!(token, Ok(Some(_))) {
                // On those that did grant it. That some cannot be reached is what the TTL is for.
                let _ = lock.ask(&name, owner, Verb::Release).await;
            }
            Ok(token?.map(|token| Grant::new(name, owner, token)))
        })
    }

    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool> {
        let (lock, grant) = (self.clone(), grant.clone());
        Reply::pending(async move {
            let began = Instant::now();
            let renewed = lock.ask(grant.name(), grant.owner(), Verb::Renew(ttl)).await?;
            Ok(renewed.len() >= lock.quorum() && began.elapsed() < usable(ttl))
        })
    }

    fn release(&self, grant: Grant) -> Reply<bool> {
        let lock = self.clone();
        Reply::pending(async move {
            let released = lock.ask(grant.name(), grant.owner(), Verb::Release).await?;
            Ok(released.len() >= lock.quorum())
        })
    }
}
