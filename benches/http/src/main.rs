//! What a throttle adds to a request, what a denial costs beside serving, and how both fare under load.
//!
//! Instructions are counted by valgrind over `count KIND NUMBER`, which does the same thing so many times and asks itself
//! with `ask ADDRESS NUMBER`; see `scripts/bench-http`. Without arguments it measures throughput, in pairs: only the ratios
//! travel.

mod count;
mod load;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["count", kind, number] => match number.parse() {
            Ok(number) => count::run(kind, number),
            Err(_) => ExitCode::from(2),
        },
        ["ask", address, number] => match (address.parse(), number.parse()) {
            (Ok(address), Ok(number)) => count::ask(address, number),
            _ => ExitCode::from(2),
        },
        [] => load::run(),
        _ => {
            eprintln!("error: write nothing, or count KIND NUMBER");
            ExitCode::from(2)
        }
    }
}
