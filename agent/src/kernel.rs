//! The kernel side: what it can do here, loading it, and reading what it counts.
//!
//! Nothing outside this module and [`netcause_core::ingest`] knows that there is eBPF.

pub mod btf;
pub mod conntrack;
mod dns;
mod heap;
pub mod layout;
mod load;
mod networks;
mod sweep;
mod tables;

pub use load::{LoadError, Options, ProbeState, attach, rehearse};
pub use sweep::Pace;
pub use tables::{Events, Fullness, Kernel, Wakeups};

/// The kernel's tick: the unit of what it counts in jiffies.
#[must_use]
pub fn tick() -> std::time::Duration {
    // The coarse clocks move with the tick, and say so (`clock_getres`, `KTIME_LOW_RES` in kernel/time/posix-timers.c).
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    std::time::Duration::try_from(resolution).unwrap_or_default()
}
