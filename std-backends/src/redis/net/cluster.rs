//! A cluster: the map of slots to nodes, a link to each node, and redirects.
//!
//! A call is repeated only if the node reports that it did nothing, or if the call never reached the node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::lock::Mutex as AsyncMutex;
use redis::{Client, ConnectionInfo, ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

mod slots;

use super::address::{HostPort, address, at};
use super::connect::ConnectionSource;
use super::link::{Link, NodeRole};
use super::session::NetSession;
use super::timer;
use super::tls::Tls;
use crate::redis::budgets::Budgets;
use crate::redis::failure::{cause, nothing_charged, unsent};
use crate::redis::known::KnownScripts;
use crate::redis::name;
use crate::util::evictions::Evictions;
use crate::util::race::{Either, race};
use crate::util::random::random;
use crate::util::shutdown::closed;
use crate::util::warning::LogWriter;
use slots::{SlotRanges, fetch_slots, most_complete, reached_by};

/// The most redirects of one call.
const MAX_REDIRECTS: u32 = 8;

/// The time for which a slot map, or a failure to fetch one, is cached.
const MAP_TTL: Duration = Duration::from_millis(50);

/// Nodes that are asked for the slot map at a time.
const NODES_ASKED: usize = 5;

/// The most keys that are tried to find one for each node: enough for a node that serves 0.01 % of the slots.
const MAX_KEYS_TRIED: u32 = 100_000;

/// A node of a cluster.
struct ClusterNode {
    host: String,
    /// The handle by which layers know the node, as long as it is a node.
    name: Arc<str>,
    link: Arc<Link>,
    /// Whether a call to it failed. The next call then first finds out whether another node has taken over.
    is_doubted: AtomicBool,
}

/// A cluster and what is known of it.
pub(in super::super) struct Cluster {
    /// The nodes that the user named, by which the cluster is found.
    seeds: Vec<(HostPort, ConnectionInfo)>,
    tls: Tls,
    budgets: Budgets,
    writer: LogWriter,
    evictions: Arc<Evictions>,
    known: Arc<KnownScripts>,
    map: SpinMutex<ClusterMap>,
    /// The lock of a call that fetches the slot map.
    learning: AsyncMutex<()>,
}

/// The known nodes and slots.
#[derive(Default)]
struct ClusterMap {
    nodes: HashMap<HostPort, Arc<ClusterNode>>,
    /// The last slot of each range, with its first slot and its node.
    ranges: BTreeMap<u16, (u16, Arc<ClusterNode>)>,
    /// Slots that have moved since the map was fetched, by redirects.
    moved: HashMap<u16, Arc<ClusterNode>>,
    /// When the map was fetched last, and whether that succeeded.
    learnt: Option<(Instant, Result<(), BackendError>)>,
    closed: bool,
}

impl ClusterMap {
    /// Returns whether a node serves a slot, or may do so.
    fn serves_slots(&self, node: &Arc<ClusterNode>) -> bool {
        self.ranges.is_empty() || self.ranges.values().any(|(_, other)| Arc::ptr_eq(node, other))
    }

    fn owner(&self, slot: u16) -> Option<Arc<ClusterNode>> {
        // The first range that ends at or after `slot` is the only one that can hold it.
        // Redirects are newer than the map, so `moved` is looked up first.
        let range = self.ranges.range(slot..).next().filter(|(_, (first, _))| *first <= slot);
        self.moved.get(&slot).or(range.map(|(_, (_, node))| node)).cloned()
    }
}

/// The next step of a call that failed.
enum Redirect {
    /// The slot has moved to this node.
    Moved(HostPort),
    /// The key is being moved to this node, which is asked once.
    Ask(HostPort),
    /// Try the same node again, later.
    RetryLater,
    /// Fetch the map, and try the slot's node if that is another one.
    Relearn,
    /// Fail.
    GiveUp,
}

impl Cluster {
    pub(super) fn new(
        nodes: Vec<ConnectionInfo>,
        tls: Tls,
        budgets: Budgets,
        writer: LogWriter,
        evictions: Arc<Evictions>,
        known: Arc<KnownScripts>,
    ) -> Result<Self, RedisError> {
        if nodes.is_empty() {
            return Err((
                Kind::InvalidClientConfig,
                "no node of the cluster is named; name one, such as redis://HOST:6379",
            )
                .into());
        }
        let seeds =
            nodes.into_iter().map(|info| Ok((address(&info)?, info))).collect::<Result<_, RedisError>>()?;
        let (map, learning) = Default::default();
        Ok(Self { seeds, tls, budgets, writer, evictions, known, map, learning })
    }

    /// Runs a call on the node of a key, and follows its redirects.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        key: &[u8],
        until: Instant,
        call: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        let slot = name::slot(key);
        let mut node = self.owner(slot, until).await?;
        let mut asking = false;
        for turn in 0.. {
            let role = if asking { NodeRole::Asking } else { NodeRole::Node };
            let result = node.link.call_as(until, role, &call).await;
            if let Err(failure) = &result
                && matches!(failure.kind(), ErrorKind::Timeout | ErrorKind::Unavailable)
            {
                // Relaxed: the flag is a hint, and costs one fetch of the map at most.
                node.is_doubted.store(true, Ordering::Relaxed);
            }
            let failure = match result {
                Err(failure) if turn < MAX_REDIRECTS && Instant::now() < until => failure,
                result => return result,
            };
            asking = false;
            match redirect(&failure, &node.host) {
                Redirect::Moved(address) => {
                    node = self.node(&address)?;
                    // A redirect names one slot. The whole map is fetched only once a node fails.
                    self.map.lock().moved.insert(slot, node.clone());
                }
                Redirect::Ask(address) => {
                    node = self.node(&address)?;
                    asking = true;
                }
                // 1, 2, 4 … 64 ms: a slot that is being moved is short of some keys for a moment.
                Redirect::RetryLater => timer::wait(Duration::from_millis(1 << turn.min(6))).await,
                Redirect::Relearn => {
                    if self.learn(until).await.is_err() {
                        return Err(failure);
                    }
                    let owner = self.owner(slot, until).await?;
                    // The same node again would fail again.
                    if Arc::ptr_eq(&owner, &node) {
                        return Err(failure);
                    }
                    node = owner;
                }
                Redirect::GiveUp => return Err(failure),
            }
        }
        Err(BackendError::new(ErrorKind::Unavailable, "no node serves the key; nothing was charged"))
    }

    /// Returns the links to all nodes that serve a slot.
    pub(super) async fn masters(&self, until: Instant) -> Result<Vec<Arc<Link>>, BackendError> {
        self.learn(until).await?;
        let map = self.map.lock();
        let mut masters: Vec<Arc<Link>> = Vec::new();
        for node in map.ranges.values().map(|(_, node)| node).chain(map.moved.values()) {
            if !masters.iter().any(|known| Arc::ptr_eq(known, &node.link)) {
                masters.push(node.link.clone());
            }
        }
        Ok(masters)
    }

    /// Connects to the node of a key.
    pub(super) async fn connect(&self, key: &[u8], until: Instant) -> Result<(), BackendError> {
        self.owner(name::slot(key), until).await?.link.connect(until).await
    }

    /// Returns the node of a key, as far as it is known.
    pub(super) fn node_of(&self, key: &[u8]) -> Option<Arc<str>> {
        self.map.lock().owner(name::slot(key)).map(|node| node.name.clone())
    }

    /// Returns the nodes that serve a slot, or all known nodes while none does, with the cause of the present
    /// fault of each.
    pub(super) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        let map = self.map.lock();
        let nodes: Vec<_> = map.nodes.values().filter(|it| map.serves_slots(it)).cloned().collect();
        drop(map);
        let mut faults: Vec<_> = nodes.iter().map(|node| (node.name.clone(), node.link.fault())).collect();
        faults.sort_by(|(one, _), (other, _)| one.cmp(other));
        faults
    }

    /// Returns one key for each node.
    pub(super) async fn key_of_each(
        &self,
        until: Instant,
        make: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, BackendError> {
        self.learn(until).await?;
        let map = self.map.lock();
        let mut found: Vec<(Arc<ClusterNode>, Vec<u8>)> = Vec::new();
        let of_all: Vec<_> = map.ranges.values().map(|(_, node)| node).collect();
        let has = |found: &[(Arc<ClusterNode>, _)], node: &Arc<ClusterNode>| {
            found.iter().any(|(it, _)| Arc::ptr_eq(it, node))
        };
        for number in 0..MAX_KEYS_TRIED {
            if of_all.iter().all(|node| has(&found, node)) {
                break;
            }
            let key = make(number);
            if let Some(owner) = map.owner(name::slot(&key))
                && !has(&found, &owner)
            {
                found.push((owner, key));
            }
        }
        Ok(found.into_iter().map(|(_, key)| key).collect())
    }

    pub(super) fn close(&self) {
        let mut map = self.map.lock();
        map.nodes.values().for_each(|node| node.link.close());
        *map = ClusterMap { closed: true, ..ClusterMap::default() };
    }

    /// Returns the node of a slot. Fetches the map if it is not known, or if the node is in doubt.
    async fn owner(&self, slot: u16, until: Instant) -> Result<Arc<ClusterNode>, BackendError> {
        let known = self.map.lock().owner(slot);
        if let Some(owner) = &known
            && !owner.is_doubted.load(Ordering::Relaxed)
        {
            return Ok(owner.clone());
        }
        if let Some(owner) = &known {
            // Cleared before the fetch, so that one call alone pays for it.
            owner.is_doubted.store(false, Ordering::Relaxed);
        }
        let result = self.learn(until).await;
        // If the fetch failed, the node known before is the best guess.
        let learnt = self.map.lock().owner(slot).or(known);
        if learnt.is_none() {
            result?;
        }
        learnt
            .ok_or_else(|| BackendError::new(ErrorKind::Unavailable, "no node of the cluster serves the key"))
    }

    /// Returns the node at an address, which is made if it is not known.
    fn node(&self, address: &HostPort) -> Result<Arc<ClusterNode>, BackendError> {
        let mut map = self.map.lock();
        if map.closed {
            return Err(closed());
        }
        if let Some(node) = map.nodes.get(address) {
            return Ok(node.clone());
        }
        let info = self
            .info(address)
            .ok_or_else(|| BackendError::new(ErrorKind::Invalid, "a cluster of no nodes"))?;
        let name: Arc<str> = info.addr().to_string().into();
        let client = Client::open(info).map_err(|error| unsent(&name, error))?;
        let source = ConnectionSource::Client(Box::new(client), self.tls.clone());
        let (writer, evictions) = (self.writer.clone(), Some(self.evictions.clone()));
        let link = Link::new(source, self.budgets, writer, evictions, self.known.clone());
        let (host, link, is_doubted) = (address.0.clone(), Arc::new(link), AtomicBool::new(false));
        let node = Arc::new(ClusterNode { host, name, link, is_doubted });
        map.nodes.insert(address.clone(), node.clone());
        Ok(node)
    }

    /// Returns how to connect to a node: as the seed at this address, else like the first seed.
    fn info(&self, of: &HostPort) -> Option<ConnectionInfo> {
        let seed = self.seeds.iter().find(|(address, _)| address == of).or(self.seeds.first());
        let (_, info) = seed?;
        Some(info.clone().set_addr(at(info.addr(), of)))
    }

    /// Fetches the slot map, unless another call has just done so.
    async fn learn(&self, until: Instant) -> Result<(), BackendError> {
        let turn = race(self.learning.lock(), timer::until(until)).await;
        let Either::Left(_turn) = turn else {
            return Err(BackendError::new(
                ErrorKind::Unavailable,
                "no node of the cluster reported its slots in time",
            ));
        };
        // Calls that waited for this lock find the map that its holder fetched.
        if let Some((at, learnt)) = &self.map.lock().learnt
            && at.elapsed() < MAP_TTL
        {
            return learnt.clone();
        }
        let mut addresses: Vec<HostPort> = self.map.lock().nodes.keys().cloned().collect();
        let seeds = self.seeds.iter().map(|(address, _)| address);
        addresses.extend(seeds.filter(|seed| !addresses.contains(seed)).cloned().collect::<Vec<_>>());
        // A random start, so that the nodes asked are not always those that have left.
        let first = usize::try_from(random()).unwrap_or_default() % addresses.len().max(1);
        addresses.rotate_left(first);
        let mut asked = Vec::new();
        for address in addresses.iter().take(NODES_ASKED) {
            let node = self.node(address)?;
            asked.push(Box::pin(async move { fetch_slots(&node.link, &node.host, until).await }));
        }
        let result =
            most_complete(asked).await.map_err(nothing_charged).and_then(|ranges| self.install(ranges));
        self.map.lock().learnt = Some((Instant::now(), result.clone()));
        result
    }

    /// Keeps a node that serves a slot. For a seed that serves none, keeps the link with its connection and
    /// its fault, since the seed is asked for the map again. Its handle is a new one, so for layers the node
    /// has left.
    fn kept(
        &self,
        map: &ClusterMap,
        address: HostPort,
        node: Arc<ClusterNode>,
    ) -> Option<(HostPort, Arc<ClusterNode>)> {
        if map.serves_slots(&node) {
            return Some((address, node));
        }
        self.seeds.iter().find(|(seed, _)| *seed == address)?;
        let (host, name, link) = (node.host.clone(), Arc::from(&*node.name), Arc::clone(&node.link));
        Some((address, Arc::new(ClusterNode { host, name, link, is_doubted: AtomicBool::new(false) })))
    }

    /// Replaces the slot map, and forgets the nodes that have left.
    fn install(&self, served: SlotRanges) -> Result<(), BackendError> {
        // Nodes are made before the lock is taken, since making one takes it too.
        let mut ranges = BTreeMap::new();
        for (first, last, address) in served {
            ranges.insert(last, (first, self.node(&address)?));
        }
        // Ranges, nodes and redirects change under one lock, so no call sees a mixture.
        let mut map = self.map.lock();
        map.ranges = ranges;
        let nodes = std::mem::take(&mut map.nodes);
        map.nodes = nodes.into_iter().filter_map(|(address, node)| self.kept(&map, address, node)).collect();
        // The new map includes the redirects so far.
        map.moved.clear();
        Ok(())
    }
}

/// Returns the next step after a failure. A call that may have been executed is never repeated.
fn redirect(failure: &BackendError, own: &str) -> Redirect {
    let Some(error) = cause(failure) else { return Redirect::GiveUp };
    let named = || {
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        Some((reached_by(host, own), port.parse().ok()?))
    };
    match error.kind() {
        Kind::Server(Server::Moved) => named().map_or(Redirect::Relearn, Redirect::Moved),
        Kind::Server(Server::Ask) => named().map_or(Redirect::RetryLater, Redirect::Ask),
        Kind::Server(Server::TryAgain) => Redirect::RetryLater,
        _ if failure.kind() == ErrorKind::Unavailable => Redirect::Relearn,
        _ => Redirect::GiveUp,
    }
}
