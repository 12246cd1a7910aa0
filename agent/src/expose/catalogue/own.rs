//! What the agent says of itself.

use super::{Kind, Metric, own};

/// Readiness.
pub const PROBE_UP: Metric = own(
    "netcause_probe_up",
    Kind::Gauge,
    &["probe", "reason"],
    "1 while the probe runs; 0 when it cannot run on this node, with the reason.",
);
/// Losses.
pub const EVENTS_LOST: Metric = own(
    "netcause_events_lost",
    Kind::Counter,
    &["probe", "where"],
    "What the kernel side could not keep. ring: detail events, which no count depends on (of flows: a workload that is gone \
     before the next scrape may go without a name); map: sockets beyond the \
     table, whose connect latency and role are lost; skipped: connections of clients that no \
     program was shown the beginning or the failure of, which are counted without latency, or not as failed.",
);
/// Folding.
pub const FLOWS_FOLDED: Metric = own(
    "netcause_flows_folded_updates",
    Kind::Counter,
    &[],
    "Updates of flows that found the flow table full and were added under the workload other: sums are exact, names \
     are not.",
);
/// Fullness.
pub const MAP_ENTRIES: Metric =
    own("netcause_map_entries", Kind::Gauge, &["map"], "Entries in a kernel table now.");
/// Its limit.
pub const MAP_LIMIT: Metric =
    own("netcause_map_limit", Kind::Gauge, &["map"], "Entries that a kernel table can hold.");
/// Series.
pub const SERIES: Metric =
    own("netcause_series", Kind::Gauge, &[], "Time series of pairs of workloads in this exposition.");
/// Their limit.
pub const SERIES_LIMIT: Metric = own(
    "netcause_series_limit",
    Kind::Gauge,
    &[],
    "Time series of pairs of workloads that there may be; beyond it the smallest pairs first \
     give their histograms to the workload other, then everything.",
);
/// Pairs that were folded.
pub const SERIES_FOLDED: Metric = own(
    "netcause_series_folded",
    Kind::Counter,
    &[],
    "Pairs of workloads that were folded into other altogether, each time that happened.",
);
/// Sweeps.
pub const SWEEP_DURATION: Metric =
    own("netcause_sweep_duration_seconds", Kind::Histogram, &[], "Time to look at all open sockets.");
/// Scrapes.
pub const SCRAPE_DURATION: Metric = own(
    "netcause_scrape_duration_seconds",
    Kind::Histogram,
    &[],
    "Time to collect and write an exposition, of the scrapes before this one.",
);
/// Cost.
pub const BPF_RUN_SECONDS: Metric = own(
    "netcause_bpf_run_seconds",
    Kind::Counter,
    &["program"],
    "Time in an eBPF program; the kernel counts it only while the sysctl kernel.bpf_stats_enabled is 1.",
);
/// Runs.
pub const BPF_RUNS: Metric = own(
    "netcause_bpf_runs",
    Kind::Counter,
    &["program"],
    "Times an eBPF program ran; the kernel counts them only while the sysctl kernel.bpf_stats_enabled is 1.",
);
/// Skips.
pub const BPF_SKIPPED_RUNS: Metric = own(
    "netcause_bpf_skipped_runs",
    Kind::Counter,
    &["program"],
    "Times the kernel skipped an eBPF program because it was running already on the same CPU. Programs whose work is a \
     count have a twin (again) that does it then; retransmits are made up for at the next one or at the close.",
);
/// Build.
pub const BUILD: Metric = own("netcause_build", Kind::Info, &["version"], "The agent.");
/// Kernel.
pub const KERNEL: Metric = own("netcause_kernel", Kind::Info, &["release"], "The kernel it runs on.");
