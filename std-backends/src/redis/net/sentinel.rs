//! The master that sentinels name: found through the first of them that answers, and left as soon as they
//! name another one.
//!
//! A demoted master accepts writes for another ten seconds, which are then lost. So the storage polls the
//! sentinels all the time, and not only when it connects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Client, ConnectionAddr, ConnectionInfo, FromRedisValue, RedisError, Value};
use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

use super::address::{HostPort, at};
use super::connect::{self, Connection, ConnectionSource, Finder};
use super::link::Link;
use super::session::NetSession;
use super::timer;
use super::tls::Tls;
use crate::redis::budgets::Budgets;
use crate::redis::failure;
use crate::util::warning::LogWriter;

/// The interval at which each sentinel is asked for the master.
const POLL: Duration = Duration::from_millis(250);

/// Time that a sentinel has to answer, and to connect.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time for which a master counts as named since a sentinel last named it. After that, sentinels that know of
/// fewer failovers are believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// The sentinels of one master.
pub(super) struct Sentinels {
    each: Vec<Link>,
    /// The address of the master, with its name in place of the host.
    master: ConnectionInfo,
    tls: Tls,
    name: String,
    known: SpinMutex<MasterRecord>,
}

/// The known master.
#[derive(Default)]
struct MasterRecord {
    address: Option<HostPort>,
    /// The number of the failover that made it the master.
    epoch: u64,
    /// The master before it.
    left: Option<HostPort>,
    /// When a sentinel last named it.
    named: Option<Instant>,
}

/// The master according to one sentinel.
struct NamedMaster {
    address: HostPort,
    epoch: u64,
}

impl MasterRecord {
    /// Records the master that a sentinel names, unless another sentinel knows better: one that has heard of
    /// a later failover or, while a failover is under way, the one that leads it.
    fn note(&mut self, NamedMaster { address, epoch }: NamedMaster, now: Instant) {
        let is_known = self.address.as_ref() == Some(&address);
        let is_old = self.named.is_none_or(|at| now.saturating_duration_since(at) > BELIEVED);
        let is_later = epoch > self.epoch;
        let is_left = self.left.as_ref() == Some(&address);
        // At the same epoch, a name other than the former master's comes from the sentinel that leads a
        // failover: it names the new master before it counts the failover.
        if is_known || is_old || is_later || (epoch == self.epoch && !is_left) {
            self.epoch = if is_old { epoch } else { epoch.max(self.epoch) };
            self.named = Some(now);
            if !is_known {
                self.left = self.address.replace(address);
            }
        }
    }
}

impl Sentinels {
    pub(super) fn new(
        sentinels: Vec<Client>,
        master: ConnectionInfo,
        tls: Tls,
        writer: &LogWriter,
    ) -> Result<Self, BackendError> {
        let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) = master.addr() else {
            let words = "sentinels know a master by its name, not by a path; write redis://NAME";
            return Err(BackendError::new(ErrorKind::Invalid, words));
        };
        if sentinels.is_empty() {
            let words = "no sentinel is named; name one, such as redis://HOST:26379";
            return Err(BackendError::new(ErrorKind::Invalid, words));
        }
        let budgets = Budgets { call: PATIENCE, connect: PATIENCE };
        let link = |client| {
            let source = ConnectionSource::Client(Box::new(client), tls.clone());
            Link::new(source, budgets, writer.clone(), None, Arc::default())
        };
        let (name, each) = (name.clone(), sentinels.into_iter().map(link).collect());
        Ok(Self { each, master, tls, name, known: SpinMutex::default() })
    }

    /// Asks all sentinels at once for the master. The first answer counts, unless it is known to be outdated.
    async fn find(&self) -> Result<HostPort, BackendError> {
        let mut asked: FuturesUnordered<_> = self.each.iter().map(|sentinel| self.ask(sentinel)).collect();
        let mut failed = None;
        while let Some(named) = asked.next().await {
            match named {
                Ok(()) => {
                    let known = self.known.lock().address.clone();
                    return known.ok_or_else(|| self.unknown());
                }
                Err(failure) => failed = Some(failure),
            }
        }
        // No sentinel answers: the known master may still be one, which its role will show.
        let known = self.known.lock().address.clone();
        known.ok_or_else(|| failed.unwrap_or_else(|| self.unknown()))
    }

    /// Asks a sentinel, and records its answer.
    async fn ask(&self, sentinel: &Link) -> Result<(), BackendError> {
        let ask = async |mut session: NetSession| {
            let mut address = redis::cmd("SENTINEL");
            address.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
            let address: Option<HostPort> = FromRedisValue::from_redis_value(session.ask(&address).await?)?;
            let Some(address) = address else { return Ok(None) };
            let mut master = redis::cmd("SENTINEL");
            master.arg("MASTER").arg(&self.name);
            // A sentinel that refuses `MASTER` counts as one that knows of no failover.
            let epoch = session.ask(&master).await.map_or(0, |master| epoch(&master));
            Ok::<_, RedisError>(Some(NamedMaster { address, epoch }))
        };
        let named = sentinel.call(Instant::now() + PATIENCE, ask).await.map_err(failure::nothing_charged)?;
        let named = named.ok_or_else(|| {
            let words = format!(
                "the sentinel knows no master named {}; check the name in its configuration",
                self.name
            );
            failure::of(sentinel.name(), ErrorKind::Unavailable, &words)
        })?;
        self.known.lock().note(named, Instant::now());
        Ok(())
    }

    fn unknown(&self) -> BackendError {
        failure::of(&self.name(), ErrorKind::Unavailable, "no sentinel has named its address")
    }

    /// Completes when the master is no longer `from`.
    async fn moved(&self, from: &HostPort) {
        let watch = async |sentinel: &Link| {
            loop {
                timer::wait(POLL).await;
                // A silent sentinel is no reason to leave a master that answers.
                let _ = self.ask(sentinel).await;
                if self.known.lock().address.as_ref() != Some(from) {
                    return;
                }
            }
        };
        let mut watches: FuturesUnordered<_> = self.each.iter().map(watch).collect();
        watches.next().await;
    }

    /// Connects to the present master, and watches whether it stays the master.
    async fn connected(self: Arc<Self>, budget: Duration) -> Result<Connection, BackendError> {
        let address = self.find().await?;
        let info = self.master.clone().set_addr(at(self.master.addr(), &address));
        let server = format!("{}:{}, the master {}", address.0, address.1, self.name);
        let unsent = |error| failure::unsent(&server, error);
        let client = Client::open(info).map_err(unsent)?;
        let mut connection = connect::to(&client, &self.tls, budget).await.map_err(unsent)?;
        let role = redis::cmd("ROLE").query_async::<Value>(&mut connection.redis).await;
        // Sentinels may name a master before it has been promoted. A server that refuses `ROLE` is trusted.
        if let Ok(Value::Array(role)) = role
            && !matches!(role.first(), Some(Value::BulkString(role)) if role == b"master")
        {
            let words = "it is a replica, and not yet or no longer the master; nothing was sent";
            return Err(failure::of(&server, ErrorKind::Unavailable, words));
        }
        let is_stale = Arc::clone(&connection.is_stale);
        connection.server = Some(server);
        connection.tasks.push(timer::spawn(self.watch(address, is_stale))?);
        Ok(connection)
    }

    async fn watch(self: Arc<Self>, address: HostPort, is_stale: Arc<AtomicBool>) {
        self.moved(&address).await;
        // Relaxed: a call that misses the flag once uses the old master one more time, within the documented
        // bound.
        is_stale.store(true, Ordering::Relaxed);
    }
}

impl Finder for Sentinels {
    fn name(&self) -> String {
        format!("the master {}", self.name)
    }

    fn connect(self: Arc<Self>, budget: Duration) -> BoxFuture<'static, Result<Connection, BackendError>> {
        Box::pin(self.connected(budget))
    }
}

/// Returns `config-epoch`, the number of the last failover, from a list of names and values.
fn epoch(master: &Value) -> u64 {
    let Value::Array(fields) = master else { return 0 };
    let text = |value: &Value| String::from_redis_value(value.clone()).ok();
    let mut pairs =
        fields.chunks_exact(2).filter_map(|pair| Some((text(pair.first()?)?, text(pair.get(1)?)?)));
    pairs.find_map(|(name, value)| (name == "config-epoch").then(|| value.parse().ok())?).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_that_knows_a_later_failover_is_believed() {
        let (mut known, began) = (MasterRecord::default(), Instant::now());
        let mut noted = |host: &str, epoch, seconds| {
            let now = began + Duration::from_secs(seconds);
            known.note(NamedMaster { address: (host.to_owned(), 1), epoch }, now);
            known.address.clone().unwrap().0
        };
        assert_eq!(noted("a", 3, 0), "a");
        assert_eq!(noted("b", 2, 1), "a", "it has not heard of the failover to a");
        // The sentinel that leads a failover names the new master before it counts it.
        assert_eq!(noted("b", 3, 2), "b");
        assert_eq!(noted("a", 3, 3), "b", "others have not heard of it yet");
        assert_eq!(noted("b", 4, 4), "b");
        assert_eq!(noted("a", 3, 5), "b");
        assert_eq!(noted("a", 5, 6), "a", "it fails back");
        assert_eq!(noted("b", 4, 7), "a");
        // All sentinels were set up anew, and begin to count again.
        assert_eq!(noted("b", 0, 16), "a");
        assert_eq!(noted("b", 0, 17), "b");
        assert_eq!(noted("b", 0, 18), "b");
    }
}
