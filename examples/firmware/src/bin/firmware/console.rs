//! Lines of text on the emulator's standard error.

use core::fmt::{Arguments, Write};
use core::panic::PanicInfo;

use cortex_m_semihosting::{debug, hio};
use heapless::String;

/// Writes a line, as a whole.
pub fn line(text: Arguments<'_>) {
    let mut line: String<300> = String::new();
    let _ = writeln!(line, "{text}");
    if let Ok(mut stream) = hio::hstderr() {
        let _ = stream.write_all(line.as_bytes());
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    line(format_args!("{info}"));
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
