//! A storage on Memcached servers: states shared by all processes that name the same servers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, Reply, WaitQueue};
use traffik_core::strategy::Cost;
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp, Verdict, debug_fields};
use traffik_runtimes::Connect;

use crate::cas::{Abandoned, Coalescing, CompareAndSwap};
use crate::util::evictions::Evictions;
use crate::util::race::{Either, race};

mod address;
mod builder;
mod clock;
mod command;
mod count;
mod counter;
mod expiry;
mod failure;
mod flood;
mod generation;
mod host;
mod items;
mod list;
#[cfg(feature = "locks")]
mod lock;
mod meta;
mod name;
mod namespace;
mod pool;
mod server;
mod window;
mod wire;

pub use builder::MemcachedBuilder;
use count::{CountOutcome, Item};
use items::Items;
#[cfg(feature = "locks")]
pub use lock::MemcachedLock;
use server::End;
use window::Window;

/// A storage on Memcached servers (1.6 or later), with each key on one of them.
///
/// Choose it where a Memcached is already in operation. Choose `RedisStorage` where states must survive a
/// full server or a restart, or where several keys must be charged in one step.
///
/// * A check of cost 1 of a [`FixedWindow`](traffik_core::FixedWindow), also by tier or hour, takes one round
///   trip: the server counts down. The server can count limits up to 262 143 in a period of 1 to 255 whole
///   seconds, minutes, hours or days.
/// * Every other operation takes one round trip, and a second one if it changes the state. Concurrent
///   operations of this process on the same key share them. A concurrent change by another process adds round
///   trips.
/// * The storage connects when it is first used, in the background of the given runtime, with up to 16
///   connections to each server. A connection serves one call at a time. It is closed after a call unless the
///   whole answer was read.
/// * The server keeps items in memory and evicts items when memory is full. An evicted key counts as never
///   seen, so its whole limit is granted again. Give the server memory (`-m`) for all keys of the longest
///   period, and no other use that fills it. [`evictions`](MemcachedStorage::evictions) counts evictions. A
///   server started with `-M` evicts nothing, and calls fail with [`Full`](ErrorKind::Full) instead.
///
/// ```no_run
/// use traffik::MemcachedStorage;
/// use traffik::{AsyncLimiter, FixedWindow, Rate};
///
/// # async fn example(runtime: impl traffik::runtime::Connect) -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemcachedStorage::servers(runtime, ["127.0.0.1:11211"]).namespace("api").build()?;
/// storage.ready().await?;
/// let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_minute(100)), storage);
/// assert!(limiter.check("alice").await?.is_allowed());
/// # Ok(())
/// # }
/// ```
///
/// # Clocks
///
/// Times come from the server that keeps the key; the wall clocks of hosts do not matter. A host learns the
/// server's second with its first call, and again with later calls, at no extra round trip. The host's
/// monotonic clock carries the time on in between, so a step of its wall clock has no effect.
///
/// Servers count whole seconds with a timer that may be late. So the times of two hosts may differ by up to
/// two seconds and a round trip, usually by much less. A time earlier than that of a state counts as the
/// state's, and a state is kept until no host counts it any more. In any span, all hosts together admit at
/// most as much as the limit admits in a span two seconds longer. A restarted server may have another time,
/// but its states are gone.
///
/// Other programs with the same protocol may not report the time. The storage then uses each host's own clock
/// and writes a [warning](MemcachedBuilder::on_warning). Limits there hold as far as the clocks of the hosts
/// agree.
///
/// A window that the server counts does not record the time of its last hit. This matters in two cases. If
/// the period of a limit changes, earlier use counts as late as it can have happened. If a clock steps back
/// over the hour at which another limit takes over, the limit that holds by that clock decides.
///
/// # Deadlines
///
/// A call ends by its [`timeout`](MemcachedBuilder::timeout), 500 ms by default, including the wait for a
/// connection. An attempt to connect has its own budget,
/// [`connect_timeout`](MemcachedBuilder::connect_timeout), and continues after the calls that wait for it
/// have failed. If an attempt has no result after 500 ms, another one starts beside it. After a failed
/// attempt, calls fail with its cause during a pause that grows up to 200 ms. So the storage finds a server
/// that is back within about half a second.
///
/// A connection that the server closed while it was idle fails no call: a command that was not sent goes out
/// on another connection. A connection unused for 5 seconds is first probed. If a server accepts fewer
/// connections than [`max_connections`](MemcachedBuilder::max_connections) allows, all calls share those.
///
/// # Several servers
///
/// Keys are spread by the names of the servers. A name is the server's address in canonical form, or one of
/// your own, as in `cache-a=10.0.0.7:11211`. In the canonical form, IP addresses have one spelling,
/// `localhost` is `127.0.0.1`, and the case of a host and a trailing dot do not count. A server with its own
/// name may move to another address, and its keys stay with it.
///
/// A failed server affects its own keys alone. [`nodes`](Self::nodes) reports the fault of each server.
/// [`node`](AsyncStorage::node) names the server of a key, so that layers leave the other servers alone.
///
/// All instances must name the same servers: a key that two lists keep on different servers has its limit
/// twice. Adding a server to n others, or removing one, moves about one key in n, which gets its whole limit
/// once more. During a rolling change of the list such keys are counted on both servers. So change a list
/// while limits are little used, one server at a time, and on all instances within the shortest period of a
/// limit if possible. To replace a machine, keep the name and change the address. Each storage writes its
/// list to each server, where it stays for a minute, and compares lists every 10 seconds. A storage that
/// finds another list writes one [warning](MemcachedBuilder::on_warning).
///
/// # Errors
///
/// Each error names the server and the cause.
///
/// * [`Timeout`](ErrorKind::Timeout): the server did not answer in time, or the connection broke before the
///   answer. The hit may have been charged, so it is not sent again.
/// * [`Unavailable`](ErrorKind::Unavailable): the storage could not connect, the server accepts no more
///   connections, or an operation that charges nothing got no answer in time.
/// * [`Contended`](ErrorKind::Contended): other processes kept changing the same key. Nothing was charged.
/// * [`Full`](ErrorKind::Full): the server has no room and may not evict anything.
/// * [`Denied`](ErrorKind::Denied): the server is older than 1.6, or requires a password.
/// * [`Closed`](ErrorKind::Closed): the storage was [closed](Self::close).
/// * [`Corrupt`](ErrorKind::Corrupt) and [`Other`](ErrorKind::Other): the server's count contradicts the
///   limit, or it refused a command for another reason.
#[derive(Clone)]
pub struct MemcachedStorage<R: Connect> {
    items: Arc<Items<R>>,
    combining: Coalescing<Items<R>>,
    evictions: Arc<Evictions>,
    persistent: bool,
}

debug_fields!(
    [R: Connect] MemcachedStorage<R>:
    namespace = |it| &it.items.namespace,
    servers = |it| it.items.servers.iter().map(|server| &*server.name).collect::<Vec<_>>(),
    persistent
);

impl<R: Connect> MemcachedStorage<R> {
    /// Checks that every server can be reached, is recent enough and accepts writes.
    ///
    /// Asks all servers at once: connects to each, writes an item that lives for a second, and reads the
    /// count of [evictions](Self::evictions). Waits at most for the [`timeout`](MemcachedBuilder::timeout) of
    /// a call and 200 ms. A dropped future leaves at most that item on each server, and connections that
    /// later calls use.
    ///
    /// # Errors
    ///
    /// Fails as a call does, with the failure of one server that cannot be reached, is too old or refuses
    /// writes. The other servers have been asked too: [`nodes`](Self::nodes) returns the fault of each.
    pub async fn ready(&self) -> Result<(), BackendError> {
        let probe = format!("{}#ready", self.items.namespace);
        let servers = self.items.servers.iter();
        let asked = servers.map(|server| async { server.ready(&probe, pin!(self.items.end())).await });
        join_all(asked).await.into_iter().collect()
    }

    /// Returns the name of each server, and the cause of its present fault if it has one.
    ///
    /// A fault begins with the first call or attempt to connect that fails. It ends with an answer once there
    /// has been no failure for a second.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        let servers = self.items.servers.iter();
        servers.map(|server| (server.name.clone(), server.pool.host.faults.cause())).collect()
    }

    /// Returns how many items, of any client, the servers have evicted since this storage first asked them.
    /// Each state among them has its whole limit again. Clones count together.
    ///
    /// The storage asks each server at most every 10 seconds, in one round trip with another call, and in
    /// [`ready`](Self::ready). It writes one [warning](MemcachedBuilder::on_warning) for the first eviction
    /// that it sees.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.count()
    }

    /// Returns how often a key held an item that is no state of its limit, because another program or a limit
    /// of another kind wrote it. Such a key counts as never seen, with its whole limit. The storage writes
    /// one [warning](MemcachedBuilder::on_warning) for the first such item. Clones count together.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.items.corrupt.count()
    }

    /// Forgets every key of this namespace on all servers, and no key of another namespace. Other storages
    /// that use the namespace notice within a second; until then they may still count on the old states.
    ///
    /// Asks all servers at once, and waits at most for the [`timeout`](MemcachedBuilder::timeout) of a call.
    /// A dropped future leaves some servers cleared and others not.
    ///
    /// # Errors
    ///
    /// Fails as a call does, with the failure of one server, or with [`Contended`](ErrorKind::Contended) if
    /// others keep clearing the namespace. Every server that did not fail has forgotten its keys.
    pub async fn clear(&self) -> Result<(), BackendError> {
        let servers = self.items.servers.iter();
        let asked = servers.map(|server| async { server.begin_generation(pin!(self.items.end())).await });
        join_all(asked).await.into_iter().collect()
    }

    /// Waits for the calls under way, each of which ends by its deadline, and then closes the connections.
    /// Later calls fail with [`Closed`](ErrorKind::Closed), also those of all clones.
    ///
    /// Stored states stay, unless the storage is not [persistent](MemcachedBuilder::persistent): then `close`
    /// [clears](Self::clear) the namespace last. So it waits at most for two
    /// [timeouts](MemcachedBuilder::timeout). A future dropped while calls are under way closes nothing. One
    /// dropped during the clearing leaves new calls refused and the connections open.
    ///
    /// # Errors
    ///
    /// Fails as [`clear`](Self::clear) does, if the storage is not persistent. The storage is closed in any
    /// case.
    pub async fn close(&self) -> Result<(), BackendError> {
        if !self.items.gate.close().await {
            return Ok(());
        }
        let cleared = if self.persistent { Ok(()) } else { self.clear().await };
        self.items.servers.iter().for_each(|server| server.pool.close());
        cleared
    }

    /// Counts a check on the server if the server can decide it. Returns `None` if nothing was charged that
    /// way.
    async fn count<S: Strategy>(
        &self,
        strategy: &S,
        hit: &Hit<S::Cost>,
        escaped: &str,
        mut end: End<'_>,
    ) -> Result<Option<S::Verdict>, BackendError> {
        if hit.cost != S::Cost::uniform(1) || self.items.floods.is_flooded(escaped) {
            return Ok(None);
        }
        let server = self.items.server(escaped)?;
        let known = server.generation().cached();
        let mut generation = match known {
            Some(known) => known.number,
            // A first look learns the server's time, which chooses the window.
            None => Box::pin(server.first_generation(end.as_mut())).await?,
        };
        let now = self.items.now(server);
        let Some(window) = Window::of(strategy, hit.class, now) else { return Ok(None) };
        let Some(first) = window.first(now) else { return Ok(None) };
        let expiry = self.items.expiry(server, Duration::from_micros(window.rest(&first, now)));
        let mut renewal = None;
        if let Some(known) =
            known.filter(|known| known.is_stale() && server.generation().begin_refresh(*known))
        {
            renewal = Some((known, Box::pin(self.items.refreshed_generation(server))));
        }
        let outcome = loop {
            let name = &*self.items.name(generation, escaped);
            let item = Item { name, expiry, now };
            let counted = count::count_hit(server, item, (strategy, hit), (window, first), end.as_mut());
            let Some((known, renewed)) = renewal.take() else { break counted.await? };
            // Both at once: a call has no time for two round trips to a distant server.
            match Box::pin(join(counted, renewed)).await {
                // A count in a generation that has ended charged nobody.
                (_, Ok(new)) if new != known.number => generation = new,
                (counted, _) => break counted?,
            }
        };
        match outcome {
            CountOutcome::Verdict(verdict) => Ok(Some(verdict)),
            CountOutcome::NeedsReset(verdict) => {
                // Storing the state anew resets the count to "nothing left". The verdict is a denial whether
                // or not that succeeds.
                if let Some(_guard) = self.items.floods.guard(escaped) {
                    let _ = Box::pin(self.swap(strategy, escaped, &Op::Charge(hit.free()), end)).await;
                }
                Ok(Some(verdict))
            }
            CountOutcome::NotCounted => Ok(None),
            CountOutcome::OtherLimit(at) => {
                // A refund needs the receipt of an admission at `at`, and all admissions at one time have the
                // same.
                let receipt = strategy.decide(&mut S::State::default(), hit, at).receipt();
                let refund = Box::pin(self.swap(strategy, escaped, &Op::Refund(*hit, receipt), end)).await;
                // Without the refund, a client was charged who is not admitted: report an unknown outcome.
                refund.map(|_| None).map_err(|failure| failure.with_kind(ErrorKind::Timeout))
            }
        }
    }

    /// Loads, decides and swaps. Operations of this process on the same key share one load and one swap.
    async fn swap<S: Strategy>(
        &self,
        strategy: &S,
        escaped: &str,
        op: &Op<S>,
        end: End<'_>,
    ) -> Result<S::Verdict, BackendError> {
        let mut pending = self.combining.apply(strategy.clone(), escaped.as_bytes().to_vec(), *op);
        if let Either::Left(answer) = race(&mut pending, end).await {
            return answer;
        }
        let server = self.items.server(escaped)?;
        match pending.give_up() {
            Abandoned::Answered(answer) => answer,
            Abandoned::Sent => Err(server.late(true)),
            Abandoned::Unsent => Err(server.late(false)),
        }
    }
}

impl<S: Strategy, R: Connect> AsyncStorage<S> for MemcachedStorage<R> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (this, strategy, op, escaped) = (self.clone(), strategy.clone(), *op, name::escaped(key));
        Reply::pending(async move {
            let _inside = this.items.gate.enter()?;
            let mut end = pin!(this.items.end());
            if let Op::Check(hit) = &op
                && let Some(verdict) = this.count(&strategy, hit, &escaped, end.as_mut()).await?
            {
                return Ok(verdict);
            }
            // Boxed, so that the future of a check that the server counts stays small.
            Box::pin(this.swap(&strategy, &escaped, &op, end)).await
        })
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (items, strategy, escaped) = (self.items.clone(), strategy.clone(), name::escaped(key));
        Reply::pending(async move {
            let _inside = items.gate.enter()?;
            let loaded = items.load(escaped.as_bytes()).await?;
            let state = items.read(&strategy, Default::default(), loaded.bytes.as_deref(), loaded.now);
            Ok((state, loaded.now))
        })
    }

    /// Returns the server that keeps the key, or `None` if there is one server.
    fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
        if self.items.servers.len() < 2 {
            return None;
        }
        self.items.server(&name::escaped(key)).ok().map(|server| server.name.clone())
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.items.wait_queue)
    }
}
