//! Locks on Redis, for critical sections of your own.

use std::sync::LazyLock;

use traffik_core::debug_fields;
use traffik_core::storage::{BackendError, ErrorKind, Reply};

use super::inner::decode_reply;
use super::script::Script;
use super::{RedisStorage, name};
use crate::cas::CompareAndSwap;
use crate::lock::{Grant, Lock, Owner, Ttl};

/// The script that grants, renews and releases a name.
static LOCK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lock.lua")));

/// The longest TTL, in milliseconds: a century, which a double holds exactly.
const LONGEST: u64 = 100 * 366 * 24 * 3_600 * 1_000;

/// Locks on the Redis server, cluster or master of a [`RedisStorage`], in its namespace.
///
/// Choose it unless a server that loses its data must not grant a name twice; then choose
/// [`Redlock`](super::Redlock) on several servers.
///
/// * Each call takes one step on the server, and waits at most for the storage's
///   [timeout](super::RedisBuilder::timeout). A grant ends by the server's clock.
/// * A server that restarts without its data, or a replica that is promoted before it received a grant, may
///   grant the name again. Hand the [fencing token](Grant::fencing) to whatever the lock protects.
/// * A call that fails with [`Timeout`](ErrorKind::Timeout), and an answer that is dropped, may leave the
///   name granted without a holder until its TTL is over.
/// * [`RedisStorage::clear`] leaves locks alone.
///
/// ```no_run
/// use traffik::RedisStorage;
/// use traffik::lock::Locks;
///
/// # async fn example(runtime: impl traffik::Timer) -> Result<(), Box<dyn std::error::Error>> {
/// let storage = RedisStorage::url("redis://127.0.0.1")?.namespace("api").build()?;
/// let locks = Locks::new(storage.lock(), runtime);
/// let guard = locks.lock("invoices/7").await?;
/// println!("the fencing token is {}", guard.fencing());
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisLock(RedisStorage);

debug_fields!([] RedisLock: namespace = |it| &it.0.inner.namespace);

impl RedisStorage {
    /// Returns locks in this storage's namespace, on the same connections.
    #[must_use]
    pub fn lock(&self) -> RedisLock {
        RedisLock(self.clone())
    }
}

/// The operation on a name.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Acquire(Ttl),
    Renew(Ttl),
    /// Raises the fencing token to at least this.
    #[cfg_attr(not(any(feature = "smol", feature = "tokio")), expect(dead_code, reason = "of Redlock alone"))]
    Raise(u64),
    Release,
}

impl RedisLock {
    /// Runs an operation and returns the token, or `None` if another owner holds the name or this one does
    /// not.
    pub(super) async fn ask(
        &self,
        name: &[u8],
        owner: Owner,
        verb: Verb,
    ) -> Result<Option<u64>, BackendError> {
        // `#` is not allowed in a namespace, so no state has the key of a lock.
        let key = name::name(&format!("{}#lock", self.0.inner.namespace), &name);
        let (verb, ttl, least) = match verb {
            Verb::Acquire(ttl) => ("acquire", ttl.as_millis().min(LONGEST), 0),
            Verb::Renew(ttl) => ("renew", ttl.as_millis().min(LONGEST), 0),
            Verb::Raise(token) => ("raise", 0, token),
            Verb::Release => ("release", 0, 0),
        };
        let mut call = LOCK.call(self.0.inner.servers.known(), &[&key]);
        call.arg(verb).arg(owner.as_bytes()).arg(ttl).arg(least);
        let servers = &self.0.inner.servers;
        let run = async |mut session| LOCK.run(&mut session, &call).await;
        let answer = servers.call(&key, servers.end(), run).await.inspect_err(|failure| {
            // A value of another type was written by another program.
            if failure.kind() == ErrorKind::Corrupt {
                self.0.inner.found_corrupt();
            }
        })?;
        let token: u64 = decode_reply(answer)?;
        // Tokens are times in microseconds, so 0 is free to mean "no".
        Ok((token > 0).then_some(token))
    }
}

impl Lock for RedisLock {
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>> {
        let (lock, name, owner) = (self.clone(), name.to_vec(), Owner::random());
        Reply::pending(async move {
            let token = lock.ask(&name, owner, Verb::Acquire(ttl)).await?;
            Ok(token.map(|token| Grant::new(name, owner, token)))
        })
    }

    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool> {
        let (lock, grant) = (self.clone(), grant.clone());
        Reply::pending(
            async move { Ok(lock.ask(grant.name(), grant.owner(), Verb::Renew(ttl)).await?.is_some()) },
        )
    }

    fn release(&self, grant: Grant) -> Reply<bool> {
        let lock = self.clone();
        Reply::pending(
            async move { Ok(lock.ask(grant.name(), grant.owner(), Verb::Release).await?.is_some()) },
        )
    }
}
