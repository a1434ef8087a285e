//! An uplink that waits its turn: readings go out by a radio that may not send too often.

use core::sync::atomic::AtomicU32;

use embassy_sync::blocking_mutex::raw::ThreadModeRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::{Duration, Ticker};
use traffik::{EmbassyClock, Gcra, Limiter, OneKey, Shared, WaitError, rate};

use crate::count;

/// The radio may send ten times a second, and twice at once.
const LIMIT: Gcra = match Gcra::new(rate!("10/s")).burst(2) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 2 can be counted"), // when compiled
};

/// There is one uplink, so one key, and one task that waits for it.
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
            // What finds no room is lost: the uplink is slower than the sensors.
            let _ = READINGS.try_send(Reading { sensor, millidegrees: 20_000 + reading });
        }
        ticker.next().await;
    }
}

/// Sends what there is as soon as the limit allows.
#[embassy_executor::task]
pub async fn send() {
    loop {
        let reading = READINGS.receive().await;
        // A storage of one key is asked with any key, a limiter waits on any timer.
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
