//! A node that sends readings, with a limit on them (feature `limited`) or without: the difference in size is
//! what a limit adds.
//!
//! No panic can be reached, and the linker proves it: the panic handler calls a function that does not exist.
//! It is linked to be measured, and never run.
#![no_std]
#![no_main]

use core::panic::PanicInfo;
use core::ptr;

use cortex_m_rt::entry;
use embassy_time::Instant;

#[cfg(feature = "limited")]
mod limited;

#[entry]
fn main() -> ! {
    let Some(mut core) = cortex_m::Peripherals::take() else {
        loop {
            cortex_m::asm::wfi();
        }
    };
    firmware::driver::start(&mut core.SYST);
    #[cfg(feature = "limited")]
    let Some(limiter) = limited::limiter() else {
        loop {
            cortex_m::asm::wfi();
        }
    };
    loop {
        let (sensor, reading, at) = (read(SENSOR), read(READING), Instant::now().as_micros());
        #[cfg(feature = "limited")]
        if let Some(wait) = limited::wait(&limiter, sensor) {
            write(WAIT, wait);
            continue;
        }
        // Only there to see that the proof can fail.
        #[cfg(feature = "panics")]
        let reading = [reading, 0, 1][sensor as usize];
        for word in [sensor, reading, at as u32, (at >> 32) as u32] {
            write(RADIO, word);
        }
    }
}

// Registers of a made-up board.
const SENSOR: usize = 0x4000_1000;
const READING: usize = 0x4000_1004;
const RADIO: usize = 0x4000_2000;
#[cfg(feature = "limited")]
const RANDOM: usize = 0x4000_0000;
#[cfg(feature = "limited")]
const WAIT: usize = 0x4000_2004;

fn read(register: usize) -> u32 {
    // SAFETY: this is never run.
    unsafe { ptr::read_volatile(register as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: this is never run.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

unsafe extern "C" {
    fn a_panic_can_be_reached() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: there is no such function, so a program that could get here does not link.
    unsafe { a_panic_can_be_reached() }
}
