//! Time, and the instructions that a function takes.

use core::cell::Cell;

use critical_section::Mutex;

use crate::chosen::{MASK, PACE, ticks};

/// Instructions, and the microseconds that they take in the emulator: 64 ns each.
const INSTRUCTIONS: (u32, u32) = (125, 8);

/// Microseconds since a time of no account, as long as it is called once a second. Called, as a driver is.
#[inline(never)]
pub fn micros() -> u64 {
    static COUNTED: Mutex<Cell<(u64, u32)>> = Mutex::new(Cell::new((0, 0)));
    critical_section::with(|section| {
        let counted = COUNTED.borrow(section);
        let (micros, at) = counted.get();
        let periods = (ticks().wrapping_sub(at) & MASK) / PACE.0;
        let micros = micros + u64::from(periods * PACE.1);
        counted.set((micros, at.wrapping_add(periods * PACE.0)));
        micros
    })
}

/// The answer, and the instructions between two readings of the timer less those that a reading takes.
#[inline(always)]
pub fn count<T>(run: impl FnOnce() -> T) -> (T, u32) {
    let began = ticks();
    let between = ticks();
    let answer = run();
    let ended = ticks();
    let passed = |from: u32, to: u32| to.wrapping_sub(from) & MASK;
    let taken = passed(between, ended).saturating_sub(passed(began, between));
    (answer, taken * PACE.1 * INSTRUCTIONS.0 / (PACE.0 * INSTRUCTIONS.1))
}
