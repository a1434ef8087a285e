//! Text output to the emulator's standard error.

use core::fmt::{Arguments, Write};
use core::panic::PanicInfo;

use cortex_m_semihosting::{debug, hio};
use heapless::String;

/// Writes a whole line.
pub fn line(text: Arguments<'_>) {
    let mut line: String<300> = String::new();
    let _ = writeln!(line, "{text}");
    if let Ok(mut stream) = hio::hstderr() {
        let _ = stream.write_all(line.as_bytes());
    }
}

/// Writes a line and ends the program.
pub fn fail(text: Arguments<'_>) {
    line(text);
    debug::exit(debug::EXIT_FAILURE);
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"));
    loop {}
}
