//! A limit that an interrupt and a task share: a beeper, which a button sounds and a reminder.
//!
//! An interrupt cannot wait: it asks, and what is denied makes no sound. The task waits its turn. PendSV
//! stands for the interrupt of a button, since an emulator has none.

use core::sync::atomic::AtomicU32;

use cortex_m::peripheral::SCB;
use cortex_m_rt::exception;
use embassy_time::{Duration, Ticker};
use traffik::{EmbassyClock, Limiter, OneKey, Shared, TokenBucket, rate};

use crate::count;

/// Four beeps a second.
const LIMIT: TokenBucket = TokenBucket::new(rate!("4/s"));

/// There is one beeper, so one key, and one task that waits for it.
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

/// Reminds of an open door, once a second.
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
