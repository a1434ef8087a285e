//! A sensor node that limits its radio, its commands, its bus and its beeper.
//!
//! | file | subject of the limit | storage and callers |
//! |---|---|---|
//! | `uplink` | readings sent by radio | one key; a task waits for its turn |
//! | `commands` | commands of each peer | a table of 16 keys; further peers are turned away |
//! | `bus` | a bus that tasks share | one key; each task waits for its share |
//! | `beeper` | beeps | one key; an interrupt checks, a task waits |
//! | `kept` | | keeps all limits over a reset |
//! | `figures`, `console` | | for the emulator only: checks and output |
//!
//! The program runs for 3 s, resets the chip, and runs for one second more. It succeeds if every figure
//! before and after the reset is exact. Logs go to standard output as defmt frames, text to standard error.
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
    // A device should use its random number generator here; the emulator has none.
    commands::LIMITER.storage().reseed(0x5eed_5eed_5eed_5eed);
    // Restore before any task uses a limit.
    let is_restored = kept::restore();

    spawner.spawn(uplink::sense().expect(ONCE));
    spawner.spawn(uplink::send().expect(ONCE));
    spawner.spawn(commands::obey().expect(ONCE));
    spawner.spawn(bus::transfer("log", &bus::LOGGED).expect(ONCE));
    spawner.spawn(bus::transfer("download", &bus::DOWNLOADED).expect(ONCE));
    spawner.spawn(beeper::bounce().expect(ONCE));
    spawner.spawn(beeper::remind().expect(ONCE));

    // The rest is for the emulator: check the figures after some seconds, and reset the chip once.
    Timer::at(began + figures::lasts(is_restored)).await;
    figures::hold(is_restored);
    match kept::save() {
        Ok(()) => SCB::sys_reset(),
        Err(error) => console::fail(format_args!("not saved: {error}")),
    }
}

/// Adds one to a counter. Each counter has a single writer, so a load and a store suffice; a Cortex-M0 has no
/// atomic addition.
fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
