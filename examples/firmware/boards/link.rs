//! Gives the linker the memory layout of the board that a program runs on, when building for bare metal.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=../boards");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let variable = |name: &str| env::var(name).expect("cargo sets it");
    let (package, target) = (variable("CARGO_PKG_NAME"), variable("TARGET"));
    let board = match (package.as_str(), target.as_str()) {
        (_, "riscv32imc-unknown-none-elf") => "virt",
        ("figures", "thumbv6m-none-eabi") => "microbit",
        ("figures", "thumbv7m-none-eabi") => "lm3s6965evb",
        // A program with all strategies needs a large memory, even as code for a smaller core.
        _ => "mps2-an385",
    };
    let out = variable("OUT_DIR");
    fs::copy(Path::new("../boards").join(board).with_extension("x"), Path::new(&out).join("memory.x"))
        .expect("the output directory can be written to");
    println!("cargo:rustc-link-search={out}");
    if board == "virt" {
        println!("cargo:rustc-link-arg=-Tmemory.x");
    } else {
        println!("cargo:rustc-link-arg=--nmagic");
    }
    println!("cargo:rustc-link-arg=-Tlink.x");
}
