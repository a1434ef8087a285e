//! The metrics of shared stores and of memories.

use crate::observe::families::Families;
use crate::stores::store::{MemoryGauge, SharedStore, state_name};

/// Adds the metrics of all shared stores.
pub(crate) fn add_stores(families: &mut Families, stores: &[SharedStore]) {
    let of_store = |store: &SharedStore| f64::from(u8::from(store.state_name() != "closed"));
    families.gauges(
        "traffik_breaker_open",
        "1 if the circuit breaker of a store is not closed, else 0.",
        stores.iter().map(|store| (vec![("store", store.name())], of_store(store))),
    );
    let faults: Vec<_> = stores.iter().map(|store| (store, store.faults())).collect();
    let nodes = faults.iter().flat_map(|(store, faults)| {
        faults.iter().map(move |(node, fault)| {
            (vec![("store", store.name()), ("node", &**node)], f64::from(u8::from(fault.is_none())))
        })
    });
    families.gauges("traffik_node_up", "1 if a server of a store answers, 0 if it has a fault.", nodes);
    let breakers: Vec<_> = stores.iter().map(|store| (store, store.breaker.nodes())).collect();
    let nodes = breakers.iter().flat_map(|(store, nodes)| {
        nodes.iter().filter_map(|(node, state, _)| {
            let open = f64::from(u8::from(state_name(*state) != "closed"));
            Some((vec![("store", store.name()), ("node", &**node.as_ref()?)], open))
        })
    });
    families.gauges(
        "traffik_node_breaker_open",
        "1 if the circuit breaker of a server is not closed, else 0.",
        nodes,
    );
    let calls: Vec<_> = stores.iter().map(|store| (store, store.calls.nodes().collect::<Vec<_>>())).collect();
    let calls = calls.iter().flat_map(|(store, nodes)| {
        nodes.iter().flat_map(move |(node, calls)| {
            calls.iter().map(move |(operation, ended, count, _)| {
                let labels = vec![
                    ("store", store.name()),
                    ("node", &**node),
                    ("operation", operation.name()),
                    ("result", ended.name()),
                ];
                (labels, count)
            })
        })
    });
    families.counters(
        "traffik_node_calls_total",
        "Calls to a server of a store with several servers, by operation and result.",
        calls,
    );
    families.counters(
        "traffik_breaker_refused_total",
        "Calls that the circuit breaker of a store refused.",
        stores.iter().map(|store| (vec![("store", store.name())], store.breaker.refused())),
    );
    families.counters(
        "traffik_store_evictions_total",
        "Keys that a store evicted for lack of memory.",
        stores.iter().map(|store| (vec![("store", store.name())], store.evictions())),
    );
    let calls = stores.iter().flat_map(|store| {
        store.calls.iter().map(move |(operation, ended, count, _)| {
            let labels =
                vec![("store", store.name()), ("operation", operation.name()), ("result", ended.name())];
            (labels, count)
        })
    });
    families.counters("traffik_store_calls_total", "Calls to a store, by operation and result.", calls);
}

/// Adds the metrics of all memories. Scans their keys.
pub(crate) fn add_memories(families: &mut Families, memories: &[MemoryGauge]) {
    let use_of = memories.iter().map(|it| (vec![("throttle", &*it.uid)], it, (it.read)()));
    let uses: Vec<_> = use_of.collect();
    families.gauges(
        "traffik_memory_keys",
        "Keys in use in the memory of a throttle.",
        uses.iter().map(|(labels, _, used)| (labels.clone(), used.keys as f64)),
    );
    families.gauges(
        "traffik_memory_capacity_keys",
        "Keys that the memory of a throttle has room for.",
        uses.iter().map(|(labels, memory, _)| (labels.clone(), memory.capacity as f64)),
    );
    families.counters(
        "traffik_memory_evictions_total",
        "Keys that the memory of a throttle gave up for lack of room.",
        uses.iter().map(|(labels, _, used)| (labels.clone(), used.evictions)),
    );
    families.counters(
        "traffik_memory_refusals_total",
        "New keys that the memory of a throttle refused for lack of room.",
        uses.iter().map(|(labels, _, used)| (labels.clone(), used.refusals)),
    );
}
