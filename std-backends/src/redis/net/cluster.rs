//! A cluster: which of its nodes serves which slot, a link to each, and what is done where another one is to
//! be asked.
//!
//! A call is made again only if the node that got it says that it did nothing, or if it never got there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::lock::Mutex as AsyncMutex;
use redis::{Client, ConnectionInfo, ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

mod slots;

use super::address::{Address, address, at};
use super::connect::Source;
use super::link::{Link, NodeRole};
use super::session::NetSession;
use super::timer;
use super::tls::Tls;
use crate::redis::budgets::Budgets;
use crate::redis::failure::{cause, of_a_look, unsent};
use crate::redis::known::KnownScripts;
use crate::redis::name;
use crate::util::evictions::Evictions;
use crate::util::race::{Either, race};
use crate::util::random::random;
use crate::util::shutdown::closed;
use crate::util::warning::LogWriter;
use slots::{Served, most, reached_by, served};

/// How often a call is sent on, at most.
const TURNS: u32 = 8;

/// How long who serves what is taken for known, or for not to be learnt.
const PAUSE: Duration = Duration::from_millis(50);

/// How many nodes are asked at a time who serves what.
const ASKED: usize = 5;

/// How many keys are tried to find one of each node: enough for a node that serves a hundredth of a percent.
const MOST_TRIED: u32 = 100_000;

struct Node {
    host: String,
    /// By which layers tell it apart, as long as it is a node.
    name: Arc<str>,
    link: Arc<Link>,
    /// Whether it has given no answer, so that whoever asks for it next finds out first whether another has
    /// taken over.
    is_doubted: AtomicBool,
}

pub(in super::super) struct Cluster {
    /// By which it is found.
    seeds: Vec<(Address, ConnectionInfo)>,
    tls: Tls,
    budgets: Budgets,
    writer: LogWriter,
    evictions: Arc<Evictions>,
    known: Arc<KnownScripts>,
    map: SpinMutex<Map>,
    /// Held by whoever finds out who serves what.
    learning: AsyncMutex<()>,
}

/// What is known.
#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    /// The first slot of a range, and who serves it, by the last one.
    ranges: BTreeMap<u16, (u16, Arc<Node>)>,
    /// Who serves these slots by now, as others than the nodes in question have said since.
    moved: HashMap<u16, Arc<Node>>,
    /// When all were asked last, and whether one told.
    learnt: Option<(Instant, Result<(), BackendError>)>,
    closed: bool,
}

impl Map {
    /// Whether a node serves a slot, as far as is known.
    fn is_asked(&self, node: &Arc<Node>) -> bool {
        self.ranges.is_empty() || self.ranges.values().any(|(_, other)| Arc::ptr_eq(node, other))
    }

    fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let range = self.ranges.range(slot..).next().filter(|(_, (first, _))| *first <= slot);
        self.moved.get(&slot).or(range.map(|(_, (_, node))| node)).cloned()
    }
}

/// Where a call goes next.
enum Turn {
    Moved(Address),
    Ask(Address),
    /// To the same node, later.
    Again,
    /// To whoever serves the slot by now, if that is another one.
    Anew,
    Nowhere,
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
            return Err((Kind::InvalidClientConfig, "a cluster is found by a node of it; name one").into());
        }
        let seeds =
            nodes.into_iter().map(|info| Ok((address(&info)?, info))).collect::<Result<_, RedisError>>()?;
        let (map, learning) = Default::default();
        Ok(Self { seeds, tls, budgets, writer, evictions, known, map, learning })
    }

    /// Runs a call on the node that serves a key, and elsewhere if that node says so.
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
            let told = node.link.call_as(until, role, &call).await;
            if let Err(failure) = &told
                && matches!(failure.kind(), ErrorKind::Timeout | ErrorKind::Unavailable)
            {
                node.is_doubted.store(true, Ordering::Relaxed);
            }
            let failure = match told {
                Err(failure) if turn < TURNS && Instant::now() < until => failure,
                told => return told,
            };
            asking = false;
            match next(&failure, &node.host) {
                Turn::Moved(address) => {
                    node = self.node(&address)?;
                    self.map.lock().moved.insert(slot, node.clone());
                }
                Turn::Ask(address) => {
                    node = self.node(&address)?;
                    asking = true;
                }
                Turn::Again => timer::wait(Duration::from_millis(1 << turn.min(6))).await,
                Turn::Anew => {
                    if self.learn(until).await.is_err() {
                        return Err(failure);
                    }
                    let owner = self.owner(slot, until).await?;
                    if Arc::ptr_eq(&owner, &node) {
                        return Err(failure);
                    }
                    node = owner;
                }
                Turn::Nowhere => return Err(failure),
            }
        }
        Err(BackendError::new(ErrorKind::Unavailable, "nobody serves the key; nothing was charged"))
    }

    /// The links to all nodes that serve a slot.
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

    /// Connects to the node that serves a key.
    pub(super) async fn connect(&self, key: &[u8], until: Instant) -> Result<(), BackendError> {
        self.owner(name::slot(key), until).await?.link.connect(until).await
    }

    /// The node that serves a key, as far as is known.
    pub(super) fn node_of(&self, key: &[u8]) -> Option<Arc<str>> {
        self.map.lock().owner(name::slot(key)).map(|node| node.name.clone())
    }

    /// The nodes that serve a slot, or all that are known as long as none does, and the cause of the present
    /// fault of each.
    pub(super) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        let map = self.map.lock();
        let nodes: Vec<_> = map.nodes.values().filter(|it| map.is_asked(it)).cloned().collect();
        drop(map);
        let mut faults: Vec<_> = nodes.iter().map(|node| (node.name.clone(), node.link.fault())).collect();
        faults.sort_by(|(one, _), (other, _)| one.cmp(other));
        faults
    }

    /// Keys of which each node has one.
    pub(super) async fn key_of_each(
        &self,
        until: Instant,
        make: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, BackendError> {
        self.learn(until).await?;
        let map = self.map.lock();
        let mut found: Vec<(Arc<Node>, Vec<u8>)> = Vec::new();
        let of_all: Vec<_> = map.ranges.values().map(|(_, node)| node).collect();
        let has =
            |found: &[(Arc<Node>, _)], node: &Arc<Node>| found.iter().any(|(it, _)| Arc::ptr_eq(it, node));
        for number in 0..MOST_TRIED {
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
        *map = Map { closed: true, ..Map::default() };
    }

    /// Who serves a slot, as far as is known.
    async fn owner(&self, slot: u16, until: Instant) -> Result<Arc<Node>, BackendError> {
        let known = self.map.lock().owner(slot);
        if let Some(owner) = &known
            && !owner.is_doubted.load(Ordering::Relaxed)
        {
            return Ok(owner.clone());
        }
        if let Some(owner) = &known {
            owner.is_doubted.store(false, Ordering::Relaxed);
        }
        let told = self.learn(until).await;
        let learnt = self.map.lock().owner(slot).or(known);
        if learnt.is_none() {
            told?;
        }
        learnt
            .ok_or_else(|| BackendError::new(ErrorKind::Unavailable, "no node of the cluster serves the key"))
    }

    /// The node at an address, which need not be known yet.
    fn node(&self, address: &Address) -> Result<Arc<Node>, BackendError> {
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
        let source = Source::Client(Box::new(client), self.tls.clone());
        let (writer, evictions) = (self.writer.clone(), Some(self.evictions.clone()));
        let link = Link::new(source, self.budgets, writer, evictions, self.known.clone());
        let (host, link, is_doubted) = (address.0.clone(), Arc::new(link), AtomicBool::new(false));
        let node = Arc::new(Node { host, name, link, is_doubted });
        map.nodes.insert(address.clone(), node.clone());
        Ok(node)
    }

    /// How a node is connected to: as the seed that it is, else as the first one.
    fn info(&self, of: &Address) -> Option<ConnectionInfo> {
        let seed = self.seeds.iter().find(|(address, _)| address == of).or(self.seeds.first());
        let (_, info) = seed?;
        Some(info.clone().set_addr(at(info.addr(), of)))
    }

    /// Asks who serves what, unless somebody has just done so.
    async fn learn(&self, until: Instant) -> Result<(), BackendError> {
        let turn = race(self.learning.lock(), timer::until(until)).await;
        let Either::Left(_turn) = turn else {
            return Err(BackendError::new(
                ErrorKind::Unavailable,
                "no node has told in time who serves what",
            ));
        };
        if let Some((at, learnt)) = &self.map.lock().learnt
            && at.elapsed() < PAUSE
        {
            return learnt.clone();
        }
        let mut addresses: Vec<Address> = self.map.lock().nodes.keys().cloned().collect();
        let seeds = self.seeds.iter().map(|(address, _)| address);
        addresses.extend(seeds.filter(|seed| !addresses.contains(seed)).cloned().collect::<Vec<_>>());
        // Others each time, lest those who are asked be just those who are gone.
        let first = usize::try_from(random()).unwrap_or_default() % addresses.len().max(1);
        addresses.rotate_left(first);
        let mut asked = Vec::new();
        for address in addresses.iter().take(ASKED) {
            let node = self.node(address)?;
            asked.push(Box::pin(async move { served(&node.link, &node.host, until).await }));
        }
        let told = most(asked).await.map_err(of_a_look).and_then(|ranges| self.install(ranges));
        self.map.lock().learnt = Some((Instant::now(), told.clone()));
        told
    }

    /// Keeps a node that serves a slot, and of another seed its link, with its connection and its fault: it
    /// is asked again. Its handle is a new one, so to layers it has left.
    fn kept(&self, map: &Map, address: Address, node: Arc<Node>) -> Option<(Address, Arc<Node>)> {
        if map.is_asked(&node) {
            return Some((address, node));
        }
        self.seeds.iter().find(|(seed, _)| *seed == address)?;
        let (host, name, link) = (node.host.clone(), Arc::from(&*node.name), Arc::clone(&node.link));
        Some((address, Arc::new(Node { host, name, link, is_doubted: AtomicBool::new(false) })))
    }

    fn install(&self, served: Served) -> Result<(), BackendError> {
        let mut ranges = BTreeMap::new();
        for (first, last, address) in served {
            ranges.insert(last, (first, self.node(&address)?));
        }
        let mut map = self.map.lock();
        map.ranges = ranges;
        let nodes = std::mem::take(&mut map.nodes);
        map.nodes = nodes.into_iter().filter_map(|(address, node)| self.kept(&map, address, node)).collect();
        map.moved.clear();
        Ok(())
    }
}

/// What a failure says about where to go. Whatever may have been done is not done again.
fn next(failure: &BackendError, own: &str) -> Turn {
    let Some(error) = cause(failure) else { return Turn::Nowhere };
    let named = || {
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        Some((reached_by(host, own), port.parse().ok()?))
    };
    match error.kind() {
        Kind::Server(Server::Moved) => named().map_or(Turn::Anew, Turn::Moved),
        Kind::Server(Server::Ask) => named().map_or(Turn::Again, Turn::Ask),
        Kind::Server(Server::TryAgain) => Turn::Again,
        _ if failure.kind() == ErrorKind::Unavailable => Turn::Anew,
        _ => Turn::Nowhere,
    }
}
