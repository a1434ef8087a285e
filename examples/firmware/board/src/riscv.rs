//! The board `virt` of qemu, with a single core of RISC-V.

use core::arch::asm;
use core::fmt::{self, Arguments, Write};
use core::ptr;

use riscv as _; // the critical section
use riscv_rt as _; // where it begins

/// The data of the UART, a 16550; its line status, and the bit of that which says that there is room.
const UART: usize = 0x1000_0000;
const STATUS: usize = UART + 5;
const HAS_ROOM: u8 = 1 << 5;
/// Ends the emulator when a word is written to it.
const TEST: usize = 0x10_0000;
const WELL: u32 = 0x5555;
const ILL: u32 = 0x1_3333;

/// The lower half of the machine's timer, of 10 MHz.
const TIMER: usize = 0x0200_bff8;
/// Ticks, and the microseconds that they take.
pub(crate) const PACE: (u32, u32) = (10, 1);
pub(crate) const MASK: u32 = u32::MAX;

/// Does nothing: the timer runs from the beginning.
pub fn start() {}

#[inline(always)]
pub(crate) fn ticks() -> u32 {
    // SAFETY: the timer is there, and reading it changes nothing.
    unsafe { ptr::read_volatile(TIMER as *const u32) }
}

#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let at;
    // SAFETY: copies a register.
    unsafe { asm!("mv {at}, sp", at = out(reg) at, options(nomem, nostack, preserves_flags)) };
    at
}

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the registers of the UART are there, and nobody else uses them.
            unsafe {
                while ptr::read_volatile(STATUS as *const u8) & HAS_ROOM == 0 {}
                ptr::write_volatile(UART as *mut u8, byte);
            }
        }
        Ok(())
    }
}

/// Prints a line.
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(Uart, "{text}");
}

/// Ends the emulator, with the status 0 if all went well.
pub fn exit(well: bool) -> ! {
    // SAFETY: the device is there.
    unsafe { ptr::write_volatile(TEST as *mut u32, if well { WELL } else { ILL }) };
    loop {
        riscv::asm::nop();
    }
}
