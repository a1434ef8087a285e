//! The support for an emulated Cortex-M.

use core::fmt::Arguments;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt as _; // the startup code
use cortex_m_semihosting::{debug, hprintln};

/// Ticks of the timer, and the microseconds that so many ticks take. After reset the LM3S6965 runs at 12.5
/// MHz, and the nRF51822, a Cortex-M0, at 16 MHz; nothing here changes that.
pub(crate) const PACE: (u32, u32) = if cfg!(target_has_atomic = "ptr") { (25, 2) } else { (16, 1) };
/// Mask of the timer, which counts 24 bits.
pub(crate) const MASK: u32 = 0xff_ffff;

/// Starts the timer.
pub fn start() {
    if let Some(mut core) = cortex_m::Peripherals::take() {
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(MASK);
        core.SYST.clear_current();
        core.SYST.enable_counter();
    }
}

/// Reads the timer, which counts down, as a count upwards.
#[inline(always)]
pub(crate) fn ticks() -> u32 {
    !SYST::get_current() & MASK
}

#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    cortex_m::register::msp::read() as usize
}

/// Prints a line.
pub fn line(text: Arguments<'_>) {
    hprintln!("{text}");
}

/// Ends the emulator, with status 0 on success and 1 on failure.
pub fn exit(is_success: bool) -> ! {
    debug::exit(if is_success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::nop();
    }
}
