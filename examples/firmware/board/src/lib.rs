//! Support for programs on an emulated board: they begin, print, end, and are measured.
//!
//! | target | core | timer | output, end |
//! |---|---|---|---|
//! | `thumbv6m`, `thumbv7m`, `thumbv7em` | Cortex-M0, M3, M4 | SysTick | semihosting |
//! | `riscv32imc` | qemu's `virt` | the machine's | UART, test device |
//!
//! Instructions are those of an emulator that is run with `-icount shift=6`: each takes 64 ns.
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

/// Makes a function of this crate the one that a program begins with.
#[macro_export]
macro_rules! begin_with {
    ($main:path) => {
        #[unsafe(export_name = "main")]
        extern "C" fn begin() -> ! {
            $main()
        }
    };
}

/// Ends a program that panics.
#[macro_export]
macro_rules! tell_panics {
    () => {
        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::line(format_args!("{info}"));
            $crate::exit(false)
        }
    };
}
