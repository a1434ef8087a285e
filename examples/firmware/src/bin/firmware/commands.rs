//! A channel of commands: each peer may send so many, and there is room for so many peers.

use core::sync::atomic::AtomicU32;

use embassy_time::{Duration, Ticker};
use heapless::{String, Vec};
use traffik::storage::WhenFull;
use traffik::{EmbassyClock, ErrorKind, Fixed, Limiter, Shared, TokenBucket, rate};

use crate::count;

/// A peer may send four commands at once, and two a second from then on.
const LIMIT: TokenBucket = match TokenBucket::new(rate!("2/s")).burst(4) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 4 can be counted"), // when compiled
};

/// Room for sixteen peers. Nobody waits here.
pub type Storage = Fixed<TokenBucket, EmbassyClock, 16, Shared<0>>;
/// Peers choose their names, so `main` draws a seed at boot. By default the peer whose limit is full again
/// soonest would make room for a new one; here new ones are turned away.
pub static LIMITER: Limiter<TokenBucket, Storage> =
    Limiter::new(LIMIT, Fixed::shared(EmbassyClock::new(), 0).when_full(WhenFull::Refuse));

pub static LOUD: AtomicU32 = AtomicU32::new(0);
pub static QUIET: AtomicU32 = AtomicU32::new(0);
pub static TURNED_AWAY: AtomicU32 = AtomicU32::new(0);

/// Takes commands of twenty peers. The first one sends all the time, the others now and then.
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

/// Executes a command, if its peer may send one.
fn command(peer: &String<12>, executed: &AtomicU32) {
    match LIMITER.check(peer) {
        Ok(decision) if decision.is_allowed() => count(executed),
        Ok(decision) => defmt::debug!("{} is too fast: {}", peer, decision),
        Err(error) if error.kind() == ErrorKind::Full => count(&TURNED_AWAY),
        Err(error) => defmt::error!("{}: {}", peer, error),
    }
}
