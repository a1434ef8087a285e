//! Measures the stack that a function takes: paints the words below it, runs it, and counts the overwritten
//! words.

use core::ptr;

use crate::chosen::stack_pointer;

/// Words painted. No measured function goes deeper, and the smallest board has room for them.
const WORDS: usize = 2 * 1024;
const PAINT: u32 = 0xa5c3_96e1;

/// Runs a function, which must not be inlined. Returns its result and the bytes of stack that it took.
#[inline(never)]
pub fn stack<T>(run: impl FnOnce() -> T) -> (T, u32) {
    let top = stack_pointer() as *mut u32;
    for word in 1..=WORDS {
        // SAFETY: nothing uses the memory below the stack pointer, as no interrupt is ever enabled.
        unsafe { ptr::write_volatile(top.wrapping_sub(word), PAINT) };
    }
    let answer = run();
    // SAFETY: as above.
    let is_painted = |word: &usize| unsafe { ptr::read_volatile(top.wrapping_sub(*word)) == PAINT };
    let untouched = (1..=WORDS).rev().take_while(is_painted).count();
    (answer, ((WORDS - untouched) * size_of::<u32>()) as u32)
}
