//! The kernel side: checks what this kernel supports, loads and attaches the eBPF programs, and reads their maps.
//!
//! Nothing outside this module and [`netcause_core::ingest`] knows that there is eBPF.

pub mod btf;
pub mod cgroups;
pub mod conntrack;
mod dns;
mod flows;
mod heap;
pub mod layout;
mod load;
mod maps;
mod networks;
mod options;
mod sweep;
mod tables;

pub use dns::TimedOut;
pub use load::{LoadError, ProbeState, attach, rehearse};
pub use maps::Fullness;
pub use options::Options;
pub use sweep::Pace;
pub use tables::{Events, Kernel, Wakeups};

/// The length of a jiffy (1/HZ).
#[must_use]
pub fn tick() -> std::time::Duration {
    // The resolution of the coarse clocks is one tick (`clock_getres`, `KTIME_LOW_RES` in kernel/time/posix-timers.c).
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    std::time::Duration::try_from(resolution).unwrap_or_default()
}

/// CLOCK_MONOTONIC, the clock of event timestamps (`bpf_ktime_get_ns`).
#[must_use]
pub fn monotonic() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    std::time::Duration::try_from(now).unwrap_or_default()
}
