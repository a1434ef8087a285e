//! Registers of an imaginary board, for programs that are linked and never run.

use core::ptr;

pub const RANDOM: usize = 0x4000_0000;
pub const SENSOR: usize = 0x4000_1000;
pub const READING: usize = 0x4000_1004;
pub const RADIO: usize = 0x4000_2000;
pub const WAIT: usize = 0x4000_2004;

pub fn read(register: usize) -> u32 {
    // SAFETY: no program that calls this is ever run.
    unsafe { ptr::read_volatile(register as *const u32) }
}

pub fn write(register: usize, value: u32) {
    // SAFETY: no program that calls this is ever run.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}
