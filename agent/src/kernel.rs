//! The kernel side: what it can do here, loading it, and reading what it counts.
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
mod networks;
mod options;
mod sweep;
mod tables;

pub use dns::TimedOut;
pub use load::{LoadError, ProbeState, attach, rehearse};
pub use options::Options;
pub use sweep::Pace;
pub use tables::{Events, Fullness, Kernel, Wakeups};

/// The kernel's tick: the unit of what it counts in jiffies.
#[must_use]
pub fn tick() -> std::time::Duration {
    // The coarse clocks move with the tick, and say so (`clock_getres`, `KTIME_LOW_RES` in kernel/time/posix-timers.c).
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    std::time::Duration::try_from(resolution).unwrap_or_default()
}

/// The clock of the programs (`bpf_ktime_get_ns`), which events are stamped with.
#[must_use]
pub fn monotonic() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    std::time::Duration::try_from(now).unwrap_or_default()
}
