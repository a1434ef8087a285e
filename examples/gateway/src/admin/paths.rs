//! The admin paths below `/_traffik/`, which no throttle limits.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use traffik::Label;
use traffik::runtime::{Runtime, Tokio};
use traffik::strategy::{StatValue, StatsSnapshot};

use crate::admin::caller;
use crate::admin::denied;
use crate::admin::metrics;
use crate::admin::page;
use crate::gateway::Gateway;
use crate::limits::clients::decoded;
use crate::response::{GatewayResponse, streamed, text, typed};
use crate::throttles::pipeline::ThrottleControl;

/// The prefix of the admin paths.
pub(crate) const BELOW: &str = "/_traffik/";

/// The callers that a listener serves the admin paths to.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Audience {
    /// Every caller that calls the listener by a known host, but pages of other sites.
    Everybody,
    /// Callers on this machine whose requests no proxy forwards.
    ThisMachine,
    Nobody,
}

/// Answers a request for an admin path. Any other path is answered 404.
pub(crate) async fn answer<B>(
    request: &Request<B>,
    peer: SocketAddr,
    local: Option<IpAddr>,
    audience: Audience,
    gateway: &Gateway,
) -> GatewayResponse {
    let not_found = || text(StatusCode::NOT_FOUND, "not found\n");
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    let below = request.uri().path().strip_prefix(BELOW);
    match audience {
        Audience::Nobody => return not_found(),
        Audience::ThisMachine if !caller::is_here(request, peer) => return not_found(),
        Audience::Everybody if caller::is_of_another_site(request) => {
            return text(StatusCode::FORBIDDEN, OTHER_SITE);
        }
        Audience::Everybody if !caller::calls_known_host(request, local, &gateway.admin.hosts) => {
            return match below {
                // Probes call the gateway by any name. They get the status alone, which shows nothing.
                Some(path @ ("health" | "livez" | "readyz")) if reads => {
                    text(probe(path, gateway).await.status(), "")
                }
                _ => text(StatusCode::MISDIRECTED_REQUEST, OTHER_HOST),
            };
        }
        Audience::ThisMachine | Audience::Everybody => {}
    }
    let Some(path) = below else { return not_found() };
    if matches!(path, "denied" | "reset" | "stat")
        && let Some(refusal) = gateway.admin.refusal(request.headers(), peer.ip())
    {
        return refusal;
    }
    match path {
        "reset" if request.method() == Method::POST => reset(request.uri().query(), gateway).await,
        "reset" => only("POST"),
        _ if !reads => only("GET"),
        "health" | "livez" | "readyz" => probe(path, gateway).await,
        "metrics" => metrics::answer(gateway).await,
        "denied" => denied::answer(gateway).await,
        "stat" => stat(request.uri().query(), gateway).await,
        "" => page::document(),
        "page.js" => page::script(),
        "page.css" => page::style(),
        "events" => streamed("text/event-stream", gateway.events.stream()),
        _ => not_found(),
    }
}

/// The refusal of a page of another site.
const OTHER_SITE: &str = "pages of other sites have no access; a proxy in front passes on Host, which --admin-host \
                          NAME allows\n";

/// The refusal of a host that could belong to another site.
const OTHER_HOST: &str =
    "this listener answers to its own address, to localhost, and to each --admin-host NAME\n";

/// Answers the probes of orchestrators.
async fn probe(path: &str, gateway: &Gateway) -> GatewayResponse {
    match path {
        "livez" => text(StatusCode::OK, "alive\n"),
        "readyz" if *gateway.end.borrow() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the gateway is shutting down\n")
        }
        _ => health(gateway).await,
    }
}

/// Least time to wait for a store to show that it is ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reports whether every throttle can decide, with a line for each store. Asks each store to write, and waits
/// for the answer for at most `--timeout`, or 1 s if that is longer. A store of several servers is ready
/// while one of them is.
async fn health(gateway: &Gateway) -> GatewayResponse {
    let (pipeline, patience) = (gateway.pipeline.load_full(), gateway.common.timeout.max(PATIENCE));
    let looks = pipeline.stores.iter().map(|store| async move {
        let late = |_| Err(format!("{} did not answer within {patience:?}", store.name()));
        let ready = Tokio.timeout(patience, store.ready()).await.unwrap_or_else(late);
        ready.err().filter(|_| store.is_down()).map(|error| (store.name(), error))
    });
    let down: Vec<_> = join_all(looks).await.into_iter().flatten().collect();
    let needed = |name: &str| pipeline.controls.iter().any(|control| control.needs.as_deref() == Some(name));
    let (status, mut body) = match down.iter().find(|(name, _)| needed(name)) {
        Some((_, error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
        None => (StatusCode::OK, "ready\n".to_owned()),
    };
    body.extend(pipeline.stores.iter().map(|store| format!("{store}\n")));
    text(status, body)
}

/// Returns the value of a query parameter, still encoded.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Answers with the statistics of a client under every throttle, as JSON.
async fn stat(query: Option<&str>, gateway: &Gateway) -> GatewayResponse {
    let Some(key) = parameter(query, "key") else { return bad("name a client, such as ?key=127.0.0.1") };
    let controls = gateway.pipeline.load().controls.clone();
    let (mut throttles, mut known, mut failed) = (Vec::new(), false, false);
    for control in controls.iter() {
        let label = |name| parameter(query, name).map(|name| Label::named(&decoded(name)));
        let mut class = control.class;
        class.tier = label("tier").unwrap_or(class.tier);
        class.priority = label("priority").unwrap_or(class.priority);
        class.region = label("region").unwrap_or(class.region);
        let figures = match control.keys.client(key) {
            Err(error) => Err(error),
            Ok(client) => {
                known = true;
                (control.stat)(client, class).await.inspect_err(|_| failed = true)
            }
        };
        throttles.push(match figures {
            Err(error) => json!({ "throttle": control.uid, "error": error }),
            Ok(figures) => json!({ "throttle": control.uid, "policies": policies(control, &figures) }),
        });
    }
    let body = json!({ "key": decoded(key), "throttles": throttles });
    let mut reply = page::as_declared(typed("application/json", format!("{body:#}\n")));
    *reply.status_mut() = match (known, failed) {
        (false, _) => StatusCode::BAD_REQUEST,
        (true, true) => StatusCode::SERVICE_UNAVAILABLE,
        (true, false) => StatusCode::OK,
    };
    reply
}

fn policies(control: &ThrottleControl, figures: &[StatsSnapshot]) -> Vec<Value> {
    let policy = |(name, reported): (&String, &StatsSnapshot)| {
        let figures: Value = reported.iter().map(|(name, figure)| (name, value(figure))).collect();
        json!({ "policy": name, "figures": figures })
    };
    control.names.iter().zip(figures).map(policy).collect()
}

/// Converts a statistic to JSON. Times become seconds since 1970.
fn value(figure: StatValue) -> Value {
    match figure {
        StatValue::Count(count) => count.into(),
        StatValue::Balance(balance) => balance.into(),
        StatValue::Time(time) => (time.as_micros() as f64 / 1e6).into(),
        StatValue::Flag(flag) => flag.into(),
        StatValue::Label(label) => label.0.into(),
        StatValue::Absent => Value::Null,
        other => other.to_string().into(),
    }
}

/// Forgets the use of a client under every throttle.
async fn reset(query: Option<&str>, gateway: &Gateway) -> GatewayResponse {
    let Some(key) = parameter(query, "key") else { return bad("name a client, such as ?key=127.0.0.1") };
    let controls = gateway.pipeline.load().controls.clone();
    let (mut known, mut errors) = (false, String::new());
    for control in controls.iter() {
        match control.keys.client(key) {
            Err(error) => errors = format!("{}: {error}\n", control.uid),
            Ok(client) => {
                known = true;
                if let Err(error) = (control.reset)(client).await {
                    return text(StatusCode::SERVICE_UNAVAILABLE, format!("{}: {error}\n", control.uid));
                }
            }
        }
    }
    if known { text(StatusCode::OK, "forgotten\n") } else { text(StatusCode::BAD_REQUEST, errors) }
}

fn bad(advice: &str) -> GatewayResponse {
    text(StatusCode::BAD_REQUEST, format!("{advice}\n"))
}

/// Answers 405 with the method that the path takes.
fn only(methods: &'static str) -> GatewayResponse {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {methods} only\n"));
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    reply
}
