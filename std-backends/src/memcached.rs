//! States on Memcached, shared by all who use the same servers, on the servers' clocks.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, ErrorKind, Failure, Reply, WaitQueue};
use traffik_core::strategy::Cost;
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp, Verdict, debug_fields};
use traffik_runtimes::Connect;

use crate::cas::{Combining, Swap};
use crate::util::evictions::Evictions;

mod builder;
mod clock;
mod command;
mod count;
mod counter;
mod expiry;
mod failure;
mod flood;
mod generation;
mod items;
#[cfg(feature = "locks")]
mod lock;
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
/// * A check of cost 1 of a [`FixedWindow`](traffik_core::FixedWindow), also by tier or hour, takes one round trip: the server
///   counts down. That is so for limits up to 262 143 in a period of up to 255 whole seconds, minutes, hours or days. Whatever else is asked takes two, together with all that this process asks of the same key meanwhile,
///   and more if other processes change it meanwhile.
/// * Connections, to each server several, are made when they are needed, on the runtime that is given. Each serves one call at
///   a time, and is closed unless all of the answer was taken.
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
/// Of a window that the server counts it is not noted when in it the last hit was. So if a limit changes its period, what was
/// used counts as late as it can have been used, and if a clock steps back over the hour at which another limit takes
/// over, the one that holds by that clock decides.
///
/// # Errors
///
/// * [`Timeout`](ErrorKind::Timeout): no answer in time, or the connection broke while it was awaited. The hit may have
///   been charged or not; it is not sent again.
/// * [`Unavailable`](ErrorKind::Unavailable): not connected, or no answer in time to what charges nothing.
/// * [`Contended`](ErrorKind::Contended): other processes kept changing the same key. Nothing was charged.
/// * [`Full`](ErrorKind::Full): the server has no room, and may not give anything up for it.
///
/// ```no_run
/// use traffik_backends::MemcachedStorage;
/// use traffik_core::{AsyncLimiter, FixedWindow, Rate};
///
/// # async fn example(runtime: impl traffik_runtimes::Connect) -> Result<(), Box<dyn std::error::Error>> {
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
    combining: Combining<Items<R>>,
    evictions: Arc<Evictions>,
    persistent: bool,
}

debug_fields!(
    [R: Connect] MemcachedStorage<R>:
    namespace = |it| &it.items.namespace,
    servers = |it| it.items.servers.iter().map(|server| &*server.pool.address).collect::<Vec<_>>(),
    persistent
);

impl<R: Connect> MemcachedStorage<R> {
    /// Whether all servers can be reached and know what is needed; connects to them, and looks for
    /// [evictions](Self::evictions).
    pub async fn ready(&self) -> Result<(), Failure> {
        for server in &self.items.servers {
            server.ready(&self.items.generation, pin!(self.items.end())).await?;
        }
        Ok(())
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

    /// Forgets every key of this namespace, on all servers, and no other's. Others that use it notice within a second;
    /// until then they may still count on what was there.
    pub async fn clear(&self) -> Result<(), Failure> {
        for server in &self.items.servers {
            server.begin_generation(&self.items.generation, pin!(self.items.end())).await?;
        }
        Ok(())
    }

    /// Lets those calls end that are on their way, which each do by their deadline, and then ends the connections. Calls that come
    /// from now on fail with [`Closed`](ErrorKind::Closed), those of all clones. What is stored stays, unless the storage was made
    /// not to be [persistent](MemcachedBuilder::persistent): then the namespace is [cleared](Self::clear) last, and if that fails it is told
    /// so, and the storage is closed all the same.
    pub async fn close(&self) -> Result<(), Failure> {
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
        limit: &S,
        hit: &Hit<S::Cost>,
        escaped: &str,
        mut end: End<'_>,
    ) -> Result<Option<S::Verdict>, Failure> {
        if hit.cost != S::Cost::uniform(1) || self.items.floods.is_stemmed(escaped) {
            return Ok(None);
        }
        let server = self.items.server(escaped)?;
        // First of all, for the time is learnt by it.
        let generation = server.generation(&self.items.generation, end.as_mut()).await?;
        let now = self.items.now(server);
        let Some(window) = Window::of(limit, hit.class, now) else { return Ok(None) };
        let Some(first) = window.first(now) else { return Ok(None) };
        let name = &*self.items.name(generation, escaped);
        let expiry = self.items.expiry(server, Duration::from_micros(window.rest(&first, now)));
        let told =
            count::one(server, Item { name, expiry, now }, (limit, hit), (window, first), end.as_mut())
                .await?;
        match told {
            Told::Verdict(verdict) => Ok(Some(verdict)),
            Told::Deep(verdict) => {
                // Written anew, the count begins with nothing left. The denial is one whatever comes of that.
                if let Some(_stemmed) = self.items.floods.stem(escaped) {
                    let _ = Box::pin(self.swap(limit, escaped, &Op::Charge(hit.free()), end)).await;
                }
                Ok(Some(verdict))
            }
            Told::Nothing => Ok(None),
            Told::Charged(at) => {
                // Any admission at that time has the receipt for it.
                let receipt = limit.decide(&mut S::State::default(), hit, at).receipt();
                let refund = Box::pin(self.swap(limit, escaped, &Op::Refund(*hit, receipt), end)).await;
                // If that fails, somebody is charged who was not admitted.
                refund.map(|_| None).map_err(|failure| failure.with_kind(ErrorKind::Timeout))
            }
        }
    }

    /// Loads, decides and swaps, together with others.
    async fn swap<S: Strategy>(
        &self,
        limit: &S,
        escaped: &str,
        op: &Op<S>,
        end: End<'_>,
    ) -> Result<S::Verdict, Failure> {
        self.combining.apply(limit.clone(), escaped.as_bytes().to_vec(), *op).by(end).await
    }
}

impl<S: Strategy, R: Connect> AsyncStorage<S> for MemcachedStorage<R> {
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (this, limit, op, escaped) = (self.clone(), limit.clone(), *op, name::escaped(key));
        Reply::pending(async move {
            let _inside = this.items.gate.enter()?;
            let mut end = pin!(this.items.end());
            if let Op::Check(hit) = &op
                && let Some(verdict) = this.count(&limit, hit, &escaped, end.as_mut()).await?
            {
                return Ok(verdict);
            }
            // In a future of its own, which checks that are counted need no room for.
            Box::pin(this.swap(&limit, &escaped, &op, end)).await
        })
    }

    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (items, limit, escaped) = (self.items.clone(), limit.clone(), name::escaped(key));
        Reply::pending(async move {
            let _inside = items.gate.enter()?;
            let loaded = items.load(escaped.as_bytes()).await?;
            let state = items.read(&limit, Default::default(), loaded.bytes.as_deref(), loaded.now);
            Ok((state, loaded.now))
        })
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.items.wait_queue)
    }
}
