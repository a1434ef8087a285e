//! The metrics of shared stores, in Prometheus' text format.

use crate::stores::store::{SharedStore, state_name};

/// Formats the metrics of all stores in Prometheus' text format.
pub(crate) fn prometheus(stores: &[SharedStore]) -> String {
    if stores.is_empty() {
        return String::new();
    }
    let mut text = "# HELP traffik_breaker_open 1 if the circuit breaker of a store is not closed, else 0.\n\
                    # TYPE traffik_breaker_open gauge\n"
        .to_owned();
    for store in stores {
        let (name, open) = (store.name(), u8::from(store.state_name() != "closed"));
        text += &format!("traffik_breaker_open{{store=\"{name}\"}} {open}\n");
    }
    text += "# HELP traffik_node_up 1 if a server of a store answers, 0 if it has a fault.\n\
             # TYPE traffik_node_up gauge\n";
    for store in stores {
        for (node, fault) in store.faults() {
            let (name, up) = (store.name(), u8::from(fault.is_none()));
            text += &format!("traffik_node_up{{store=\"{name}\",node=\"{node}\"}} {up}\n");
        }
    }
    text += "# HELP traffik_node_breaker_open 1 if the circuit breaker of a server is not closed, else 0.\n\
             # TYPE traffik_node_breaker_open gauge\n";
    for store in stores {
        for (node, state, _) in store.breaker.nodes() {
            let (name, open) = (store.name(), u8::from(state_name(state) != "closed"));
            if let Some(node) = node {
                text += &format!("traffik_node_breaker_open{{store=\"{name}\",node=\"{node}\"}} {open}\n");
            }
        }
    }
    text += "# HELP traffik_node_calls_total Calls to a server of a store with several servers, by operation and result.\n\
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
    text += "# HELP traffik_breaker_refused_total Calls that the circuit breaker of a store refused.\n\
             # TYPE traffik_breaker_refused_total counter\n";
    for store in stores {
        let (name, refused) = (store.name(), store.breaker.refused());
        text += &format!("traffik_breaker_refused_total{{store=\"{name}\"}} {refused}\n");
    }
    text += "# HELP traffik_store_evictions_total Keys that a store evicted for lack of memory.\n\
             # TYPE traffik_store_evictions_total counter\n";
    for store in stores {
        let (name, evictions) = (store.name(), store.evictions());
        text += &format!("traffik_store_evictions_total{{store=\"{name}\"}} {evictions}\n");
    }
    text += "# HELP traffik_store_calls_total Calls to a store, by operation and result.\n\
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
