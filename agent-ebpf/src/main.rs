//! The eBPF programs of Netcause.
//!
//! Data flows one way: a probe reads the kernel through [`kernel`], adds to the tables in [`maps`] through [`flow`],
//! and may [`emit`] a detail event. No program changes what the kernel does.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "aya's attributes pass the context by value")]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod dns;
mod emit;
mod flow;
mod kernel;
mod maps;
mod once;
mod packet;
mod probe;
mod socket;
mod traffic;

/// The kernel lends GPL-only helpers to programs that say they are compatible.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the loader finds the licence by section and symbol")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

// On the host the programs are only checked, in one graph with crates that use std: its panic handler is the one there.
#[cfg(not(target_arch = "bpf"))]
extern crate std;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
