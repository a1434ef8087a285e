//! A sensor node on which whatever could be too much is limited.
//!
//! | file | what is limited | where it is counted, and who asks |
//! |---|---|---|
//! | `uplink` | readings that go out by radio | one key; a task waits its turn |
//! | `commands` | commands, of each peer | a table of 16 keys; further peers are turned away |
//! | `bus` | a bus that tasks share | one key; each task waits for its share |
//! | `beeper` | beeps | one key; an interrupt asks, a task waits |
//! | `kept` | | all of it is kept over a reset |
//! | `figures`, `console` | | no part of a device: what the emulator holds and prints |
//!
//! It runs for 3 s, resets the chip, and runs for one second more. It ends with success if every figure is
//! exactly as promised, before the reset and after it. Logs go to the standard output as defmt's frames,
//! text to the standard error.
#![no_std]
#![no_main]

mod beeper;
mod bus;
mod commands;
mod console;
mod figures;
mod kept;
mod uplink;

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SCB;
use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_time::{Instant, Timer};

const ONCE: &str = "each task is spawned once";

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let began = Instant::now();
    if let Some(mut core) = cortex_m::Peripherals::take() {
        firmware::driver::start(&mut core.SYST);
    }
    // A device has a source of random numbers for this; an emulator has none.
    commands::LIMITER.storage().reseed(0x5eed_5eed_5eed_5eed);
    // Before any task asks.
    let is_restored = kept::restore();

    spawner.spawn(uplink::sense().expect(ONCE));
    spawner.spawn(uplink::send().expect(ONCE));
    spawner.spawn(commands::obey().expect(ONCE));
    spawner.spawn(bus::transfer("log", &bus::LOGGED).expect(ONCE));
    spawner.spawn(bus::transfer("download", &bus::DOWNLOADED).expect(ONCE));
    spawner.spawn(beeper::bounce().expect(ONCE));
    spawner.spawn(beeper::remind().expect(ONCE));

    // The rest is for the emulator: after some seconds the figures are held, and the chip is reset once.
    Timer::at(began + figures::lasts(is_restored)).await;
    figures::hold(is_restored);
    match kept::save() {
        Ok(()) => SCB::sys_reset(),
        Err(error) => console::fail(format_args!("not saved: {error}")),
    }
}

/// Counts one more. Each counter has one task or interrupt that counts, so this is all that it takes, and a
/// Cortex-M0 can do no more.
fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
