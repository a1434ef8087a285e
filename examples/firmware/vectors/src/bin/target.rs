//! Prints the vectors on the target, for comparison.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m as _; // the critical section
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};

#[entry]
fn main() -> ! {
    let lawful = vectors::run(&mut |line| hprintln!("{line}"));
    debug::exit(if lawful { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {}
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{info}");
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
