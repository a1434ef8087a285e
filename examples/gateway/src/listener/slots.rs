//! The places for connections: so many at once, and so many of one peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use traffik::web::Networks;

use crate::listener::activity::Activity;

/// Most connections that were asked to end and have not ended yet. They have descriptors beside the places.
const CLOSING: usize = 64;

/// The places of a listener.
#[derive(Clone)]
pub(crate) struct Slots {
    places: Arc<Mutex<Places>>,
    most: usize,
    most_of_peer: usize,
    /// Peers that stand for many clients, and may have as many connections as there are places.
    shared: Networks,
}

#[derive(Default)]
struct Places {
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

impl Slots {
    pub(crate) fn new(most: usize, most_of_peer: usize, shared: Networks) -> Self {
        Self { places: Arc::default(), most, most_of_peer, shared }
    }

    /// Takes a place. If there is none, asks the connection to end that has been idle longest.
    ///
    /// # Errors
    ///
    /// Fails if no connection is idle.
    pub(crate) fn take(&self, peer: IpAddr) -> Result<(Slot, Arc<Activity>), Full> {
        let mut places = self.places();
        if places.closing >= CLOSING {
            return Err(Full::Closing);
        }
        let host = host_of(peer);
        let of_peer = places.of_peers.get(&host).copied().unwrap_or_default();
        if of_peer >= self.most_of_peer && !self.shared.contains(peer.to_canonical()) {
            places.evict(Some(host)).then_some(()).ok_or(Full::Peer)?;
        } else if places.taken.len().saturating_sub(places.closing) >= self.most {
            places.evict(None).then_some(()).ok_or(Full::All)?;
        }
        let (activity, number) = (Activity::new(), places.next);
        places.next = places.next.wrapping_add(1);
        let taken = Taken { peer: host, activity: Arc::clone(&activity), is_closing: false };
        places.taken.insert(number, taken);
        let of_peer = places.of_peers.entry(host).or_default();
        *of_peer = of_peer.saturating_add(1);
        Ok((Slot { places: Arc::clone(&self.places), number }, activity))
    }

    /// Asks the connection to end that has been idle longest, if there is one.
    pub(crate) fn make_room(&self) {
        let mut places = self.places();
        if places.closing < CLOSING {
            places.evict(None);
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }
}

impl Places {
    /// Asks an idle connection to end, of one peer or of all. Returns whether there is one.
    fn evict(&mut self, of: Option<IpAddr>) -> bool {
        let candidates = self.taken.values_mut().filter(|it| of.is_none_or(|peer| it.peer == peer));
        let ranked = candidates.filter_map(|it| Some((it.activity.rank()?, it)));
        let Some((_, evicted)) = ranked.min_by_key(|(rank, _)| *rank) else { return false };
        evicted.activity.evict();
        evicted.is_closing = true;
        let peer = evicted.peer;
        self.closing = self.closing.saturating_add(1);
        self.forget(peer);
        true
    }

    /// Counts a connection of a peer no longer.
    fn forget(&mut self, peer: IpAddr) {
        if let Some(count) = self.of_peers.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_peers.remove(&peer);
            }
        }
    }
}

/// The place of a connection, free once dropped.
pub(crate) struct Slot {
    places: Arc<Mutex<Places>>,
    number: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        match places.taken.remove(&self.number) {
            Some(Taken { is_closing: true, .. }) => places.closing = places.closing.saturating_sub(1),
            Some(Taken { peer, .. }) => places.forget(peer),
            None => {}
        }
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // Each change is whole when the lock is freed.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the host of a peer; those of one IPv6 /64 are one, which a single client can have.
fn host_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}
