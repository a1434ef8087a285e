//! Prints the vectors on the target, for comparison.
#![no_std]
#![no_main]

board::begin_with!(main);
board::print_panics!();

fn main() -> ! {
    board::exit(vectors::run(&mut |line| board::line(format_args!("{line}"))))
}
