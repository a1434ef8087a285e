//! The connections of this process over loopback, as the system lists them.

use std::fs;

use super::wait::{SOON, until};

/// Waits until this process can see that every connection it had to this port is closed.
///
/// A busy system delivers the end of a connection late: a server can have answered the command that closed
/// it, or have exited, before the client can see that. A call sent in between is lost, and its outcome
/// unknown.
pub(super) fn until_closed(port: u16) {
    until(SOON, "this process sees that its connections are closed", || !is_open(port));
}

fn is_open(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let (end, own) = (format!(":{port:04X}"), own_sockets());
    table.lines().skip(1).any(|line| {
        let columns = line.split_whitespace().collect::<Vec<_>>();
        columns[REMOTE].ends_with(&end)
            && columns[STATE] == ESTABLISHED
            && own.contains(&format!("socket:[{}]", columns[INODE]))
    })
}

const REMOTE: usize = 2;
const STATE: usize = 3;
const INODE: usize = 9;
const ESTABLISHED: &str = "01";

/// Returns the sockets of this process, in the system's notation.
fn own_sockets() -> Vec<String> {
    let files = fs::read_dir("/proc/self/fd").unwrap();
    // A file can be closed between the listing and the look at it.
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.filter_map(|link| link.into_os_string().into_string().ok()).collect()
}
