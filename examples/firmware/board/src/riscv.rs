//! The support for qemu's board `virt` with a single RISC-V core.

use core::arch::asm;
use core::fmt::{self, Arguments, Write};
use core::ptr;

use riscv as _; // brings the critical section
use riscv_rt as _; // the startup code

/// The data register of the UART (a 16550), its line status register, and the status bit for room to write.
const UART: usize = 0x1000_0000;
const STATUS: usize = UART + 5;
const HAS_ROOM: u8 = 1 << 5;
/// The test device: writing one of the two words below to it ends the emulator.
const TEST: usize = 0x10_0000;
const SUCCESS: u32 = 0x5555;
const FAILURE: u32 = 0x1_3333;

/// The lower half of the machine timer, which runs at 10 MHz.
const TIMER: usize = 0x0200_bff8;
/// Ticks of the timer, and the microseconds that so many ticks take.
pub(crate) const PACE: (u32, u32) = (10, 1);
pub(crate) const MASK: u32 = u32::MAX;

/// Does nothing, because the timer runs from reset on.
pub fn start() {}

#[inline(always)]
pub(crate) fn ticks() -> u32 {
    // SAFETY: the board has the timer at this address, and reading it has no side effect.
    unsafe { ptr::read_volatile(TIMER as *const u32) }
}

#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let at;
    // SAFETY: the instruction only copies a register.
    unsafe { asm!("mv {at}, sp", at = out(reg) at, options(nomem, nostack, preserves_flags)) };
    at
}

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the board has the UART at this address, and nothing else uses it.
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

/// Ends the emulator, with status 0 on success and 1 on failure.
pub fn exit(is_success: bool) -> ! {
    // SAFETY: the board has the test device at this address.
    unsafe { ptr::write_volatile(TEST as *mut u32, if is_success { SUCCESS } else { FAILURE }) };
    loop {
        riscv::asm::nop();
    }
}
