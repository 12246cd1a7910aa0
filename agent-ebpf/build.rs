//! Makes LLVM clear memory in words. By default it uses at most eight stores, and beyond that calls a loop over single
//! bytes, of five instructions each.

use std::env;

/// Enough for what the programs clear on the stack, which has 512 bytes (`MAX_BPF_STACK`, include/linux/filter.h).
const STORES: &str = "32";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("bpf") {
        println!("cargo:rustc-link-arg-bins=--llvm-args=-max-store-memset={STORES}");
    }
}
