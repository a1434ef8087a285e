//! Gives the linker its scripts when building for bare metal.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=boards/lm3s6965evb.x");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::copy("boards/lm3s6965evb.x", Path::new(&out).join("memory.x"))
        .expect("the output directory can be written to");
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rustc-link-arg=--nmagic");
    println!("cargo:rustc-link-arg=-Tlink.x");
    // Only the program `firmware` logs.
    println!("cargo:rustc-link-arg-bin=firmware=-Tdefmt.x");
}
