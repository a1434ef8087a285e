//! The figures that the limits promise, before a reset and after it.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_semihosting::debug;
use embassy_time::Duration;

use crate::console::{fail, line};
use crate::{beeper, bus, commands, uplink};

/// The time for which the figures are promised.
pub fn lasts(is_restored: bool) -> Duration {
    Duration::from_millis(if is_restored { 1_010 } else { 3_050 })
}

/// Ends the program if a figure is not as promised, or if all are after the reset too.
pub fn hold(is_restored: bool) {
    let (counted, promised) = (Figures::counted(), if is_restored { AFTER_RESET } else { AT_FIRST });
    line(format_args!("in {} ms {counted:?}", lasts(is_restored).as_millis()));
    if counted != promised {
        fail(format_args!("promised was {promised:?}"));
    } else if is_restored {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// Figures of what was done since the boot.
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

/// The burst of each limit and its rate for 3 s, since there is always more to do. A bus that nobody used
/// before is for the task that comes first; from the second of four windows on each task has its half.
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
