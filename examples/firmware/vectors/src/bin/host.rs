//! Prints the vectors on the host, for comparison.

fn main() -> std::process::ExitCode {
    let lawful = vectors::run(&mut |line| println!("{line}"));
    if lawful { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
