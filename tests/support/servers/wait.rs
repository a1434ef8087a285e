//! Waiting for what another process or thread is about to do: by polling, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to start, to stop, or to answer.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// How long several servers may take to agree on something: the slowest is a crashed master that a sentinel
/// replaces, some 3 s on an idle machine. A sentinel that was itself held up for 2 s does nothing for the
/// next 30.
pub(super) const AGREED: Duration = Duration::from_secs(60);

/// Polls until something holds; panics with `what` was to be if it does not within the limit.
pub fn until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
