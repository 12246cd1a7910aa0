//! The kernel side: checks what this kernel supports, loads and attaches the eBPF programs, and reads their maps.
//!
//! Nothing outside this module and [`netcause_core::ingest`] knows that there is eBPF.

pub mod btf;
pub mod cgroups;
pub mod conntrack;
mod dns;
mod drops;
mod flows;
pub mod heap;
mod iterators;
pub mod layout;
mod listeners;
mod load;
mod maps;
pub mod netlink;
mod networks;
mod options;
mod ports;
mod shared;
mod sweep;
mod tables;

use std::sync::OnceLock;
use std::time::Duration;

pub use listeners::Listening;
pub use load::{LoadError, ProbeState, attach, rehearse};
pub use maps::Fullness;
pub use options::Options;
pub use sweep::Pace;
pub use tables::{Events, Kernel, Swept, Wakeups};

/// The length of a jiffy (1/HZ).
#[must_use]
pub fn tick() -> Duration {
    // The resolution of the coarse clocks is one tick (`clock_getres`, `KTIME_LOW_RES` in kernel/time/posix-timers.c).
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    Duration::try_from(resolution).unwrap_or_default()
}

/// So many of the kernel's ticks as this time takes.
fn ticks(time: Duration) -> u32 {
    let ticks = time.as_nanos().checked_div(tick().as_nanos());
    ticks.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(u32::MAX)
}

/// The kernel's CLOCK_MONOTONIC, the clock of event timestamps (`bpf_ktime_get_ns`), whatever the time namespace of this
/// process adds to it (time_namespaces(7)).
#[must_use]
pub fn monotonic() -> Duration {
    static OFFSET: OnceLock<i128> = OnceLock::new();
    let offset = OFFSET.get_or_init(|| {
        let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        monotonic_offset(&offsets)
    });
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default().as_nanos();
    let kernels = i128::try_from(now).unwrap_or_default() - offset;
    Duration::from_nanos(u64::try_from(kernels).unwrap_or_default())
}

/// What a time namespace adds to CLOCK_MONOTONIC, in nanoseconds: the line of `/proc/PID/timens_offsets` with seconds and
/// nanoseconds (`proc_timens_show_offsets`, kernel/time/namespace.c). 0 on kernels without time namespaces.
fn monotonic_offset(offsets: &str) -> i128 {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"));
    let mut numbers =
        line.unwrap_or_default().split_whitespace().map(|number| number.parse().unwrap_or(0_i128));
    let (seconds, nanoseconds) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    seconds * 1_000_000_000 + nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offsets = "monotonic       864000        500\nboottime              7         0\n";
        assert_eq!(monotonic_offset(offsets), 864_000_000_000_500);
        assert_eq!(monotonic_offset("monotonic           -2  999999999\n"), -1_000_000_001);
        assert_eq!(monotonic_offset(""), 0);
    }
}
