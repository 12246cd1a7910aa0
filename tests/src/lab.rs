//! The framework: pods made of network namespaces and cgroups, processes that cannot outlive the lab, faults, and the
//! agent under test.
//!
//! Two rules keep the machine safe. Nothing here configures the machine's own network namespace: links, addresses and
//! nftables rules are made inside namespaces of the lab. And every process of the lab is a direct child that the kernel
//! kills when the lab dies, so that a crash leaves nothing but empty cgroup directories, which the next run removes.

pub(crate) mod agent;
pub(crate) mod apiserver;
pub(crate) mod booted;
pub(crate) mod bpf;
pub(crate) mod certificates;
pub(crate) mod cgroup;
pub(crate) mod collector;
pub(crate) mod container;
pub(crate) mod crossed;
pub(crate) mod dns;
pub(crate) mod dropper;
pub(crate) mod envoy;
pub(crate) mod faults;
pub(crate) mod files;
pub(crate) mod findings;
pub(crate) mod influxdb;
pub(crate) mod manifest;
pub(crate) mod metrics;
pub(crate) mod namespace;
pub(crate) mod path;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod promql;
pub(crate) mod sample;
pub(crate) mod servers;
pub(crate) mod service;
pub(crate) mod topology;
pub(crate) mod trampolines;
pub(crate) mod witness;

use std::{
    path::PathBuf,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

/// Facts about the machine that the lab runs on.
pub(crate) struct Machine {
    /// This very binary, which is also every pod's pause process and traffic program.
    pub(crate) exe: PathBuf,
    /// Where cgroup v2 is mounted (`/sys/fs/cgroup`, or `unified/` below it on hybrid systems).
    pub(crate) cgroup_root: PathBuf,
    /// Whether this is an emulated VM: everything takes many times as long, so loads are smaller.
    pub(crate) vm: bool,
}

/// The machine, examined once.
pub(crate) fn machine() -> Result<&'static Machine> {
    static MACHINE: OnceLock<Result<Machine, String>> = OnceLock::new();
    MACHINE
        .get_or_init(|| {
            let exe = std::env::current_exe().map_err(|error| format!("finding this binary: {error}"))?;
            let cgroup_root = cgroup::find_root().map_err(|error| format!("{error:#}"))?;
            let vm = std::env::var_os("NETCAUSE_LAB_ENV").is_some_and(|value| value == "vm");
            Ok(Machine { exe, cgroup_root, vm })
        })
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Whether the lab runs in an emulated VM (`NETCAUSE_LAB_ENV=vm`).
pub(crate) fn in_vm() -> bool {
    machine().is_ok_and(|machine| machine.vm)
}

/// Sets the machine's loopback device up in a VM, where it is down at first: the lab asks the agent over it.
pub(crate) fn loopback() -> Result<()> {
    if !in_vm() {
        return Ok(());
    }
    let mut up = std::process::Command::new("ip");
    let end = process::Process::run("ip", up.args(["link", "set", "lo", "up"]), "")?;
    end.success().map(drop).context("loopback of the VM")
}

/// Whether the matrix runs on an older and on a newer kernel, too, with all scenarios (`NETCAUSE_LAB_KERNEL=between`).
pub(crate) fn is_between() -> bool {
    std::env::var_os("NETCAUSE_LAB_KERNEL").is_some_and(|value| value == "between")
}

/// Scenarios that have passed in a VM that died before its run had ended (`NETCAUSE_LAB_DONE`, separated by commas): this one runs the others.
pub(crate) fn is_done(scenario: &str) -> bool {
    std::env::var("NETCAUSE_LAB_DONE").is_ok_and(|done| done.split(',').any(|name| name == scenario))
}

/// Whether the running kernel is older than this version: to allow for what kernels do, never for what the agent can do.
pub(crate) fn kernel_is_before(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(major), Some(minor))
}

/// `native` on this machine, `vm` in an emulated one: for amounts of work, never for correctness.
pub(crate) fn scaled<T>(native: T, vm: T) -> T {
    if in_vm() { vm } else { native }
}

/// How long a condition may take to come true before the scenario fails. It is long, because only a broken scenario waits
/// for all of it. `NETCAUSE_LAB_TIMEOUT_SECONDS` overrides it, for quick runs of a scenario that is known to fail.
pub(crate) fn timeout() -> Duration {
    let seconds = std::env::var("NETCAUSE_LAB_TIMEOUT_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    if let Some(seconds) = seconds {
        return Duration::from_secs(seconds);
    }
    scaled(Duration::from_secs(20), Duration::from_secs(120))
}

/// Polls until `condition` holds; after the lab's [`timeout`], fails with the condition's last error.
pub(crate) fn eventually<T>(what: &str, condition: impl FnMut() -> Result<T>) -> Result<T> {
    eventually_within(timeout(), what, condition)
}

/// As [`eventually`], with a deadline of its own.
pub(crate) fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    // A look costs an emulated machine much, and the agent's view changes once a second.
    let mut pause = Duration::from_millis(scaled(5, 100));
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= limit => {
                return Err(error).with_context(|| format!("waited {limit:?} for this: {what}"));
            }
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(scaled(250, 1000)));
    }
}
