//! The figures that the limits guarantee, before and after a reset.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_semihosting::debug;
use embassy_time::Duration;

use crate::console::{fail, line};
use crate::{beeper, bus, commands, uplink};

/// The time after the boot at which the figures are checked.
pub fn lasts(is_restored: bool) -> Duration {
    Duration::from_millis(if is_restored { 1_010 } else { 3_050 })
}

/// Checks the figures. Ends the program with a failure if one is wrong, and with success after the reset.
pub fn hold(is_restored: bool) {
    let (counted, promised) = (Figures::counted(), if is_restored { AFTER_RESET } else { AT_FIRST });
    line(format_args!("in {} ms {counted:?}", lasts(is_restored).as_millis()));
    if counted != promised {
        fail(format_args!("promised was {promised:?}"));
    } else if is_restored {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// The counters since the boot.
#[derive(Debug, PartialEq)]
struct Figures {
    /// Readings sent.
    sent: u32,
    /// Commands executed for the peer that sends all the time, and for the others.
    loud: u32,
    quiet: u32,
    /// Commands of peers that the storage had no room for.
    turned_away: u32,
    /// Transfers on the bus, of two tasks that always have another transfer to do.
    downloaded: u32,
    logged: u32,
    /// Beeps of the interrupt and the task together.
    beeps: u32,
}

impl Figures {
    fn counted() -> Self {
        let counted = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        Self {
            sent: counted(&uplink::SENT),
            loud: counted(&commands::LOUD),
            quiet: counted(&commands::QUIET),
            turned_away: counted(&commands::TURNED_AWAY),
            downloaded: counted(&bus::DOWNLOADED),
            logged: counted(&bus::LOGGED),
            beeps: counted(&beeper::PRESSED) + counted(&beeper::REMINDED),
        }
    }
}

/// The expected figures: for each limit its burst plus its rate for 3 s, since there is always more to do.
/// The first task takes the whole first window of the unused bus. In the other three of four windows each
/// task has its half.
const AT_FIRST: Figures = Figures {
    sent: 2 + 3 * 10,
    loud: 4 + 3 * 2,
    quiet: 117,
    turned_away: 28,
    downloaded: 10 + 3 * 5,
    logged: 3 * 5,
    beeps: 4 + 3 * 4,
};

/// The expected figures after the reset: no burst, as use before the reset still counts. The fifth window of
/// the bus begins meanwhile.
const AFTER_RESET: Figures =
    Figures { sent: 10, loud: 2, quiet: 40, turned_away: 8, downloaded: 5, logged: 5, beeps: 4 };
