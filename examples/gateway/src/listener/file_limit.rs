//! The file descriptors of the process, and the connections that they suffice for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but connections: stores, logs, files, admin connections, and connections that
/// were asked to end.
const OTHERS: u64 = 192;

/// Descriptors that are asked for. More would cost the kernel memory for nothing.
const ENOUGH: u64 = 1 << 20;

/// Raises the limit on descriptors as far as the system permits. Returns the limit.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    let soft = limit.current.unwrap_or(ENOUGH);
    if soft >= most {
        return soft;
    }
    let raised = Rlimit { current: Some(most), maximum: limit.maximum };
    // Some systems have a lower bound of their own; the limit then stays.
    setrlimit(Resource::Nofile, raised).map_or(soft, |()| most)
}

/// Returns the number of connections that descriptors suffice for, of which each has a connection to the
/// upstream, and a third of its own for the doors that proxies ask.
pub(crate) fn connections(descriptors: u64) -> usize {
    // With fewer descriptors than these there is no good share; then a quarter.
    let shared = descriptors.saturating_sub(OTHERS).max(descriptors / 4);
    usize::try_from(shared / 3).unwrap_or(usize::MAX).max(1)
}
