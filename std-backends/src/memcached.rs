//! States on Memcached, shared by all who use the same servers, on the servers' clocks.

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
use count::{Item, Told};
use items::Items;
#[cfg(feature = "locks")]
pub use lock::MemcachedLock;
use server::End;
use window::Window;

/// Keeps states on Memcached servers (1.6 or later), each key on one of them.
///
/// * A check of cost 1 of a [`FixedWindow`](traffik_core::FixedWindow), also by tier or hour, takes one round
///   trip: the server counts down. That is so for limits up to 262 143 in a period of up to 255 whole
///   seconds, minutes, hours or days. Whatever else is asked takes two, together with all that this process
///   asks of the same key meanwhile, and more if other processes change it meanwhile.
/// * Connections, to each server several, are made when they are needed, in the background of the runtime
///   that is given. Each serves one call at a time, and is closed unless all of the answer was taken.
/// * The server keeps items in memory, and gives up those it has no room for: a key that it gave up counts as
///   one never seen, so its whole limit is granted anew. Give it memory (`-m`) for all keys of the longest
///   period, and no other use that fills it; [`evictions`](MemcachedStorage::evictions) counts what it gave
///   up. With `-M` it gives nothing up, and calls fail with [`Full`](ErrorKind::Full) instead.
///
/// # Clocks
///
/// Times are those of the server that keeps the key, whatever the clocks of hosts say: a host learns the
/// server's second by the first call, and again while it asks, by calls that are made anyway. The host's
/// monotonic clock carries the time on in between, so a step of its wall clock has no effect.
///
/// Servers count whole seconds, by a timer that comes late. So the times of two hosts may be apart by up to
/// two seconds and a round trip, mostly by much less. A time earlier than a state's own counts as the
/// state's own, and states are kept until they are over for all hosts: all hosts together admit in any span
/// at most what the limit admits in a span longer by those two seconds. A server that is started anew may
/// have another time; its states are gone then.
///
/// A server that does not say its time, as other programs with the same protocol may not, is used by each
/// host's own clock, and a [warning](MemcachedBuilder::on_warning) says so: limits there hold as far as the
/// clocks of hosts agree.
///
/// Of a window that the server counts it is not noted when in it the last hit was. So if a limit changes its
/// period, what was used counts as late as it can have been used, and if a clock steps back over the hour at
/// which another limit takes over, the one that holds by that clock decides.
///
/// # Deadlines
///
/// A call ends by its [`timeout`](MemcachedBuilder::timeout), 500 ms by default, waiting for a connection
/// included. Connecting has a budget of its own, [`connect_timeout`](MemcachedBuilder::connect_timeout), and
/// goes on when the calls that wait for it have failed. An attempt without a result is followed by another
/// one after half a second; after one that failed, calls fail with its cause during a pause that grows up to
/// half a second. So a server that is back is found within about half a second.
///
/// A connection that was closed while it lay idle fails no call: what was not sent goes out on another one.
/// One that nobody used for 5 seconds is first asked whether it still leads to the server. A server that
/// gives fewer connections than there [may be](MemcachedBuilder::connections) serves all calls by those.
///
/// # Several servers
///
/// Each server has a name, by which keys are spread: its address in canonical form, or one of your own, as in
/// `cache-a=10.0.0.7:11211`. IP addresses have one form, `localhost` is `127.0.0.1`, and the case of a host
/// and the dot behind it do not count. A server with a name of its own may move to another address, and its
/// keys stay with it.
///
/// A server that fails concerns its own keys alone. [`nodes`](Self::nodes) says what is wrong with which, and
/// [`node`](AsyncStorage::node) which one keeps a key, so that layers leave the others alone.
///
/// All instances have to name the same servers: a key that two lists keep on different servers has its limit
/// twice. To add one to n servers, or to take one away, moves about one key of n, which has its whole limit
/// once more; during a rolling change of the list such keys are counted on both servers. So change a list
/// while limits are little used, by one server at a time, and by all instances within the shortest period of
/// a limit if that is possible; to replace a machine, keep the name and change the address. Each storage
/// keeps its list on each server for a minute and looks at it every 10 seconds. One that finds another list
/// writes a [warning](MemcachedBuilder::on_warning), once.
///
/// # Errors
///
/// Each names the server and the cause.
///
/// * [`Timeout`](ErrorKind::Timeout): no answer in time, or the connection broke while it was awaited. The
///   hit may have been charged or not; it is not sent again.
/// * [`Unavailable`](ErrorKind::Unavailable): not connected, also because the server takes no more
///   connections, or no answer in time to what charges nothing.
/// * [`Contended`](ErrorKind::Contended): other processes kept changing the same key. Nothing was charged.
/// * [`Full`](ErrorKind::Full): the server has no room, and may not give anything up for it.
/// * [`Denied`](ErrorKind::Denied): the server is older than 1.6, or asks for a password.
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
    /// Connects to all servers and asks each for a write, of an item that it keeps for a second; looks for
    /// [evictions](Self::evictions). Asks all at once, and waits for as long as one call.
    ///
    /// # Errors
    ///
    /// Fails as a call does, with the failure of one server that cannot be reached, is too old or cannot
    /// write. All others have been asked too: [`nodes`](Self::nodes) has the fault of each.
    pub async fn ready(&self) -> Result<(), BackendError> {
        let probe = format!("{}#ready", self.items.namespace);
        let servers = self.items.servers.iter();
        let asked = servers.map(|server| async { server.ready(&probe, pin!(self.items.end())).await });
        join_all(asked).await.into_iter().collect()
    }

    /// Returns the name of each server, and the cause of its present fault if it has one.
    ///
    /// A fault begins with the first call or attempt to connect that fails, and ends with an answer once
    /// there was no failure for a second.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        let servers = self.items.servers.iter();
        servers.map(|server| (server.name.clone(), server.pool.host.faults.cause())).collect()
    }

    /// Returns how many items the servers have given up for want of memory while this storage was used,
    /// whoever's they were: each key among them has its whole limit again. Clones count together.
    ///
    /// A server is asked every 10 seconds at most, in one round trip with what is asked anyway, and by
    /// [`ready`](Self::ready). The first eviction that is seen is [warned](MemcachedBuilder::on_warning)
    /// of, once.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.count()
    }

    /// Returns how often an item was found at a key that is no state of the limit: one that another program
    /// wrote, or a limit of another kind. Its key counts as one never seen, with its whole limit. The first
    /// one is [warned](MemcachedBuilder::on_warning) of, once. Clones count together.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.items.corrupt.count()
    }

    /// Forgets every key of this namespace, on all servers, and no other's. Others that use it notice within
    /// a second; until then they may still count on what was there.
    ///
    /// # Errors
    ///
    /// Fails as a call does, with the failure of one server. The keys on all others are forgotten.
    pub async fn clear(&self) -> Result<(), BackendError> {
        let servers = self.items.servers.iter();
        let asked = servers.map(|server| async { server.begin_generation(pin!(self.items.end())).await });
        join_all(asked).await.into_iter().collect()
    }

    /// Lets those calls end that are on their way, which each do by their deadline, and then ends the
    /// connections. Calls that come from now on fail with [`Closed`](ErrorKind::Closed), those of all clones.
    /// What is stored stays, unless the storage was made not to be
    /// [persistent](MemcachedBuilder::persistent): then the namespace is [cleared](Self::clear) last, and if
    /// that fails it is told so, and the storage is closed all the same.
    pub async fn close(&self) -> Result<(), BackendError> {
        if !self.items.gate.close().await {
            return Ok(());
        }
        let cleared = if self.persistent { Ok(()) } else { self.clear().await };
        self.items.servers.iter().for_each(|server| server.pool.close());
        cleared
    }

    /// Counts on the server, if that is all a check takes; `None` if nothing was charged that way.
    async fn count<S: Strategy>(
        &self,
        strategy: &S,
        hit: &Hit<S::Cost>,
        escaped: &str,
        mut end: End<'_>,
    ) -> Result<Option<S::Verdict>, BackendError> {
        if hit.cost != S::Cost::uniform(1) || self.items.floods.is_stemmed(escaped) {
            return Ok(None);
        }
        let server = self.items.server(escaped)?;
        let known = server.generation().look();
        let mut generation = match known {
            Some(known) => known.number,
            // First of all, for the time is learnt by it.
            None => Box::pin(server.first_look(end.as_mut())).await?,
        };
        let now = self.items.now(server);
        let Some(window) = Window::of(strategy, hit.class, now) else { return Ok(None) };
        let Some(first) = window.first(now) else { return Ok(None) };
        let expiry = self.items.expiry(server, Duration::from_micros(window.rest(&first, now)));
        let mut renewal = None;
        if let Some(known) = known.filter(|known| known.is_old() && server.generation().begin(*known)) {
            renewal = Some((known, Box::pin(self.items.renewed(server))));
        }
        let told = loop {
            let name = &*self.items.name(generation, escaped);
            let item = Item { name, expiry, now };
            let counted = count::one(server, item, (strategy, hit), (window, first), end.as_mut());
            let Some((known, renewed)) = renewal.take() else { break counted.await? };
            // At the same time: a call has no time for two round trips far away.
            match Box::pin(join(counted, renewed)).await {
                // What was counted in a generation that is over counts for nothing.
                (_, Ok(new)) if new != known.number => generation = new,
                (counted, _) => break counted?,
            }
        };
        match told {
            Told::Verdict(verdict) => Ok(Some(verdict)),
            Told::Deep(verdict) => {
                // Written anew, the count begins with nothing left. The denial is one whatever comes of that.
                if let Some(_stemmed) = self.items.floods.stem(escaped) {
                    let _ = Box::pin(self.swap(strategy, escaped, &Op::Charge(hit.free()), end)).await;
                }
                Ok(Some(verdict))
            }
            Told::Nothing => Ok(None),
            Told::Charged(at) => {
                // Any admission at that time has the receipt for it.
                let receipt = strategy.decide(&mut S::State::default(), hit, at).receipt();
                let refund = Box::pin(self.swap(strategy, escaped, &Op::Refund(*hit, receipt), end)).await;
                // If that fails, somebody is charged who was not admitted.
                refund.map(|_| None).map_err(|failure| failure.with_kind(ErrorKind::Timeout))
            }
        }
    }

    /// Loads, decides and swaps, together with others.
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
            // In a future of its own, which checks that are counted need no room for.
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

    /// The server that keeps the key, if there are several.
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
