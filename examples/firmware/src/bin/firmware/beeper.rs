//! A limit that an interrupt and a task share: a beeper for a button and for a reminder.
//!
//! The interrupt cannot wait: it checks, and a denied beep makes no sound. The task waits for its turn.
//! PendSV stands in for the button's interrupt, since the emulator has no button.

use core::sync::atomic::AtomicU32;

use cortex_m::peripheral::SCB;
use cortex_m_rt::exception;
use embassy_time::{Duration, Ticker};
use traffik::{EmbassyClock, Limiter, OneKey, Shared, TokenBucket, rate};

use crate::count;

/// The limit: four beeps a second.
const LIMIT: TokenBucket = TokenBucket::new(rate!("4/s"));

/// The limiter of one key, for the one beeper, with room for one waiting task.
pub type Storage = OneKey<TokenBucket, EmbassyClock, Shared<1>>;
pub static LIMITER: Limiter<TokenBucket, Storage> = Limiter::new(LIMIT, OneKey::shared(EmbassyClock::new()));

pub static PRESSED: AtomicU32 = AtomicU32::new(0);
pub static REMINDED: AtomicU32 = AtomicU32::new(0);

#[exception]
fn PendSV() {
    if LIMITER.check(&()).is_ok_and(|decision| decision.is_allowed()) {
        count(&PRESSED);
    }
}

/// Presses the button, whose contacts bounce.
#[embassy_executor::task]
pub async fn bounce() {
    let mut ticker = Ticker::every(Duration::from_millis(20));
    loop {
        SCB::set_pendsv();
        ticker.next().await;
    }
}

/// Beeps once a second, to remind of an open door.
#[embassy_executor::task]
pub async fn remind() {
    let mut ticker = Ticker::every(Duration::from_secs(1));
    loop {
        match LIMITER.until_ready(&(), &EmbassyClock::new()).await {
            Ok(_) => count(&REMINDED),
            Err(error) => return defmt::error!("the reminder: {}", error),
        }
        ticker.next().await;
    }
}
