//! Counters of the gateway itself, beside those of its throttles and its stores.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::observe::families::Families;
use crate::observe::log;

/// The counters of the process.
pub(crate) static COUNTERS: LazyLock<GatewayCounters> = LazyLock::new(|| GatewayCounters {
    started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
    ..GatewayCounters::default()
});

/// The counters of the gateway itself. The metrics show each of them.
#[derive(Default)]
pub(crate) struct GatewayCounters {
    /// Start of the program, in seconds since 1970.
    pub(crate) started: f64,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_open: AtomicU64,
    /// Connections that got no place, of all or of their peer.
    pub(crate) connections_refused: AtomicU64,
    pub(crate) connections_refused_of_peer: AtomicU64,
    /// Connections that were ended: idle ones in favour of others, those whose client was late with a head,
    /// with a further request or with taking a response, and those that spoke no TLS.
    pub(crate) connections_evicted: AtomicU64,
    pub(crate) connections_late: AtomicU64,
    pub(crate) connections_idle: AtomicU64,
    pub(crate) connections_stalled: AtomicU64,
    pub(crate) connections_without_tls: AtomicU64,
    /// Questions to each door.
    pub(crate) proxy_requests: AtomicU64,
    /// Calls of the rate limit service by their result.
    pub(crate) rls_admitted: AtomicU64,
    pub(crate) rls_denied: AtomicU64,
    pub(crate) rls_failed: AtomicU64,
    pub(crate) auth_requests: AtomicU64,
    /// Descriptors of the rate limit service that no throttle has.
    pub(crate) rls_unmatched: AtomicU64,
    pub(crate) reloads: AtomicU64,
    pub(crate) reloads_refused: AtomicU64,
}

/// Adds 1 to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    // A counter orders nothing else, so relaxed is enough.
    counter.fetch_add(more, Ordering::Relaxed);
}

/// A connection that counts as open until it is dropped.
pub(crate) struct OpenConnection(());

impl OpenConnection {
    pub(crate) fn new() -> Self {
        count(&COUNTERS.connections);
        count(&COUNTERS.connections_open);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        // Each value was added once, so this never goes below 0.
        COUNTERS.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds the metrics of the process.
pub(crate) fn add_process(families: &mut Families) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    families.gauges(
        "traffik_build_info",
        "The version of the gateway; always 1.",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
    families.gauges(
        "process_start_time_seconds",
        "Start of the process, in seconds since 1970.",
        [(vec![], COUNTERS.started)],
    );
    let system = [
        ("process_resident_memory_bytes", "Memory of the process that is in RAM.", resident_bytes()),
        ("process_open_fds", "File descriptors that the process has open.", open_files()),
        ("process_max_fds", "Most file descriptors that the process may open.", most_files()),
    ];
    // A system without `/proc` leaves these families out instead of showing 0.
    for (name, help, figure) in system {
        families.gauges(name, help, figure.map(|figure| (vec![], figure)));
    }
    families.gauges(
        "traffik_connections_open",
        "Open connections of clients and of the admin paths.",
        [(vec![], read(&COUNTERS.connections_open) as f64)],
    );
    families.counters(
        "traffik_connections_total",
        "Connections that were accepted.",
        [(vec![], read(&COUNTERS.connections))],
    );
    families.counters(
        "traffik_connections_refused_total",
        "Connections that got no place, since all or those of the peer had requests under way.",
        [
            (vec![("reason", "all")], read(&COUNTERS.connections_refused)),
            (vec![("reason", "peer")], read(&COUNTERS.connections_refused_of_peer)),
        ],
    );
    // A connection that ended by itself is in none of these.
    let ended = [
        ("evicted", &COUNTERS.connections_evicted),
        ("head", &COUNTERS.connections_late),
        ("idle", &COUNTERS.connections_idle),
        ("write", &COUNTERS.connections_stalled),
        ("tls", &COUNTERS.connections_without_tls),
    ];
    families.counters(
        "traffik_connections_ended_total",
        "Connections that the gateway ended: in favour of a new one, or by a deadline or handshake missed.",
        ended.map(|(reason, count)| (vec![("reason", reason)], read(count))),
    );
    let results = [&COUNTERS.rls_admitted, &COUNTERS.rls_denied, &COUNTERS.rls_failed];
    let rls = results.map(read).iter().sum();
    families.counters(
        "traffik_door_requests_total",
        "Requests for a decision, by door: the reverse proxy, the rate limit service, or forward auth.",
        [
            (vec![("door", "proxy")], read(&COUNTERS.proxy_requests)),
            (vec![("door", "rls")], rls),
            (vec![("door", "auth")], read(&COUNTERS.auth_requests)),
        ],
    );
    families.counters(
        "traffik_rls_requests_total",
        "Calls of the rate limit service by result.",
        [
            (vec![("result", "ok")], read(&COUNTERS.rls_admitted)),
            (vec![("result", "over_limit")], read(&COUNTERS.rls_denied)),
            (vec![("result", "error")], read(&COUNTERS.rls_failed)),
        ],
    );
    families.counters(
        "traffik_rls_unmatched_total",
        "Descriptors of the rate limit service that no throttle has.",
        [(vec![], read(&COUNTERS.rls_unmatched))],
    );
    families.counters(
        "traffik_reloads_total",
        "Reloads of the file by result. A refused file leaves the limits as they were.",
        [
            (vec![("result", "loaded")], read(&COUNTERS.reloads)),
            (vec![("result", "refused")], read(&COUNTERS.reloads_refused)),
        ],
    );
    families.counters(
        "traffik_log_lines_left_out_total",
        "Lines of the log that were left out, since its reader was too slow.",
        [(vec![], log::left_out())],
    );
}

/// Returns the memory in RAM, where the system has `/proc`.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    // The line is `VmRSS:   1234 kB`.
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"))?;
    Some(kilobytes.trim().parse::<f64>().ok()? * 1024.0)
}

/// Returns the number of open files, where the system has `/proc`.
fn open_files() -> Option<f64> {
    // Reading the directory opens one more.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn most_files() -> Option<f64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.map(|most| most as f64)
}
