//! The metrics of the gateway, in Prometheus' text format.

use http::StatusCode;

use crate::gateway::Gateway;
use crate::observe::counters;
use crate::observe::families::Families;
use crate::response::{GatewayResponse, text, typed};
use crate::stores::metrics;

/// Answers with all metrics.
pub(crate) async fn answer(gateway: &Gateway) -> GatewayResponse {
    let pipeline = gateway.pipeline.load_full();
    pipeline.stores.iter().for_each(|store| store.tally_corrupt(&gateway.tally));
    // A throttle that has seen no request has counters of 0, and a former throttle keeps its counters.
    let mut throttles = gateway.tally.throttles();
    throttles.extend(pipeline.controls.iter().map(|control| control.uid.clone()));
    throttles.sort();
    throttles.dedup();
    let mut families = Families::default();
    families.tally(&gateway.tally, &throttles);
    metrics::add_stores(&mut families, &pipeline.stores);
    // A memory scans its keys to count them, which could delay the requests of this thread.
    let counted = tokio::task::spawn_blocking(move || {
        counters::add_process(&mut families);
        metrics::add_memories(&mut families, &pipeline.memories);
        families.text()
    });
    match counted.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(families) => typed("text/plain; version=0.0.4", families),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
