//! The places for connections: so many at once, and so many of one peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use traffik::web::Networks;

use crate::config::listener_options::ListenerOptions;
use crate::listener::activity::Activity;

/// Most connections that were asked to end and have not ended yet. They have descriptors beside the table.
const CLOSING: usize = 64;

/// The places of a listener.
#[derive(Clone)]
pub(crate) struct Places {
    table: Arc<Mutex<PlaceTable>>,
    most: usize,
    most_of_peer: usize,
    /// Peers that stand for many clients, and may have as many connections as there are table.
    shared: Networks,
}

#[derive(Default)]
struct PlaceTable {
    next: u64,
    taken: HashMap<u64, Taken>,
    /// Connections of each peer, without those that are closing.
    of_peers: HashMap<IpAddr, usize>,
    closing: usize,
}

struct Taken {
    peer: IpAddr,
    activity: Arc<Activity>,
    is_closing: bool,
}

/// The reason why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Full {
    /// All connections have requests under way.
    All,
    /// All connections of the peer have.
    Peer,
    /// Connections that were asked to end have not ended yet.
    Closing,
}

impl Places {
    pub(crate) fn new(most: usize, most_of_peer: usize, shared: Networks) -> Self {
        Self { table: Arc::default(), most, most_of_peer, shared }
    }

    /// Returns the places of the options, of which descriptors suffice for `most`.
    ///
    /// # Errors
    ///
    /// Fails if the options need more descriptors.
    pub(crate) fn of(options: &ListenerOptions, most: usize, trusted: &Networks) -> Result<Self, String> {
        // More places than descriptors would fail at the busiest hour, and silently.
        let all = options.max_connections.map_or(most, NonZeroUsize::get);
        if all > most {
            return Err(format!(
                "--max-connections {all}: the file descriptors of the process suffice for {most}; raise their \
                 limit (ulimit -n, LimitNOFILE), or write a smaller number"
            ));
        }
        // The rest stays for others, however much one peer opens.
        let of_peer = options.max_connections_per_peer.map_or(all.saturating_sub(all / 5), NonZeroUsize::get);
        Ok(Self::new(all, of_peer, trusted.clone()))
    }

    /// Takes a place. If there is none, asks the connection to end that has been idle longest.
    ///
    /// # Errors
    ///
    /// Fails if no connection is idle.
    pub(crate) fn take(&self, peer: IpAddr) -> Result<(Place, Arc<Activity>), Full> {
        let mut table = self.table();
        if table.closing >= CLOSING {
            return Err(Full::Closing);
        }
        let host = host_of(peer);
        let of_peer = table.of_peers.get(&host).copied().unwrap_or_default();
        if of_peer >= self.most_of_peer && !self.shared.contains(peer.to_canonical()) {
            table.evict(Some(host)).then_some(()).ok_or(Full::Peer)?;
        } else if table.taken.len().saturating_sub(table.closing) >= self.most {
            table.evict(None).then_some(()).ok_or(Full::All)?;
        }
        // Numbers return after 2^64 connections, so no live one is ever replaced.
        let (activity, number) = (Activity::new(), table.next);
        table.next = table.next.wrapping_add(1);
        let taken = Taken { peer: host, activity: Arc::clone(&activity), is_closing: false };
        table.taken.insert(number, taken);
        let of_peer = table.of_peers.entry(host).or_default();
        *of_peer = of_peer.saturating_add(1);
        Ok((Place { table: Arc::clone(&self.table), number }, activity))
    }

    /// Asks the connection to end that has been idle longest, if there is one.
    pub(crate) fn make_room(&self) {
        let mut table = self.table();
        if table.closing < CLOSING {
            table.evict(None);
        }
    }

    fn table(&self) -> MutexGuard<'_, PlaceTable> {
        lock(&self.table)
    }
}

impl PlaceTable {
    /// Asks an idle connection to end, of one peer or of all. Returns whether there is one.
    fn evict(&mut self, of: Option<IpAddr>) -> bool {
        // A look at each connection takes microseconds, less than the handshake of the new one.
        let candidates = self.taken.values_mut().filter(|it| of.is_none_or(|peer| it.peer == peer));
        let ranked = candidates.filter_map(|it| Some((it.activity.rank()?, it)));
        let Some((_, evicted)) = ranked.min_by_key(|(rank, _)| *rank) else { return false };
        evicted.activity.evict();
        evicted.is_closing = true;
        let peer = evicted.peer;
        self.closing = self.closing.saturating_add(1);
        // It no longer counts for its peer either, so a peer that comes again at once gets the place.
        self.forget(peer);
        true
    }

    /// Counts a connection of a peer no longer.
    fn forget(&mut self, peer: IpAddr) {
        if let Some(count) = self.of_peers.get_mut(&peer) {
            *count = count.saturating_sub(1);
            // Else every address that ever came would stay in memory.
            if *count == 0 {
                self.of_peers.remove(&peer);
            }
        }
    }
}

/// The place of a connection, free once dropped.
pub(crate) struct Place {
    table: Arc<Mutex<PlaceTable>>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        match table.taken.remove(&self.number) {
            Some(Taken { is_closing: true, .. }) => table.closing = table.closing.saturating_sub(1),
            Some(Taken { peer, .. }) => table.forget(peer),
            None => {}
        }
    }
}

fn lock(table: &Mutex<PlaceTable>) -> MutexGuard<'_, PlaceTable> {
    // Each change is whole when the lock is freed.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the host of a peer; those of one IPv6 /64 are one, which a single client can have.
fn host_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}
