//! The storages of throttles: a memory for each throttle, and shared stores behind circuit breakers. The
//! breakers keep a store that does not answer from delaying every request.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use traffik::layer::{Breaker, BreakerState, CallCounters, CircuitBreaker, Failover, Instrumented};
use traffik::storage::{AsyncStorage, BackendError, ErrorKind, Local, WhenFull};
use traffik::strategy::CapacityError;
use traffik::web::Tally;
use traffik::{Memory, MonotonicClock, Strategy};

use crate::limits::limit::Limit;
use crate::limits::plain::message;
use crate::limits::plan::{CommonSettings, OnErrorSpec, ThrottlePlan};
use crate::limits::storage::StorageSpec;
use crate::observe::denied_clients::DeniedClients;
use crate::stores::client::StoreClient;
use crate::stores::history::ThrottleHistory;

/// Any storage behind a pointer, so that a throttle is compiled once for all of them.
pub(crate) type AnyStorage<S> = Arc<dyn AsyncStorage<S>>;

/// The capacity of a memory in keys, and its behaviour when full.
type MemorySize = (usize, WhenFull);

/// The size of a throttle's fallback.
const FALLBACK: MemorySize = (100_000, WhenFull::Evict);

/// Time that a breaker stays open before a trial call, and the jitter added to it. Both are short, so that
/// limits are exact again soon after the store recovers.
const OPEN_FOR: Duration = Duration::from_millis(250);

/// All storages. A storage outlives the throttle that uses it when the file is reloaded.
#[derive(Clone, Default)]
pub(crate) struct Stores {
    throttles: BTreeMap<String, ThrottleHistory>,
    shared: BTreeMap<String, SharedStore>,
    memories: BTreeMap<String, MemoryGauge>,
    clock: Arc<MonotonicClock>,
    /// A line for each throttle that lost counts in a reload.
    pub(crate) losses: Vec<String>,
}

/// A memory and its size.
struct SizedMemory<S: Strategy> {
    size: MemorySize,
    memory: Arc<Memory<S, Arc<MonotonicClock>>>,
}

/// The figures of a throttle's memory for the metrics, of one type for all strategies.
#[derive(Clone)]
pub(crate) struct MemoryGauge {
    pub(crate) uid: String,
    pub(crate) capacity: usize,
    /// Reads the figures. Scans every key.
    pub(crate) read: Arc<dyn Fn() -> MemoryUse + Send + Sync>,
}

impl MemoryGauge {
    fn of<S: Strategy>(
        uid: &str,
        (capacity, _): MemorySize,
        memory: &Arc<Memory<S, Arc<MonotonicClock>>>,
    ) -> Self {
        let memory = Arc::clone(memory);
        let read = move || {
            let counters = memory.counters();
            MemoryUse { keys: memory.len(), evictions: counters.evictions, refusals: counters.refusals }
        };
        Self { uid: uid.to_owned(), capacity, read: Arc::new(read) }
    }
}

/// The use of a memory.
pub(crate) struct MemoryUse {
    pub(crate) keys: usize,
    pub(crate) evictions: u64,
    pub(crate) refusals: u64,
}

/// A store that several throttles may share.
#[derive(Clone)]
pub(crate) struct SharedStore {
    store: StoreClient,
    pub(crate) breaker: Breaker,
    pub(crate) calls: CallCounters,
    /// Number of the store's corrupt values that the tally has counted already.
    tallied: Arc<AtomicU64>,
}

impl Stores {
    /// Records the present strategies of a throttle. Returns these strategies, each made to take over the
    /// states of its predecessor.
    pub(crate) fn register<L: Limit, const N: usize>(
        &mut self,
        plan: &ThrottlePlan,
        strategies: Vec<L>,
    ) -> Vec<L> {
        let (history, strategies, loss) =
            ThrottleHistory::of::<L, N>(plan, strategies, self.throttles.get(&plan.uid));
        self.throttles.insert(plan.uid.clone(), history);
        self.losses.extend(loss.map(|loss| format!("{}: {loss}", plan.uid)));
        strategies
    }

    /// Returns the observer of a throttle's denials.
    pub(crate) fn denials(&self, uid: &str) -> DeniedClients {
        self.throttles.get(uid).map(|kept| kept.denials.clone()).unwrap_or_default()
    }

    /// Returns the storage of a throttle. `share` derives the strategy of the fallback.
    ///
    /// # Errors
    ///
    /// Fails if the client of a shared store rejects the URL, the namespace or a deadline.
    pub(crate) fn storage_for<S: Strategy>(
        &mut self,
        plan: &ThrottlePlan,
        common: &CommonSettings,
        share: impl Fn(&S) -> Result<S, CapacityError> + Send + Sync + 'static,
    ) -> Result<AnyStorage<S>, String> {
        let shared = match &plan.storage {
            StorageSpec::Memory { capacity, when_full } => {
                return Ok(Arc::new(Local(self.memory(&plan.uid, (*capacity, *when_full)))));
            }
            StorageSpec::Redis { url, .. } | StorageSpec::Memcached(url) => {
                let setting = plan.setting("storage");
                self.shared(url, &plan.storage, common)
                    .map_err(|error| format!("{setting} {}: {error}", without_secrets(url)))?
            }
        };
        let clock = Arc::clone(&self.clock);
        let instrumented: AnyStorage<S> = match shared.store {
            StoreClient::Redis(store) => Arc::new(Instrumented::with_clock(store, shared.calls, clock)),
            StoreClient::Memcached(store) => Arc::new(Instrumented::with_clock(store, shared.calls, clock)),
        };
        // The breaker stands outside the counters, so that calls which it refuses are not counted as calls.
        let primary = CircuitBreaker::new(instrumented, &shared.breaker);
        if !matches!(plan.on_error, OnErrorSpec::Fallback { .. }) {
            return Ok(Arc::new(primary));
        }
        let memory = self.memory::<S>(&plan.uid, FALLBACK);
        // Timeouts go to the fallback too, although the store may have charged the hit: both may then count
        // it.
        let failover = Failover::builder(primary, Local(memory))
            .after_timeouts()
            .share(share)
            .clock(Arc::clone(&self.clock))
            .build();
        Ok(Arc::new(failover))
    }

    /// Returns the memory of a throttle. If its size changes, the states in use are copied into a new memory.
    /// Requests under way charge the old memory, so their charges during the copy are lost.
    fn memory<S: Strategy>(&mut self, uid: &str, size: MemorySize) -> Arc<Memory<S, Arc<MonotonicClock>>> {
        let kept = self.throttles.get(uid).and_then(|kept| kept.memory.clone());
        // The downcast fails if the throttle has another type of strategy now; its memory then starts empty.
        let kept: Option<Arc<SizedMemory<S>>> = kept.and_then(|memory| memory.downcast().ok());
        if let Some(kept) = kept.as_ref().filter(|kept| kept.size == size) {
            // A fallback that is back after two reloads has no gauge any more.
            self.memories.insert(uid.to_owned(), MemoryGauge::of(uid, size, &kept.memory));
            return Arc::clone(&kept.memory);
        }
        let builder = || Memory::builder().capacity(size.0).when_full(size.1).clock(Arc::clone(&self.clock));
        // The snapshot and the new memory use one clock, so the times in the states stay right.
        let copied = kept.and_then(|kept| builder().restore(&kept.memory.snapshot()).ok());
        let memory = Arc::new(copied.unwrap_or_else(|| builder().build()));
        self.memories.insert(uid.to_owned(), MemoryGauge::of(uid, size, &memory));
        if let Some(kept) = self.throttles.get_mut(uid) {
            kept.memory = Some(Arc::new(SizedMemory { size, memory: Arc::clone(&memory) }));
        }
        memory
    }

    /// Returns the store of a URL: one client with its connections for all throttles that name the URL.
    fn shared(
        &mut self,
        url: &str,
        spec: &StorageSpec,
        common: &CommonSettings,
    ) -> Result<SharedStore, String> {
        if let Some(shared) = self.shared.get(url) {
            return Ok(shared.clone());
        }
        let store = StoreClient::of(spec, url, common)?;
        // Jitter spreads the trial calls of several gateways over time.
        let breaker = Breaker::builder(self.free_name(url)).open_for(OPEN_FOR).jitter(OPEN_FOR);
        // The breaker logs nothing: the store's client logs each fault with its server and its cause.
        let breaker = breaker.clock(Arc::clone(&self.clock));
        let breaker = breaker.build().map_err(message)?;
        let shared = SharedStore { store, breaker, calls: CallCounters::default(), tallied: Arc::default() };
        self.shared.insert(url.to_owned(), shared.clone());
        Ok(shared)
    }

    /// Returns a name for the store of a URL. URLs that differ in their secrets alone get numbers, since the
    /// series of two stores must differ.
    fn free_name(&self, url: &str) -> String {
        let name = without_secrets(url);
        let is_free = |name: &String| self.shared.values().all(|store| store.name() != name);
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
    }

    /// Returns the name of the store of a URL.
    pub(crate) fn name_of(&self, url: &str) -> Option<&str> {
        self.shared.get(url).map(SharedStore::name)
    }

    /// Drops the storages that no throttle uses any more.
    pub(crate) fn retain(&mut self, plans: &[ThrottlePlan]) {
        let uids: HashSet<_> = plans.iter().map(|plan| &plan.uid).collect();
        self.throttles.retain(|uid, _| uids.contains(uid));
        let has_memory = |plan: &&ThrottlePlan| {
            plan.storage.url().is_none() || matches!(plan.on_error, OnErrorSpec::Fallback { .. })
        };
        let with_memory: HashSet<_> = plans.iter().filter(has_memory).map(|plan| &plan.uid).collect();
        self.memories.retain(|uid, _| with_memory.contains(uid));
        self.shared.retain(|url, _| plans.iter().any(|plan| plan.storage.url() == Some(url)));
    }

    /// Returns the memories.
    pub(crate) fn memories(&self) -> Vec<MemoryGauge> {
        self.memories.values().cloned().collect()
    }

    /// Returns the shared stores.
    pub(crate) fn all(&self) -> Vec<SharedStore> {
        self.shared.values().cloned().collect()
    }
}

impl SharedStore {
    /// Returns the URL without user and password.
    pub(crate) fn name(&self) -> &str {
        self.breaker.name()
    }

    /// Returns the state of the circuit breaker; of several nodes, the worst state.
    pub(crate) fn state_name(&self) -> &'static str {
        state_name(self.breaker.state())
    }

    /// Returns the servers, each with the cause of its present fault.
    pub(crate) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        self.store.faults()
    }

    /// Returns the state of the store and of each of its servers, for the live page.
    pub(crate) fn json(&self) -> Value {
        let nodes = self.breaker.nodes();
        let node = |(server, fault): &(Arc<str>, Option<BackendError>)| {
            let state = nodes.iter().find(|(node, ..)| node.as_ref() == Some(server));
            json!({
                "name": **server,
                "state": state.map_or(self.state_name(), |(_, state, _)| state_name(*state)),
                "fault": fault.as_ref().map(BackendError::to_string),
            })
        };
        let nodes: Vec<_> = self.faults().iter().map(node).collect();
        json!({ "name": self.name(), "state": self.state_name(), "nodes": nodes })
    }

    /// Reports whether no server is left, once `ready` has failed: the store has only one server, or all have
    /// a fault.
    pub(crate) fn is_down(&self) -> bool {
        let faults = self.faults();
        // A single server is down even if no call has noted its fault yet, since `ready` has failed.
        faults.len() <= 1 || faults.iter().all(|(_, fault)| fault.is_some())
    }

    /// Returns the number of keys that the store evicted for lack of memory.
    pub(crate) fn evictions(&self) -> u64 {
        self.store.evictions()
    }

    /// Asks every server to write.
    ///
    /// # Errors
    ///
    /// Fails with the first fault if a server cannot be reached or cannot write.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        self.store.ready().await
    }

    /// Adds the corrupt values that the store has found since the last call to the tally's failures.
    pub(crate) fn tally_corrupt(&self, tally: &Tally) {
        let corrupt = self.store.corrupt();
        // `fetch_max` returns the count before, so two calls at once never add a value twice. `Relaxed` is
        // enough, since no other data depends on the number.
        let tallied = self.tallied.fetch_max(corrupt, Ordering::Relaxed);
        tally.add_errors(ErrorKind::Corrupt, corrupt.saturating_sub(tallied));
    }

    /// Closes the connections, once the calls under way have ended. A dropped future leaves them to the
    /// runtime.
    pub(crate) async fn close(&self) {
        self.store.close().await;
    }
}

/// Writes one line about the store, and a line for each server with a fault.
impl fmt::Display for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut calls, mut failed) = (0, 0);
        for (_, ended, count, _) in self.calls.iter() {
            calls += count;
            failed += if ended.is_failure() { count } else { 0 };
        }
        write!(f, "{}: circuit {}, {failed} of {calls} calls failed", self.name(), self.state_name())?;
        let nodes = self.breaker.nodes();
        for (server, fault) in self.faults() {
            let Some(fault) = fault else { continue };
            let node = nodes.iter().find(|(node, ..)| node.as_ref() == Some(&server));
            match node {
                Some((_, state, _)) => write!(f, "\n  circuit {}, {fault}", state_name(*state))?,
                None => write!(f, "\n  {fault}")?,
            }
        }
        Ok(())
    }
}

/// Returns the name of a breaker's state.
pub(crate) const fn state_name(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed | BreakerState::ForcedClosed => "closed",
        BreakerState::HalfOpen => "half-open",
        _ => "open",
    }
}

/// Returns a URL without its user and its password, which may stand in the query as well.
pub(crate) fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}
