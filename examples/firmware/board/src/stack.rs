//! Stack that a function takes: the words below it are painted first, and looked at afterwards.

use core::ptr;

use crate::chosen::stack_pointer;

/// Words that are painted. No function here goes deeper, and the smallest board has the room.
const WORDS: usize = 2 * 1024;
const PAINT: u32 = 0xa5c3_96e1;

/// The answer of a function, which must not be inlined, and the bytes of stack that it took.
#[inline(never)]
pub fn stack<T>(run: impl FnOnce() -> T) -> (T, u32) {
    let top = stack_pointer() as *mut u32;
    for word in 1..=WORDS {
        // SAFETY: nobody uses what is below the stack pointer, as no interrupt is ever enabled.
        unsafe { ptr::write_volatile(top.wrapping_sub(word), PAINT) };
    }
    let answer = run();
    // SAFETY: as above.
    let is_painted = |word: &usize| unsafe { ptr::read_volatile(top.wrapping_sub(*word)) == PAINT };
    let untouched = (1..=WORDS).rev().take_while(is_painted).count();
    (answer, ((WORDS - untouched) * size_of::<u32>()) as u32)
}
