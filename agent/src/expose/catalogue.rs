//! Every metric, declared once. `docs/metrics.md` is made from this table, and tests hold the exposition to it.

/// What kind of metric, in OpenMetrics' terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// A value now.
    Gauge,
    /// Classic buckets.
    Histogram,
    /// Facts as labels; its sample ends in `_info`.
    Info,
}

/// One metric family.
#[derive(Debug)]
pub struct Metric {
    /// Without the suffix that its kind adds.
    pub name: &'static str,
    /// See [`Kind`].
    pub kind: Kind,
    /// True when it has the labels in [`EDGE_LABELS`] first.
    pub edge: bool,
    /// Labels beside those.
    pub labels: &'static [&'static str],
    /// What it counts, on which side, and when it does not count. No quotes and no backslashes: the two text formats
    /// escape them differently.
    pub help: &'static str,
}

#[cfg(test)]
impl Metric {
    /// The name as it is queried; of a histogram the name that `_bucket`, `_sum` and `_count` follow.
    pub fn sample_name(&self) -> String {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{suffix}", self.name)
    }
}

/// On everything that concerns a pair of workloads: Istio's words.
pub const EDGE_LABELS: [&str; 7] = [
    "reporter",
    "source_namespace",
    "source_workload",
    "destination_namespace",
    "destination_workload",
    "destination_service",
    "destination_port",
];

/// On what concerns a client alone: the edge labels of its end.
pub const SOURCE_LABELS: [&str; 2] = ["source_namespace", "source_workload"];

/// On everything that concerns a listening socket: the edge labels of its end.
pub const LISTENER_LABELS: [&str; 3] = ["destination_namespace", "destination_workload", "destination_port"];

const fn edge(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, edge: true, labels, help }
}

const fn listener(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, edge: false, labels: &LISTENER_LABELS, help }
}

const fn own(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, edge: false, labels, help }
}

/// Handshakes.
pub const CONNECTIONS_OPENED: Metric = edge(
    "netcause_tcp_connections_opened",
    Kind::Counter,
    &[],
    "TCP handshakes completed since the agent started, at the end that the label reporter names.",
);
/// Now.
pub const CONNECTIONS_OPEN: Metric = edge(
    "netcause_tcp_connections_open",
    Kind::Gauge,
    &[],
    "TCP connections open now, those opened before the agent started included, at the end that the label reporter \
     names. Connections that found the table of sockets full are not in it.",
);
/// Ends.
pub const CONNECTIONS_CLOSED: Metric = edge(
    "netcause_tcp_connections_closed",
    Kind::Counter,
    &[],
    "Established TCP connections that ended, also those opened before the agent started.",
);
/// Failures.
pub const CONNECT_FAILURES: Metric = edge(
    "netcause_tcp_connect_failures",
    Kind::Counter,
    &["reason"],
    "TCP connection attempts of clients that failed, by reason. timed_out: the kernel gave up, or the application did \
     after a repeated SYN; aborted: the application closed the socket before any SYN was repeated. A non-blocking \
     connect that succeeds is no failure. Errors before a SYN is due, such as no route, are not seen.",
);
/// Latency.
pub const CONNECT_DURATION: Metric = edge(
    "netcause_tcp_connect_duration_seconds",
    Kind::Histogram,
    &[],
    "Time from the first SYN to the established connection, at the client. Attempts that were under way when the \
     agent started are not in it.",
);
/// Retransmits.
pub const RETRANSMITTED_SEGMENTS: Metric = edge(
    "netcause_tcp_retransmitted_segments",
    Kind::Counter,
    &["kind"],
    "TCP segments sent again, by what made the kernel do it; all kinds together are the kernel's RetransSegs. \
     tail_loss_probe is normal on healthy links; other has the segments that did not leave the host as well, which \
     show at the next retransmit of the connection or at its end.",
);
/// Payload out.
pub const SENT_BYTES: Metric = edge(
    "netcause_tcp_sent_bytes",
    Kind::Counter,
    &[],
    "TCP payload sent by the end that the label reporter names, as acknowledged by the peer, in bytes. Open connections \
     are looked at when metrics are asked for; what they carried before the agent started is included unless \
     older_connections is rest.",
);
/// Payload in.
pub const RECEIVED_BYTES: Metric = edge(
    "netcause_tcp_received_bytes",
    Kind::Counter,
    &[],
    "TCP payload received in order at the end that the label reporter names, in bytes; see netcause_tcp_sent_bytes_total.",
);
/// Segments out.
pub const SENT_SEGMENTS: Metric = edge(
    "netcause_tcp_sent_segments",
    Kind::Counter,
    &[],
    "TCP segments sent, those without payload and those sent again included; by sockets of connections, so not \
     the resets that refuse one, the SYN-ACKs, and the last acknowledgement in TIME_WAIT.",
);
/// Segments in.
pub const RECEIVED_SEGMENTS: Metric = edge(
    "netcause_tcp_received_segments",
    Kind::Counter,
    &[],
    "TCP segments received, those without payload included.",
);
/// Retransmits in vain.
pub const SPURIOUS_RETRANSMITS: Metric = edge(
    "netcause_tcp_spurious_retransmits",
    Kind::Counter,
    &[],
    "TCP segments that the peer says it had already (DSACK): they were sent again for nothing.",
);
/// Reordering.
pub const REORDERED_SEGMENTS: Metric = edge(
    "netcause_tcp_reordered_segments",
    Kind::Counter,
    &[],
    "TCP segments that arrived out of order: overtaken by others, or behind a loss.",
);
/// Round trips.
pub const RTT: Metric = edge(
    "netcause_tcp_rtt_seconds",
    Kind::Histogram,
    &[],
    "Smoothed round-trip time of TCP connections, one observation each time that open connections are looked at and \
     this one was in use since, and one at its close.",
);
/// The path's own.
pub const MIN_RTT: Metric = edge(
    "netcause_tcp_min_rtt_seconds",
    Kind::Histogram,
    &[],
    "Least round-trip time that the kernel measured on a TCP connection in the last minutes: the path without queues. \
     Observed as netcause_tcp_rtt_seconds.",
);
/// Whose fault slowness is.
pub const LIMITED_SECONDS: Metric = edge(
    "netcause_tcp_limited_seconds",
    Kind::Counter,
    &["by"],
    "Time in which TCP connections had data to send, by what held them back: the receiver's window, the own send \
     buffer, or the network (the congestion window, pacing, and the wait for acknowledgements).",
);
/// Lost connections.
pub const LISTEN_DROPS: Metric = listener(
    "netcause_tcp_listen_drops",
    Kind::Counter,
    "Handshakes that a listening TCP socket dropped, mostly because its accept queue was full, since the agent saw the \
     listener first. A client that tries again is dropped, and counted, again.",
);
/// Waiting connections.
pub const ACCEPT_QUEUE_LENGTH: Metric = listener(
    "netcause_tcp_accept_queue_length",
    Kind::Gauge,
    "Connections that wait for the application to accept them; of several sockets on one port, in the fullest queue.",
);
/// How many may wait.
pub const ACCEPT_QUEUE_LIMIT: Metric = listener(
    "netcause_tcp_accept_queue_limit",
    Kind::Gauge,
    "Limit of that queue: the least of what listen(2) asked for and the sysctl net.core.somaxconn. One more fits.",
);
/// Datagrams' payload out.
pub const UDP_SENT_BYTES: Metric = edge(
    "netcause_udp_sent_bytes",
    Kind::Counter,
    &[],
    "UDP payload sent, in bytes. A connected socket is the client's; of others the lower port is the service's.",
);
/// Datagrams' payload in.
pub const UDP_RECEIVED_BYTES: Metric = edge(
    "netcause_udp_received_bytes",
    Kind::Counter,
    &[],
    "UDP payload that arrived at a socket, in bytes, that of netcause_udp_receive_drops_total included.",
);
/// Datagrams out.
pub const UDP_SENT_DATAGRAMS: Metric =
    edge("netcause_udp_sent_datagrams", Kind::Counter, &[], "UDP datagrams sent.");
/// Datagrams in.
pub const UDP_RECEIVED_DATAGRAMS: Metric = edge(
    "netcause_udp_received_datagrams",
    Kind::Counter,
    &[],
    "UDP datagrams that arrived at a socket, those of netcause_udp_receive_drops_total included.",
);
/// Datagrams lost here.
pub const UDP_RECEIVE_DROPS: Metric = edge(
    "netcause_udp_receive_drops",
    Kind::Counter,
    &[],
    "UDP datagrams that found the receive buffer full, or no memory. Older kernels (6.1, not 6.12) do not tell \
     those of IPv6, nor who sent them to a socket that is not connected: the client is unknown then.",
);
/// Resets.
pub const RESETS: Metric = edge(
    "netcause_tcp_resets",
    Kind::Counter,
    &["direction"],
    "TCP resets, those that refuse a connection included. A reset sent for a port where nothing listens is seen on \
     newer kernels (6.12, not 6.1), under the network namespace, because no socket owns it.",
);
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
/// Queries.
pub const DNS_QUERIES: Metric = edge(
    "netcause_dns_queries",
    Kind::Counter,
    &["qtype"],
    "DNS queries that clients here sent, over UDP and TCP, each repetition included, by the type they ask for.",
);
/// Answers.
pub const DNS_RESPONSES: Metric = edge(
    "netcause_dns_responses",
    Kind::Counter,
    &["rcode"],
    "DNS answers that reached clients here, by response code. Answers to nothing that was asked are not in it.",
);
/// Latency.
pub const DNS_QUERY_DURATION: Metric = edge(
    "netcause_dns_query_duration_seconds",
    Kind::Histogram,
    &[],
    "Time from a DNS query to its answer as the client felt it: of a query that was repeated under its id, from the \
     first one on. Late answers are in it.",
);
/// Timeouts.
pub const DNS_TIMEOUTS: Metric = edge(
    "netcause_dns_timeouts",
    Kind::Counter,
    &[],
    "DNS queries that were not answered within the configured time (dns_timeout_seconds).",
);
/// Late answers.
pub const DNS_LATE_RESPONSES: Metric = edge(
    "netcause_dns_late_responses",
    Kind::Counter,
    &[],
    "DNS answers that came after that time and were still seen by the client's socket: each is a timeout and an \
     answer.",
);
/// Repetitions.
pub const DNS_RETRIES: Metric = edge(
    "netcause_dns_retries",
    Kind::Counter,
    &[],
    "DNS queries with a question that the same workload waits for already: under the same id, also to another server \
     or after a failure, or under another id when the first has waited for 0.8 seconds.",
);
/// Truncation.
pub const DNS_TRUNCATED: Metric = edge(
    "netcause_dns_truncated",
    Kind::Counter,
    &[],
    "DNS answers that say that they are cut short, so that the client has to ask again over TCP.",
);
/// Unmatched.
pub const DNS_UNMATCHED_RESPONSES: Metric = edge(
    "netcause_dns_unmatched_responses",
    Kind::Counter,
    &[],
    "DNS answers to nothing that the client asked: duplicates, forgeries, and answers to queries that were sent before \
     the agent started or timed out more than a minute ago.",
);
/// Untracked.
pub const DNS_UNTRACKED_QUERIES: Metric = edge(
    "netcause_dns_untracked_queries",
    Kind::Counter,
    &[],
    "DNS queries that found the table of waiting queries full: they and their answers are counted, without latency \
     and timeout.",
);
/// The server's queries.
pub const DNS_SERVER_QUERIES: Metric = own(
    "netcause_dns_server_queries",
    Kind::Counter,
    &["destination_namespace", "destination_workload", "destination_port", "qtype"],
    "DNS queries that reached a server on this node, of all its clients, by the type they ask for.",
);
/// Its answers.
pub const DNS_SERVER_RESPONSES: Metric = own(
    "netcause_dns_server_responses",
    Kind::Counter,
    &["destination_namespace", "destination_workload", "destination_port", "rcode"],
    "DNS answers that a server on this node sent, by response code.",
);
/// Its latency.
pub const DNS_SERVER_DURATION: Metric = own(
    "netcause_dns_server_duration_seconds",
    Kind::Histogram,
    &LISTENER_LABELS,
    "Time from a DNS query's arrival at a server on this node to the answer's departure: the server's own share of \
     what its clients feel.",
);
/// What it leaves.
pub const DNS_SERVER_UNANSWERED: Metric = own(
    "netcause_dns_server_unanswered",
    Kind::Counter,
    &LISTENER_LABELS,
    "DNS queries that a server on this node did not answer within 30 seconds.",
);
/// What found no room.
pub const DNS_SERVER_UNTRACKED: Metric = own(
    "netcause_dns_server_untracked_queries",
    Kind::Counter,
    &LISTENER_LABELS,
    "DNS queries at a server on this node that found the table of waiting queries full: they and their answers are \
     counted, without duration.",
);
/// Search domains.
pub const DNS_SEARCH_EXPANSIONS: Metric = own(
    "netcause_dns_search_expansions",
    Kind::Counter,
    &SOURCE_LABELS,
    "Lookups that search domains wasted: names made with them that do not exist (NXDOMAIN), before the name that was \
     meant was answered. A and AAAA of one name are one lookup. Found in the details of answers, so what those leave \
     out is not in it.",
);
/// The same in queries.
pub const DNS_SEARCH_WASTED_QUERIES: Metric = own(
    "netcause_dns_search_wasted_queries",
    Kind::Counter,
    &SOURCE_LABELS,
    "The same in queries: to be compared with netcause_dns_queries_total.",
);
/// Garbage.
pub const DNS_MALFORMED: Metric = own(
    "netcause_dns_malformed_messages",
    Kind::Counter,
    &[],
    "Packets at a DNS port that are too short for DNS, or go the wrong way.",
);
/// TCP.
pub const DNS_UNFOLLOWED: Metric = own(
    "netcause_dns_unfollowed_messages",
    Kind::Counter,
    &[],
    "Places in TCP connections of DNS where messages could not be followed: their first octets were cut apart, lost, \
     or out of order. What is there is not counted as queries and answers.",
);
/// Details.
pub const DNS_DETAILS: Metric = own(
    "netcause_dns_details",
    Kind::Counter,
    &["outcome"],
    "Details of DNS answers, which names come from: received by the daemon, or left_out because there were more than \
     dns_details_per_second. No other metric but those of search domains depends on them.",
);
/// Build.
pub const BUILD: Metric = own("netcause_build", Kind::Info, &["version"], "The agent.");
/// Kernel.
pub const KERNEL: Metric = own("netcause_kernel", Kind::Info, &["release"], "The kernel it runs on.");

/// All of them, in the order of the exposition.
#[cfg(test)]
pub const ALL: [&Metric; 58] = [
    &CONNECTIONS_OPENED,
    &CONNECTIONS_CLOSED,
    &CONNECTIONS_OPEN,
    &CONNECT_FAILURES,
    &CONNECT_DURATION,
    &RETRANSMITTED_SEGMENTS,
    &RESETS,
    &SENT_BYTES,
    &RECEIVED_BYTES,
    &SENT_SEGMENTS,
    &RECEIVED_SEGMENTS,
    &SPURIOUS_RETRANSMITS,
    &REORDERED_SEGMENTS,
    &RTT,
    &MIN_RTT,
    &LIMITED_SECONDS,
    &UDP_SENT_BYTES,
    &UDP_RECEIVED_BYTES,
    &UDP_SENT_DATAGRAMS,
    &UDP_RECEIVED_DATAGRAMS,
    &UDP_RECEIVE_DROPS,
    &DNS_QUERIES,
    &DNS_RESPONSES,
    &DNS_QUERY_DURATION,
    &DNS_TIMEOUTS,
    &DNS_LATE_RESPONSES,
    &DNS_RETRIES,
    &DNS_TRUNCATED,
    &DNS_UNMATCHED_RESPONSES,
    &DNS_UNTRACKED_QUERIES,
    &DNS_SERVER_QUERIES,
    &DNS_SERVER_RESPONSES,
    &DNS_SERVER_DURATION,
    &DNS_SERVER_UNANSWERED,
    &DNS_SERVER_UNTRACKED,
    &LISTEN_DROPS,
    &ACCEPT_QUEUE_LENGTH,
    &ACCEPT_QUEUE_LIMIT,
    &DNS_SEARCH_EXPANSIONS,
    &DNS_SEARCH_WASTED_QUERIES,
    &PROBE_UP,
    &EVENTS_LOST,
    &DNS_MALFORMED,
    &DNS_UNFOLLOWED,
    &DNS_DETAILS,
    &FLOWS_FOLDED,
    &MAP_ENTRIES,
    &MAP_LIMIT,
    &SERIES,
    &SERIES_LIMIT,
    &SERIES_FOLDED,
    &SWEEP_DURATION,
    &SCRAPE_DURATION,
    &BPF_RUN_SECONDS,
    &BPF_RUNS,
    &BPF_SKIPPED_RUNS,
    &BUILD,
    &KERNEL,
];

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;
    use std::{env, fs};

    use super::*;

    fn reference() -> String {
        let mut text = String::from(
            "# Metrics\n\nMade by `cargo xtask docs` from `agent/src/expose/catalogue.rs`.\n\n\
             The edge labels are on everything that concerns a pair of workloads: ",
        );
        text.push_str(&EDGE_LABELS.map(|label| format!("`{label}`")).join(", "));
        text.push_str(
            ". `reporter` is `source` when this node runs the client, `destination` when it runs the server. A series \
             appears with its first event; what is absent is zero.\n\n| name | type | labels | meaning |\n|---|---|---|---|\n",
        );
        for metric in ALL {
            let mut labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            if metric.edge {
                labels.insert(0, "edge".to_owned());
            }
            let kind = format!("{:?}", metric.kind).to_lowercase();
            writeln!(
                text,
                "| `{}` | {kind} | {} | {} |",
                metric.sample_name(),
                labels.join(", "),
                metric.help
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn docs_metrics_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if env::var_os("NETCAUSE_BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, reference()).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/metrics.md is not what the catalogue says: run `cargo xtask docs`"
        );
    }

    #[test]
    fn help_needs_no_escape_and_names_are_ours() {
        for metric in ALL {
            assert!(!metric.help.contains(['"', '\\', '\n']), "{}", metric.name);
            assert!(
                metric.name.starts_with("netcause_") && !metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
        }
    }
}
