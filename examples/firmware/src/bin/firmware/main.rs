//! A sensor node on which whatever could be too much is limited.
//!
//! | file | what is limited | where it is counted, and who asks |
//! |---|---|---|
//! | `uplink` | readings that go out by radio | one key; a task waits its turn |
//! | `commands` | commands, of each peer | a table of 16 keys; further peers are turned away |
//! | `bus` | a bus that tasks share | one key; each task waits for its share |
//! | `beeper` | beeps | one key; an interrupt asks, a task waits |
//! | `kept` | | all of it is kept over a reset |
//! | `console` | | figures as text, beside the log |
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
mod kept;
mod uplink;

use core::sync::atomic::{AtomicU32, Ordering};

use console::line;
use cortex_m::peripheral::SCB;
use cortex_m_semihosting::debug;
use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_time::{Duration, Instant, Timer};

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

    let (promised, lasts) = if is_restored { (AFTER_RESET, 1_010) } else { (AT_FIRST, 3_050) };
    Timer::at(began + Duration::from_millis(lasts)).await;
    let counted = Figures::counted();
    line(format_args!("in {lasts} ms {counted:?}"));
    if counted != promised {
        line(format_args!("promised was {promised:?}"));
        debug::exit(debug::EXIT_FAILURE);
    } else if is_restored {
        debug::exit(debug::EXIT_SUCCESS);
    } else if let Err(error) = kept::save() {
        line(format_args!("not saved: {error}"));
        debug::exit(debug::EXIT_FAILURE);
    } else {
        line(format_args!("reset"));
        SCB::sys_reset();
    }
}

/// What was done since the boot.
#[derive(Debug, PartialEq)]
struct Figures {
    /// Readings sent.
    sent: u32,
    /// Commands executed: of the peer that sends all the time, and of the others.
    loud: u32,
    quiet: u32,
    /// Commands of peers for whom there was no room.
    turned_away: u32,
    /// Transfers on the bus, of two tasks that always want one more.
    downloaded: u32,
    logged: u32,
    /// Beeps, of the interrupt and the task together.
    beeps: u32,
}

impl Figures {
    fn counted() -> Self {
        let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        Self {
            sent: count(&uplink::SENT),
            loud: count(&commands::LOUD),
            quiet: count(&commands::QUIET),
            turned_away: count(&commands::TURNED_AWAY),
            downloaded: count(&bus::DOWNLOADED),
            logged: count(&bus::LOGGED),
            beeps: count(&beeper::PRESSED) + count(&beeper::REMINDED),
        }
    }
}

/// The burst of each limit and its rate for 3 s, since there is always more to do. A bus that nobody used
/// before is for whoever comes first; from the second of four windows on each task has its half.
const AT_FIRST: Figures = Figures {
    sent: 2 + 3 * 10,
    loud: 4 + 3 * 2,
    quiet: 117,
    turned_away: 28,
    downloaded: 10 + 3 * 5,
    logged: 3 * 5,
    beeps: 4 + 3 * 4,
};

/// No burst: what was used before the reset is used after it. The fifth window of the bus begins meanwhile.
const AFTER_RESET: Figures =
    Figures { sent: 10, loud: 2, quiet: 40, turned_away: 8, downloaded: 5, logged: 5, beeps: 4 };
