//! Every metric, declared once. `docs/metrics.md` is made from this table, and tests hold the exposition to it.

mod dns;
mod names;
mod own;
mod sidecar;
mod tcp;
mod udp;

pub use dns::*;
pub use names::*;
pub use own::*;
pub use sidecar::*;
pub use tcp::*;
pub use udp::*;

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
pub const EDGE_LABELS: [&str; 8] = [
    "reporter",
    "source_namespace",
    "source_workload",
    "destination_namespace",
    "destination_workload",
    "destination_service",
    "destination_port",
    "via",
];

/// On what concerns a workload and its own sidecar.
pub const SIDECAR_LABELS: [&str; 4] = ["reporter", "namespace", "workload", "leg"];

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

/// All of them, in the order of the exposition.
#[cfg(test)]
pub const ALL: [&Metric; 74] = [
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
    &SIDECAR_CONNECTIONS_OPENED,
    &SIDECAR_CONNECT_FAILURES,
    &SIDECAR_RESETS,
    &SIDECAR_SENT_BYTES,
    &SIDECAR_RECEIVED_BYTES,
    &SIDECAR_RETRANSMITTED_SEGMENTS,
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
    &NAMES_SOURCE_UP,
    &NAMES_SOURCE_AGE,
    &NAMES_SOURCE_FAILURES,
    &NAMES_OBJECTS,
    &NAMES_OBJECTS_DROPPED,
    &CGROUP_WALKS,
    &CONNTRACK_LOOKUPS,
    &OUTSIDE_NAMES,
    &OUTSIDE_NAMES_LIMIT,
    &NAMES_NODE_ZONE,
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
            ". `reporter` is `source` when this node runs the client, `destination` when it runs the server. `via` is \
             `sidecar` when the connection goes through a sidecar of that end, and absent otherwise. A series \
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
