//! The agents themselves: whether they run, what they cannot see, what they lose, and what they cost.

use super::{
    page::{Page, Row},
    panel::{Kind, Panel, Unit},
    query::{any, quantile, rate, some, sum_rate, top},
};

pub(super) fn page() -> Page {
    Page {
        uid: "netcause-agents",
        title: "Netcause / Agent health",
        description: "Whether the agents run, what they cannot see, what they lose, and what they cost.",
        variables: Vec::new(),
        rows: vec![
            Row { title: "Running", panels: running() },
            Row { title: "What is lost", panels: lost() },
            Row { title: "Export by OTLP", panels: exports() },
            Row { title: "Names", panels: names() },
            Row { title: "What it costs", panels: cost() },
        ],
    }
}

fn stat(title: &'static str, query: &str, description: &'static str) -> Panel {
    Panel::new(Kind::Stat, title, Unit::Count, description).query(title, query)
}

fn running() -> Vec<Panel> {
    let or_none = |query: String| format!("count({query} == 0) or vector(0)");
    vec![
        stat("Agents", &format!("count({})", any("netcause_build_info")), "Agents that were scraped.").size(6, 3),
        stat(
            "Probes down",
            &or_none(any("netcause_probe_up")),
            "Probes that do not run, over all agents; the table of probes has the reasons.",
        )
        .limits(1.0, 10.0)
        .size(6, 3),
        stat(
            "Readers of nodes down",
            &or_none(any("netcause_node_reader_up")),
            "Readers of node signals that do not work, over all agents; the table of readers has the reasons.",
        )
        .limits(1.0, 10.0)
        .size(6, 3),
        stat(
            "Sources of names down",
            &or_none(any("netcause_names_source_up")),
            "Sources of names that do not work, over all agents: what they said before is still used, and grows old.",
        )
        .limits(1.0, 10.0)
        .size(6, 3),
        Panel::table(
            "Probes",
            Unit::Count,
            "Agents by probe: running where the reason is empty, else not, for that reason.",
        )
        .label("probe", "Probe")
        .label("reason", "Why it does not run")
        .sorted("Why it does not run")
        .value(
            "Agents",
            Unit::Count,
            format!(
                "count by (probe, reason) ({} or {} == 1)",
                any("netcause_probe_unavailable_info"),
                any("netcause_probe_up")
            ),
        )
        .width(70)
        .size(8, 9),
        Panel::table(
            "Readers of nodes",
            Unit::Count,
            "Agents by reader: working where the reason is empty, else not, for that reason.",
        )
        .label("reader", "Reader")
        .label("reason", "Why it does not work")
        .sorted("Why it does not work")
        .value(
            "Agents",
            Unit::Count,
            format!(
                "count by (reader, reason) ({} or {} == 1)",
                any("netcause_node_reader_unavailable_info"),
                any("netcause_node_reader_up")
            ),
        )
        .width(70)
        .size(8, 9),
        Panel::table(
            "Versions and kernels",
            Unit::Count,
            "Agents by their version and the kernel that they run on. Two versions for long are an update that has stopped.",
        )
        .label("version", "Version")
        .label("release", "Kernel")
        .value(
            "Agents",
            Unit::Count,
            format!(
                "count by (version, release) ({} * on (instance) group_left (release) {})",
                any("netcause_build_info"),
                any("netcause_kernel_info")
            ),
        )
        .width(70)
        .size(8, 9),
    ]
}

fn lost() -> Vec<Panel> {
    let all = |metric: &str| some(&sum_rate("", &any(metric)));
    vec![
        Panel::lines(
            "Lost by the kernel side",
            Unit::OperationsPerSecond,
            "Data lost on the kernel side: events dropped by a full ring buffer, sockets dropped by a full table (map full), connections \
             that no program has seen. No counter of edges depends on ring.",
        )
        .nothing("Nothing is lost")
        .query(
            "{{probe}} {{where}}",
            some(&sum_rate("probe, where", &any("netcause_events_lost_total"))),
        ),
        Panel::lines(
            "Kernel tables: fullest",
            Unit::Share,
            "How full each kernel table is, on the agent where it is fullest.",
        )
        .limits(0.8, 0.95)
        .query(
            "{{map}}",
            format!("max by (map) ({} / ({} > 0))", any("netcause_map_entries"), any("netcause_map_limit")),
        ),
        Panel::lines(
            "Series: used of the budget",
            Unit::Share,
            "Time series of pairs of workloads, as a share of the agent's budget, the ten fullest agents. At 1 the smallest pairs go to the \
             workload other.",
        )
        .limits(0.8, 1.0)
        .query(
            "{{node}} {{instance}}",
            top(&format!("{} / {}", any("netcause_series"), any("netcause_series_limit"))),
        ),
        Panel::lines(
            "Folded",
            Unit::OperationsPerSecond,
            "Pairs of workloads and nodes that were folded into other for want of series, and updates that found the kernel's table full. \
             Sums stay exact, names do not.",
        )
        .nothing("Nothing is folded")
        .query("pairs", all("netcause_series_folded_total"))
        .query("nodes", all("netcause_peer_nodes_folded_total"))
        .query("updates of flows", all("netcause_flow_table_overflows_total"))
        .query("updates of drops", all("netcause_packet_drop_table_overflows_total")),
        Panel::lines(
            "Not understood",
            Unit::PacketsPerSecond,
            "Packets at DNS ports that are no DNS, DNS messages skipped, and IPv6 packets with too many extension headers: missing in the \
             counters of DNS and UDP.",
        )
        .nothing("Everything is understood")
        .query("{{reason}}", some(&sum_rate("reason", &any("netcause_dns_malformed_messages_total"))))
        .query("gaps", all("netcause_dns_reassembly_failures_total"))
        .query("unread segments", all("netcause_dns_unread_segments_total"))
        .query("unread IPv6", all("netcause_ipv6_unread_packets_total")),
        Panel::lines(
            "Lost lines and windows",
            Unit::OperationsPerSecond,
            "Lines of the log and windows of the recording that could not be written, windows dropped for want of memory, and rows that made \
             room before every scraper had their last value.",
        )
        .nothing("Nothing is lost")
        .query("log lines", all("netcause_log_lines_lost_total"))
        .query("windows not recorded", all("netcause_record_windows_lost_total"))
        .query("windows of {{of}}", some(&sum_rate("of", &any("netcause_windows_dropped_total"))))
        .query("rows cut short", all("netcause_series_cut_short_total")),
        Panel::table(
            "Left out",
            Unit::Count,
            "What agents left out above their limits at the last pass, over all agents.",
        )
        .label("kind", "Kind")
        .value("Left out", Unit::Count, format!("sum by (kind) ({})", any("netcause_node_left_out")))
        .width(70)
        .size(8, 8),
        Panel::lines(
            "Events of findings",
            Unit::OperationsPerSecond,
            "Kubernetes Events by what became of them, and findings that begin. No line of Events while kubernetes_events is off.",
        )
        .query("Events {{outcome}}", sum_rate("outcome", &any("netcause_kubernetes_events_total")))
        .query("findings", format!("{} or vector(0)", sum_rate("", &any("netcause_findings_total")))),
        Panel::lines(
            "DNS events",
            Unit::OperationsPerSecond,
            "Events with names: received, or dropped above dns_event_rate_limit. Of the metrics only those of search domains depend on them.",
        )
        .query("{{outcome}}", sum_rate("outcome", &any("netcause_dns_events_total"))),
    ]
}

fn exports() -> Vec<Panel> {
    let off = "No agent exports by OTLP";
    vec![
        Panel::lines(
            "OTLP: lost",
            Unit::OperationsPerSecond,
            "Data points (metrics) and log records (findings) per second that no collector has got, over all agents. queue full: it was away for \
             longer than otlp_queue_kib holds. rejected, refused: it does not want them, and its log says why.",
        )
        .nothing("Nothing is lost, or nothing is exported")
        .query(
            "{{signal}} {{reason}}",
            some(&sum_rate("signal, reason", &any("netcause_otlp_dropped_total"))),
        ),
        Panel::lines(
            "OTLP: fullest queue",
            Unit::Share,
            "How full the queue of each signal is, on the agent where it is fullest. It fills while the collector is away, and at 1 the oldest goes.",
        )
        .nothing(off)
        .limits(0.5, 0.9)
        .query(
            "{{signal}}",
            format!(
                "max by (signal) ({} / ({} > 0))",
                any("netcause_otlp_queue_bytes"),
                any("netcause_otlp_queue_limit_bytes")
            ),
        ),
        Panel::lines(
            "OTLP: exported, and failed requests",
            Unit::OperationsPerSecond,
            "Data points and log records per second that the collector has taken, and requests that failed, by reason, over all agents.",
        )
        .nothing(off)
        .query("{{signal}}", sum_rate("signal", &any("netcause_otlp_exported_total")))
        .query(
            "{{signal}} failed: {{reason}}",
            some(&sum_rate("signal, reason", &any("netcause_otlp_failures_total"))),
        ),
    ]
}

fn names() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Sources of names: oldest",
            Unit::Seconds,
            "Time since the last contact with a source of names, on the agent where it is longest. A minute or two is usual; above that, \
             new pods have no names. No line where agents have no source, as on a host without Kubernetes.",
        )
        .nothing("No agent has a source of names")
        .limits(180.0, 600.0)
        .query(
            "{{source}} {{kind}}",
            format!("max by (source, kind) ({})", any("netcause_names_source_age_seconds")),
        ),
        Panel::lines(
            "Sources of names: failures",
            Unit::OperationsPerSecond,
            "Failures of sources of names, by reason; each is tried again later and later.",
        )
        .nothing("No failures")
        .query(
            "{{source}} {{kind}} {{reason}}",
            some(&sum_rate("source, kind, reason", &any("netcause_names_source_failures_total"))),
        ),
        Panel::lines(
            "Objects that names come from",
            Unit::Count,
            "Objects by kind, on the agent with the most, and those that a limit has dropped.",
        )
        .query("{{kind}}", format!("max by (kind) ({})", any("netcause_names_objects")))
        .query(
            "{{kind}} dropped/s",
            format!("{} > 0", sum_rate("kind", &any("netcause_names_objects_dropped_total"))),
        ),
    ]
}

fn cost() -> Vec<Panel> {
    let p95 = |metric: &str| quantile(0.95, "", &any(metric));
    vec![
        Panel::lines(
            "Time of scrapes and reading",
            Unit::Seconds,
            "95th percentile of the time to collect and write the metrics, of the look at all open sockets that is part of it, and of \
             reading the node.",
        )
        .size(5, 8)
        .query("scrape", p95("netcause_scrape_duration_seconds"))
        .query("sockets", p95("netcause_sweep_duration_seconds"))
        .query("node", p95("netcause_node_read_duration_seconds")),
        Panel::lines(
            "CPU time of programs",
            Unit::Share,
            "CPU time in eBPF programs, of all nodes together, the ten programs with the most; 1 is one CPU. The kernel counts it only with \
             the sysctl kernel.bpf_stats_enabled=1.",
        )
        .nothing("Needs the sysctl kernel.bpf_stats_enabled=1")
        .size(9, 8)
        .query(
            "{{program}}",
            format!(
                "topk(10, sum by (program) ({}))",
                rate(&any("netcause_bpf_run_seconds_total"))
            ),
        ),
        Panel::lines(
            "Open connections in a sweep",
            Unit::Count,
            "Open TCP connections at the last sweep, of the ten agents with the most: what a sweep costs goes with them.",
        )
        .size(5, 8)
        .query(
            "{{node}} {{instance}}",
            top(&format!("sum by (node, instance) ({})", any("netcause_sweep_connections"))),
        ),
        Panel::lines(
            "Memory of windows",
            Unit::Share,
            "Memory of what was counted in the last minutes, of its limit, on the agent where it is most.",
        )
        .limits(0.8, 1.0)
        .size(5, 8)
        .query(
            "{{of}}",
            format!(
                "max by (of) ({} / ({} > 0))",
                any("netcause_windows_bytes"),
                any("netcause_windows_limit_bytes")
            ),
        ),
    ]
}
