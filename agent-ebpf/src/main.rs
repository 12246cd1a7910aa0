//! The eBPF programs of Netcause.
//!
//! Data flows one way: a probe reads the kernel through [`kernel`] or a [`packet`], adds to the counters in [`maps`] through
//! [`flow`], and may [`emit`] an event. No program changes what the kernel does.
//!
//! Modules import only those below them:
//!
//! ```text
//! probe                                one file per probe: the programs
//! dns                                  DNS messages
//! traffic   udp                        totals of TCP sockets; UDP datagrams
//! stray   lost                         flows of peers that are unverified; dropped data
//! flow      socket                     counters; state of TCP sockets
//! emit                                 events
//! kernel  packet  maps  settings  once kernel memory, packets, maps, settings, twin programs
//! ```
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "aya's attributes pass the context by value")]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod dns;
mod emit;
mod flow;
mod holders;
mod kernel;
mod lost;
mod maps;
mod once;
mod packet;
mod probe;
mod quota;
mod settings;
mod socket;
mod stray;
mod traffic;
mod udp;
mod verifier;

/// GPL-only helpers require a compatible licence.
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
