//! Logs the first denial of each client per minute, up to a number of lines per minute.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use traffik::ErasedKey;
use traffik::web::{Event, Observe, RequestOutcome};

/// The span in which a client's first denial is logged.
const MINUTE: Duration = Duration::from_secs(60);

/// Most clients that are logged in a minute, so that a flood of clients floods neither the log nor the
/// memory.
const LINES: usize = 60;

/// The observer that logs denials.
pub(crate) struct DenialLog;

/// The denials of the process, since it has one log.
static DENIALS: LazyLock<(RandomState, Mutex<Option<Minute>>)> = LazyLock::new(Default::default);

/// The denials since the first one that was logged.
struct Minute {
    began: Instant,
    /// The hashes of the clients that were logged, each with its throttle.
    logged: HashSet<u64>,
    /// Number of denials of clients that were not logged.
    left_out: u64,
}

/// Ends a minute that is over, with a line if denials were left out of the log.
pub(crate) fn tick() {
    let mut minute = DENIALS.1.lock().unwrap_or_else(PoisonError::into_inner);
    // Without this a quiet minute would keep its count until the next denial.
    if minute.as_ref().is_some_and(|it| it.began.elapsed() >= MINUTE) {
        summarize(minute.take());
    }
}

/// Ends the minute under way, since the program ends.
pub(crate) fn end() {
    summarize(DENIALS.1.lock().unwrap_or_else(PoisonError::into_inner).take());
}

fn summarize(minute: Option<Minute>) {
    if let Some(Minute { left_out: count @ 1.., .. }) = minute {
        tracing::info!(count, "denials of further clients were not logged one by one: {count}");
    }
}

/// Returns whether a denial is the first of its client in this minute and has room in the log.
fn is_logged(hash: u64) -> bool {
    let mut minute = DENIALS.1.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = || Minute { began: Instant::now(), logged: HashSet::new(), left_out: 0 };
    let minute = minute.get_or_insert_with(fresh);
    if minute.logged.contains(&hash) {
        return false;
    }
    // Denials and not clients are counted here: a set of all clients would have no bound.
    if minute.logged.len() >= LINES {
        minute.left_out += 1;
        return false;
    }
    minute.logged.insert(hash)
}

impl Observe for DenialLog {
    fn seen(&self, event: &Event<'_>) {
        let words = match event.result {
            RequestOutcome::Denied => "denied",
            RequestOutcome::Never => "denied, since its cost can never pass",
            RequestOutcome::WouldDeny => "would be denied if the throttle were not a shadow",
            _ => return,
        };
        let Some(client) = event.client else { return };
        // The seed is random, so a client cannot choose a name that hides another.
        let mut hasher = DENIALS.0.build_hasher();
        hasher.write(event.throttle.as_bytes());
        client.feed_to(&mut |bytes| hasher.write(bytes));
        if is_logged(hasher.finish()) {
            let name = ClientName(client).to_string();
            tracing::info!(throttle = event.throttle, client = name, "{words}");
        }
    }
}

/// A client by the name that the page shows, in which a secret is hashed.
struct ClientName<'a>(&'a dyn ErasedKey);

impl fmt::Display for ClientName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name_to(f)
    }
}
