//! Tells LLVM to write zeros in words. Beside the switch for copies in order that bpf-linker gives, it takes no more than eight
//! stores for clearing memory, and calls a loop over single octets beyond them: five instructions for each.

use std::env;

/// A stack has 512 octets (`MAX_BPF_STACK`, include/linux/filter.h); what is cleared is a part of it.
const STORES: &str = "32";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("bpf") {
        println!("cargo:rustc-link-arg-bins=--llvm-args=-max-store-memset={STORES}");
    }
}
