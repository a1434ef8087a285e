//! The storages of throttles: a memory for each, and stores that they share, behind what sees to it that a
//! store which does not answer holds nobody up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use traffik::layer::{Breaker, BreakerState, CallCounters, CircuitBreaker, Failover, Instrumented};
use traffik::runtime::Tokio;
use traffik::storage::{AsyncStorage, BackendError, ErrorKind, Local, WhenFull};
use traffik::strategy::CapacityError;
use traffik::web::Tally;
use traffik::{MemcachedStorage, Memory, MonotonicClock, RedisStorage, Strategy};

use crate::denied_clients::DeniedClients;
use crate::history::ThrottleHistory;
use crate::limit::Limit;
use crate::plain::message;
use crate::plan::{CommonSettings, OnErrorSpec, StorageSpec, ThrottlePlan};

/// Any storage, so that a throttle's code is there once for all of them.
pub(crate) type AnyStorage<S> = Arc<dyn AsyncStorage<S>>;

/// How many keys a memory holds, and what happens when there are more.
type MemorySize = (usize, WhenFull);

/// What the fallback of a throttle holds.
const FALLBACK: MemorySize = (100_000, WhenFull::Evict);

/// For how long a store that fails is left alone: so short that limits are exact again soon after it is back.
const ALONE: Duration = Duration::from_millis(250);

/// Storages, kept while their throttles are made anew.
#[derive(Clone, Default)]
pub(crate) struct Stores {
    throttles: BTreeMap<String, ThrottleHistory>,
    shared: BTreeMap<String, SharedStore>,
    clock: Arc<MonotonicClock>,
    /// Which throttles have forgotten what was used, and of whom.
    pub(crate) forgotten: Vec<String>,
}

/// A memory and how many it has room for.
struct SizedMemory<S: Strategy> {
    room: MemorySize,
    memory: Arc<Memory<S, Arc<MonotonicClock>>>,
}

/// A store that several throttles may share.
#[derive(Clone)]
pub(crate) struct SharedStore {
    store: StoreClient,
    breaker: Breaker,
    calls: CallCounters,
    /// How many of its corrupt values the tally has counted.
    tallied: Arc<AtomicU64>,
}

#[derive(Clone)]
enum StoreClient {
    Redis(RedisStorage),
    Memcached(MemcachedStorage<Tokio>),
}

impl Stores {
    /// Notes what a throttle is from now on. Returns its limits, each in the place of the one before it.
    pub(crate) fn keep<L: Limit, const N: usize>(&mut self, plan: &ThrottlePlan, limits: Vec<L>) -> Vec<L> {
        let (kept, limits, forgotten) =
            ThrottleHistory::of::<L, N>(plan, limits, self.throttles.get(&plan.uid));
        self.throttles.insert(plan.uid.clone(), kept);
        self.forgotten.extend(forgotten.map(|told| format!("{}: {told}", plan.uid)));
        limits
    }

    /// What hears of the denials of a throttle.
    pub(crate) fn denials(&self, uid: &str) -> DeniedClients {
        self.throttles.get(uid).map(|kept| kept.denials.clone()).unwrap_or_default()
    }

    /// The storage that a throttle asks. `share` is what the fallback takes as the limit.
    pub(crate) fn stored<S: Strategy>(
        &mut self,
        plan: &ThrottlePlan,
        common: &CommonSettings,
        share: impl Fn(&S) -> Result<S, CapacityError> + Send + Sync + 'static,
    ) -> Result<AnyStorage<S>, String> {
        let shared = match &plan.storage {
            StorageSpec::Memory { capacity, when_full } => {
                return Ok(Arc::new(Local(self.memory(&plan.uid, (*capacity, *when_full)))));
            }
            StorageSpec::Redis(url) | StorageSpec::RedisCluster(url) | StorageSpec::Memcached(url) => {
                self.shared(url, &plan.storage, common)?
            }
        };
        let clock = Arc::clone(&self.clock);
        let metered: AnyStorage<S> = match shared.store {
            StoreClient::Redis(store) => Arc::new(Instrumented::with_clock(store, shared.calls, clock)),
            StoreClient::Memcached(store) => Arc::new(Instrumented::with_clock(store, shared.calls, clock)),
        };
        let primary = CircuitBreaker::new(metered, &shared.breaker);
        if !matches!(plan.on_error, OnErrorSpec::Fallback { .. }) {
            return Ok(Arc::new(primary));
        }
        let memory = self.memory::<S>(&plan.uid, FALLBACK);
        let failover = Failover::builder(primary, Local(memory))
            .after_timeouts()
            .share(share)
            .clock(Arc::clone(&self.clock))
            .build();
        Ok(Arc::new(failover))
    }

    /// The memory of a throttle. If it is to have another room, what is in use of it is copied; what is
    /// charged while that is done, for requests that came before, is not.
    fn memory<S: Strategy>(&mut self, uid: &str, room: MemorySize) -> Arc<Memory<S, Arc<MonotonicClock>>> {
        let kept = self.throttles.get(uid).and_then(|kept| kept.memory.clone());
        let kept: Option<Arc<SizedMemory<S>>> = kept.and_then(|memory| memory.downcast().ok());
        if let Some(kept) = kept.as_ref().filter(|kept| kept.room == room) {
            return Arc::clone(&kept.memory);
        }
        let builder = || Memory::builder().capacity(room.0).when_full(room.1).clock(Arc::clone(&self.clock));
        let copied = kept.and_then(|kept| builder().restore(&kept.memory.snapshot()).ok());
        let memory = Arc::new(copied.unwrap_or_else(|| builder().build()));
        if let Some(kept) = self.throttles.get_mut(uid) {
            kept.memory = Some(Arc::new(SizedMemory { room, memory: Arc::clone(&memory) }));
        }
        memory
    }

    /// One connection, or pool of them, for all throttles on the same servers.
    fn shared(
        &mut self,
        url: &str,
        spec: &StorageSpec,
        common: &CommonSettings,
    ) -> Result<SharedStore, String> {
        if let Some(shared) = self.shared.get(url) {
            return Ok(shared.clone());
        }
        let store = match spec {
            StorageSpec::Memcached(url) => {
                let builder = MemcachedStorage::url(Tokio, url).map_err(message)?.timeout(common.timeout);
                let builder = builder.connect_timeout(common.connect_timeout);
                let builder = if common.is_check { builder.on_warning(|_| {}) } else { builder };
                StoreClient::Memcached(builder.namespace(&common.namespace).build().map_err(message)?)
            }
            _ => {
                let builder = match spec {
                    StorageSpec::RedisCluster(_) => RedisStorage::cluster(spec.nodes()),
                    _ => RedisStorage::url(url),
                };
                let builder = builder.map_err(message)?.timeout(common.timeout);
                let builder = builder.connect_timeout(common.connect_timeout);
                let builder = if common.is_check { builder.on_warning(|_| {}) } else { builder };
                StoreClient::Redis(builder.namespace(&common.namespace).build().map_err(message)?)
            }
        };
        let breaker = Breaker::builder(without_secrets(url)).open_for(ALONE).jitter(ALONE);
        // The store itself logs each fault, with its server and its cause.
        let breaker = breaker.clock(Arc::clone(&self.clock));
        let breaker = breaker.build().map_err(message)?;
        let shared = SharedStore { store, breaker, calls: CallCounters::default(), tallied: Arc::default() };
        self.shared.insert(url.to_owned(), shared.clone());
        Ok(shared)
    }

    /// Lets go of what no throttle is in need of any more.
    pub(crate) fn retain(&mut self, plans: &[ThrottlePlan]) {
        self.throttles.retain(|uid, _| plans.iter().any(|plan| plan.uid == *uid));
        self.shared.retain(|url, _| plans.iter().any(|plan| plan.storage.url() == Some(url)));
    }

    /// The stores that are shared.
    pub(crate) fn all(&self) -> Vec<SharedStore> {
        self.shared.values().cloned().collect()
    }
}

impl SharedStore {
    /// Its address, without what must not be told.
    pub(crate) fn name(&self) -> &str {
        self.breaker.name()
    }

    /// Whether it is asked, or left alone: of several nodes, the one that is worst off.
    pub(crate) fn state(&self) -> &'static str {
        word(self.breaker.state())
    }

    /// Its servers, each with the cause of its present fault.
    fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        match &self.store {
            StoreClient::Redis(store) => store.nodes(),
            StoreClient::Memcached(store) => store.nodes(),
        }
    }

    /// Whether one of its servers that is not ready leaves none: there is no other, or all have a fault.
    pub(crate) fn is_down(&self) -> bool {
        let faults = self.faults();
        faults.len() <= 1 || faults.iter().all(|(_, fault)| fault.is_some())
    }

    /// How many keys it gave up for want of memory.
    fn evictions(&self) -> u64 {
        match &self.store {
            StoreClient::Redis(store) => store.evictions(),
            StoreClient::Memcached(store) => store.evictions(),
        }
    }

    /// Whether each of its servers can be reached and counts.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        let ready = match &self.store {
            StoreClient::Redis(store) => store.ready().await,
            StoreClient::Memcached(store) => store.ready().await,
        };
        ready.map_err(message)
    }

    /// Counts the values among its failures that it found under keys and that are no states.
    pub(crate) fn tally_corrupt(&self, tally: &Tally) {
        let corrupt = match &self.store {
            StoreClient::Redis(store) => store.corrupt(),
            StoreClient::Memcached(store) => store.corrupt(),
        };
        let tallied = self.tallied.fetch_max(corrupt, Ordering::Relaxed);
        tally.add_errors(ErrorKind::Corrupt, corrupt.saturating_sub(tallied));
    }

    /// Ends its connections, once nothing is asked of it any more.
    pub(crate) async fn close(&self) {
        let _ = match &self.store {
            StoreClient::Redis(store) => store.close().await,
            StoreClient::Memcached(store) => store.close().await,
        };
    }
}

/// How it is, in a line.
impl fmt::Display for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut calls, mut failed) = (0, 0);
        for (_, ended, count, _) in self.calls.iter() {
            calls += count;
            failed += if ended.is_failure() { count } else { 0 };
        }
        write!(f, "{}: {}, {failed} of {calls} calls failed", self.name(), self.state())?;
        let nodes = self.breaker.nodes();
        for (server, fault) in self.faults() {
            let Some(fault) = fault else { continue };
            let node = nodes.iter().find(|(node, ..)| node.as_ref() == Some(&server));
            let state = node.map_or("", |(_, state, _)| word(*state));
            let comma = if state.is_empty() { "" } else { ", " };
            write!(f, "\n  {state}{comma}{fault}")?;
        }
        Ok(())
    }
}

/// The state of a breaker in words.
const fn word(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed | BreakerState::ForcedClosed => "asked",
        BreakerState::HalfOpen => "tried again",
        _ => "left alone",
    }
}

/// The figures of all stores, in Prometheus' text format.
pub(crate) fn prometheus(stores: &[SharedStore]) -> String {
    if stores.is_empty() {
        return String::new();
    }
    let mut text = "# HELP traffik_breaker_open Whether a store is left alone, for it has failed.\n\
                    # TYPE traffik_breaker_open gauge\n"
        .to_owned();
    for store in stores {
        let (name, open) = (store.name(), u8::from(store.state() != "asked"));
        text += &format!("traffik_breaker_open{{store=\"{name}\"}} {open}\n");
    }
    text += "# HELP traffik_node_up Whether a server of a store answers.\n\
             # TYPE traffik_node_up gauge\n";
    for store in stores {
        for (node, fault) in store.faults() {
            let (name, up) = (store.name(), u8::from(fault.is_none()));
            text += &format!("traffik_node_up{{store=\"{name}\",node=\"{node}\"}} {up}\n");
        }
    }
    text += "# HELP traffik_node_breaker_open Whether a server of a store of several is left alone.\n\
             # TYPE traffik_node_breaker_open gauge\n";
    for store in stores {
        for (node, state, _) in store.breaker.nodes() {
            let (name, open) = (store.name(), u8::from(word(state) != "asked"));
            if let Some(node) = node {
                text += &format!("traffik_node_breaker_open{{store=\"{name}\",node=\"{node}\"}} {open}\n");
            }
        }
    }
    text += "# HELP traffik_node_calls_total CallCounters of a server of a store of several, by how they ended.\n\
             # TYPE traffik_node_calls_total counter\n";
    for store in stores {
        for (node, calls) in store.calls.nodes() {
            for (operation, ended, count, _) in calls.iter() {
                let (name, operation, result) = (store.name(), operation.name(), ended.name());
                text += &format!("traffik_node_calls_total{{store=\"{name}\",node=\"{node}\",");
                text += &format!("operation=\"{operation}\",result=\"{result}\"}} {count}\n");
            }
        }
    }
    text += "# HELP traffik_breaker_refused_total CallCounters that a store was spared.\n\
             # TYPE traffik_breaker_refused_total counter\n";
    for store in stores {
        let (name, refused) = (store.name(), store.breaker.refused());
        text += &format!("traffik_breaker_refused_total{{store=\"{name}\"}} {refused}\n");
    }
    text += "# HELP traffik_store_evictions_total Keys that a store gave up for want of memory.\n\
             # TYPE traffik_store_evictions_total counter\n";
    for store in stores {
        let (name, evictions) = (store.name(), store.evictions());
        text += &format!("traffik_store_evictions_total{{store=\"{name}\"}} {evictions}\n");
    }
    text += "# HELP traffik_store_calls_total CallCounters of a store by what was asked and how it ended.\n\
             # TYPE traffik_store_calls_total counter\n";
    for store in stores {
        for (operation, ended, count, _) in store.calls.iter() {
            let (name, operation, result) = (store.name(), operation.name(), ended.name());
            text += "traffik_store_calls_total";
            text += &format!("{{store=\"{name}\",operation=\"{operation}\",result=\"{result}\"}} {count}\n");
        }
    }
    text
}

/// A URL without user and password.
pub(crate) fn without_secrets(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}
