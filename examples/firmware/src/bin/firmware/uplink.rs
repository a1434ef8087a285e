//! An uplink that waits for its turn: a radio with a limit on how often it may send.

use core::sync::atomic::AtomicU32;

use embassy_sync::blocking_mutex::raw::ThreadModeRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::{Duration, Ticker};
use traffik::{EmbassyClock, Gcra, Limiter, OneKey, Shared, WaitError, rate};

use crate::count;

/// The limit: ten readings a second, and two at once.
const LIMIT: Gcra = match Gcra::new(rate!("10/s")).burst(2) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 2 can be counted"), // when compiled
};

/// The limiter of one key, for the one uplink, with room for one waiting task.
pub type Storage = OneKey<Gcra, EmbassyClock, Shared<1>>;
pub static LIMITER: Limiter<Gcra, Storage> = Limiter::new(LIMIT, OneKey::shared(EmbassyClock::new()));

pub static SENT: AtomicU32 = AtomicU32::new(0);

#[derive(Clone, Copy, defmt::Format)]
struct Reading {
    sensor: u8,
    millidegrees: i32,
}

static READINGS: Channel<ThreadModeRawMutex, Reading, 8> = Channel::new();

/// Reads three sensors twenty times a second.
#[embassy_executor::task]
pub async fn sense() {
    let mut ticker = Ticker::every(Duration::from_millis(50));
    for reading in 0.. {
        for sensor in 0..3 {
            // The uplink is slower than the sensors, so a reading is lost if the channel is full.
            let _ = READINGS.try_send(Reading { sensor, millidegrees: 20_000 + reading });
        }
        ticker.next().await;
    }
}

/// Sends the readings as soon as the limit allows.
#[embassy_executor::task]
pub async fn send() {
    loop {
        let reading = READINGS.receive().await;
        // `OneKey` ignores the key. The limiter waits on any timer.
        match LIMITER.until_ready(&(), &EmbassyClock::new()).await {
            Ok(decision) => {
                count(&SENT);
                defmt::info!("sent {}: {}", reading, decision);
            }
            Err(WaitError::Never) => defmt::error!("the uplink is closed"),
            Err(error) => defmt::error!("not sent: {}", error),
        }
    }
}
