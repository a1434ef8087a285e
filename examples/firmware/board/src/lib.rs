//! Support for programs on an emulated board: startup, output, exit and measurements.
//!
//! | target | core | timer | output, end |
//! |---|---|---|---|
//! | `thumbv6m`, `thumbv7m`, `thumbv7em` | Cortex-M0, M3, M4 | SysTick | semihosting |
//! | `riscv32imc` | qemu's `virt` | the machine's | UART, test device |
//!
//! Instruction counts hold for an emulator run with `-icount shift=6`, where each instruction takes 64 ns.
#![no_std]

#[cfg(all(target_arch = "arm", target_os = "none"))]
#[path = "cortex_m.rs"]
mod chosen;
#[cfg(target_arch = "riscv32")]
#[path = "riscv.rs"]
mod chosen;
#[cfg(target_os = "none")]
mod stack;
#[cfg(target_os = "none")]
mod time;

#[cfg(target_os = "none")]
pub use chosen::{exit, line, start};
#[cfg(target_os = "none")]
pub use stack::stack;
#[cfg(target_os = "none")]
pub use time::{count, micros};

/// Makes a function the entry point of a program.
#[macro_export]
macro_rules! begin_with {
    ($main:path) => {
        #[unsafe(export_name = "main")]
        extern "C" fn begin() -> ! {
            $main()
        }
    };
}

/// Defines the panic handler, which prints the panic and ends the emulator with a failure.
#[macro_export]
macro_rules! print_panics {
    () => {
        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::line(format_args!("{info}"));
            $crate::exit(false)
        }
    };
}
