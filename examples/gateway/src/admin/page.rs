//! The live page of admitted and denied requests.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use serde_json::{Value, json};
use traffik::Origin;
use traffik::web::RequestOutcome;

use crate::gateway::Gateway;
use crate::response::{GatewayResponse, typed};
use crate::stores::store::SharedStore;

/// Number of the most denied clients that the page shows.
const TOP: usize = 10;

/// Returns the page: one file without external resources.
pub(crate) fn html() -> GatewayResponse {
    const PAGE: &str = include_str!("page.html");
    // The page loads nothing but its own events, so an injected name of a client can load nothing either.
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:",
    );
    let mut reply = typed("text/html; charset=utf-8", PAGE);
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    reply
}

/// Returns the totals so far as one line of JSON, the data of an event.
pub(crate) fn sample(gateway: &Gateway) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let pipeline = gateway.pipeline.load();
    let throttle = |uid: &str| {
        let sum = |results: &[RequestOutcome]| {
            results.iter().map(|result| gateway.tally.count(uid, *result)).sum::<u64>()
        };
        json!({
            "uid": uid,
            "admitted": sum(&[RequestOutcome::Allowed, RequestOutcome::Delayed]),
            "denied": sum(&[RequestOutcome::Denied, RequestOutcome::Never]),
            "would_deny": sum(&[RequestOutcome::WouldDeny]),
            "failed": sum(&[RequestOutcome::Failed]),
            "fallback": gateway.tally.decisions(uid, Origin::Fallback),
            "open": gateway.tally.decisions(uid, Origin::DegradedOpen),
        })
    };
    let throttles: Vec<_> = pipeline.controls.iter().map(|control| throttle(&control.uid)).collect();
    let top = gateway.denied_most().into_iter().take(TOP);
    let top: Vec<_> = top.map(|it| json!({ "name": it.name, "denials": it.denials })).collect();
    pipeline.stores.iter().for_each(|store| store.tally_corrupt(&gateway.tally));
    // `tally_corrupt` first: the errors below include the corrupt values that the stores have found.
    let errors: Value = gateway.tally.errors().filter(|(_, count)| *count > 0).collect();
    let store = |it: &SharedStore| json!({ "name": it.name(), "state": it.state_name() });
    let stores: Vec<_> = pipeline.stores.iter().map(store).collect();
    json!({ "at": seconds, "throttles": throttles, "top": top, "errors": errors, "stores": stores })
        .to_string()
}
