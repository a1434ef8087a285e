//! A limit on the commands of each peer, with room for a fixed number of peers.

use core::sync::atomic::AtomicU32;

use embassy_time::{Duration, Ticker};
use heapless::{String, Vec};
use traffik::storage::WhenFull;
use traffik::{EmbassyClock, ErrorKind, Fixed, Limiter, Shared, TokenBucket, rate};

use crate::count;

/// The limit: four commands of a peer at once, then two a second.
const LIMIT: TokenBucket = match TokenBucket::new(rate!("2/s")).burst(4) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 4 can be counted"), // when compiled
};

/// The storage: room for sixteen peers, and for no waiting task.
pub type Storage = Fixed<TokenBucket, EmbassyClock, 16, Shared<0>>;
/// The limiter. Peers choose their names and could provoke collisions of hashes, so `main` sets a random seed
/// at boot. By default a full storage evicts the peer whose limit refills soonest; this one turns new peers
/// away.
pub static LIMITER: Limiter<TokenBucket, Storage> =
    Limiter::new(LIMIT, Fixed::shared(EmbassyClock::new(), 0).when_full(WhenFull::Refuse));

pub static LOUD: AtomicU32 = AtomicU32::new(0);
pub static QUIET: AtomicU32 = AtomicU32::new(0);
pub static TURNED_AWAY: AtomicU32 = AtomicU32::new(0);

/// Receives commands from twenty peers. The first peer sends all the time, the others now and then.
#[embassy_executor::task]
pub async fn obey() {
    let peers = (0..20).filter_map(|number| heapless::format!("pump-{number}").ok());
    let peers: Vec<String<12>, 20> = peers.collect();
    let mut ticker = Ticker::every(Duration::from_millis(20));
    for moment in 0usize.. {
        for (number, peer) in peers.iter().enumerate() {
            if number == 0 || number == moment % peers.len() {
                command(peer, if number == 0 { &LOUD } else { &QUIET });
            }
        }
        ticker.next().await;
    }
}

/// Executes a command if the limit of its peer allows it.
fn command(peer: &String<12>, executed: &AtomicU32) {
    match LIMITER.check(peer) {
        Ok(decision) if decision.is_allowed() => count(executed),
        Ok(decision) => defmt::debug!("{} is too fast: {}", peer, decision),
        Err(error) if error.kind() == ErrorKind::Full => count(&TURNED_AWAY),
        Err(error) => defmt::error!("{}: {}", peer, error),
    }
}
