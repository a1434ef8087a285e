//! Time, and the number of instructions that a function takes.

use core::cell::Cell;

use critical_section::Mutex;

use crate::chosen::{MASK, PACE, ticks};

/// Instructions, and the microseconds that so many take in the emulator: 125 · 64 ns = 8 µs.
const INSTRUCTIONS: (u32, u32) = (125, 8);

/// Returns the microseconds since an arbitrary time. Call it at least once a second, or the timer of 24 bits
/// wraps unseen. It is not inlined, so that it costs a call, as the time driver of a program does.
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

/// Runs a function. Returns its result and the instructions that it took.
#[inline(always)]
pub fn count<T>(run: impl FnOnce() -> T) -> (T, u32) {
    let began = ticks();
    let between = ticks();
    let answer = run();
    let ended = ticks();
    let passed = |from: u32, to: u32| to.wrapping_sub(from) & MASK;
    // instructions = (ended - between) - (between - began): the second part is the cost of reading the timer.
    let taken = passed(between, ended).saturating_sub(passed(began, between));
    (answer, taken * PACE.1 * INSTRUCTIONS.0 / (PACE.0 * INSTRUCTIONS.1))
}
