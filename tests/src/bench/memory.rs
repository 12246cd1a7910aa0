//! The memory of a process and of its BPF maps.

use std::{cmp::Reverse, collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::lab::bpf;
use crate::lab::{machine, metrics::float};

/// A figure of `/proc/PID/status` in KiB, e.g. `VmRSS`.
pub(super) fn status(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let value = field(&text, name).with_context(|| format!("no {name} in {path}"))?;
    value.trim_end_matches("kB").trim().parse().with_context(|| format!("{name} is no number"))
}

/// Resets `VmHWM` to the resident memory of now (proc(5), `clear_refs`).
pub(super) fn reset_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("writing {path}"))
}

/// The time that the processors have spent on a process's cgroup (v2, `cpu.stat`), in user space and in the kernel.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let cgroup =
        text.lines().find_map(|line| line.strip_prefix("0::/")).context("a process without a cgroup")?;
    let path = machine()?.cgroup_root.join(cgroup).join("cpu.stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let used = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    used.map(Duration::from_micros).with_context(|| format!("no usage in {}", path.display()))
}

/// A BPF map, as the kernel describes an open descriptor of it.
struct Map {
    /// At most fifteen characters.
    name: String,
    max_entries: u64,
    bytes: u64,
}

/// Every BPF map that a process has open, once.
fn maps(pid: u32) -> Result<Vec<Map>> {
    let path = format!("/proc/{pid}/fdinfo");
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(&path).with_context(|| format!("listing {path}"))? {
        // A descriptor may be closed since it was listed.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let number = |name: &str| field(&text, name).and_then(|value| value.parse::<u64>().ok());
        if let (Some(id), Some(max_entries), Some(bytes)) =
            (number("map_id"), number("max_entries"), number("memlock"))
        {
            maps.insert(id, Map { name: bpf::map_name(u32::try_from(id)?)?, max_entries, bytes });
        }
    }
    ensure!(!maps.is_empty(), "process {pid} has no tables in the kernel");
    Ok(maps.into_values().collect())
}

/// Prints the memory of the agent.
pub(super) fn print(pid: u32) -> Result<()> {
    let mib = |kib: u64| float(kib) / 1024.0;
    let status = |name: &str| status(pid, name).map(mib);
    println!(
        "  the agent: {:.1} MiB resident (at most 40): {:.1} of its own, {:.1} of files and tables; {:.1} at the peak",
        status("VmRSS")?,
        status("RssAnon")?,
        status("RssFile")? + status("RssShmem")?,
        status("VmHWM")?,
    );
    let mut maps = maps(pid)?;
    maps.sort_by_key(|map| Reverse(map.bytes));
    let all: u64 = maps.iter().map(|map| map.bytes).sum();
    println!("  its {} tables: {:.1} MiB (at most 56)", maps.len(), mib(all / 1024));
    for map in maps.iter().filter(|map| map.bytes >= 1 << 20) {
        println!("    {:<15} {:>7} entries: {:>5.1} MiB", map.name, map.max_entries, mib(map.bytes / 1024));
    }
    Ok(())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}
