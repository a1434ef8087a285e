//! Free ports, and such as stay free while a server is stopped.
//!
//! A port the system gives when asked for port 0 is one it also gives to outgoing connections. A client that
//! keeps trying to reach a stopped server there can be given that very port, and is then connected to itself,
//! while the server cannot come back. So these are chosen below that range, and tried.

use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A cluster's servers talk to each other at a port this much higher; those that are secured serve there over
/// TLS.
pub(super) const BUS: u16 = 10_000;

/// Ports and buses do not overlap, and end below 32768, where Linux begins with outgoing connections.
const PORTS: std::ops::Range<u16> = 12_000..12_000 + BUS;

/// A port that is free now, as is that of its bus; not given again by this process before all others were.
pub fn free() -> u16 {
    // Each process starts elsewhere, so that those that run at once seldom try the same.
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
        let random = std::hash::RandomState::new().hash_one(std::process::id());
        AtomicU32::new(random as u32 >> 1)
    });
    let mut tried = PORTS.map(|_| {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(BUS);
        PORTS.start + offset as u16
    });
    tried.find(|port| is_free(*port) && is_free(port + BUS)).expect("not all ports are taken")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
