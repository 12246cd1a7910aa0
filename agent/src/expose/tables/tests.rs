mod node;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use netcause_common::dns::DnsCounters;
use netcause_common::drops::{DropDirection, DropReason};
use netcause_common::flow::{TcpCounters, UdpCounters};
use netcause_common::probe::ProbeId;
use netcause_common::probe::open_sockets::AcceptQueue;
use netcause_common::statistics::Statistic;
use netcause_core::aggregate::drops::Row;
use netcause_core::aggregate::listeners::Dropped;
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::turn::{On, Waits};
use netcause_core::aggregate::windows;
use netcause_core::aggregate::{Edge, Reporter, Via};
use netcause_core::diagnose::cause::{Cause, Side};
use netcause_core::enrich::Workload;
use netcause_core::enrich::name::Name;
use netcause_core::enrich::sidecar::Direction;

use super::agent::Durations;
use super::otlp;
use super::shared::EDGE_LABELS;
use super::*;
use crate::expose::births::Reader;
use crate::expose::findings::tests::finding;
use crate::expose::prometheus::{Format, render};
use crate::expose::series::Metric;
use crate::expose::snapshot::{
    AgentView, Down, DropRow, EdgeRow, FindingsView, KernelCounters, ListenerRow, MapRow, NamesView,
    PeerNodeRow, ProbeRow, ProgramRow, SearchRow, SeriesBudget, SourceRow, SweepRow,
};
use crate::expose::status;

/// A view that has every metric.
pub(crate) fn full() -> Snapshot {
    let row = |reporter, source, destination, port, totals| EdgeRow {
        edge: Arc::new(Edge { reporter, source, destination, service: None, port, via: Via::Direct }),
        totals,
    };
    let named = Workload::plain;
    let in_shop = |name: &str| Workload::Named(Name::new("shop", name));
    let mut tcp = TcpCounters {
        opened: 3,
        closed: [2, 1, 1, 1, 1, 1],
        open: 1,
        sent_bytes: 1_000_000,
        received_bytes: 20,
        sent_segments: 700,
        received_segments: 400,
        spurious_retransmits: 1,
        reordered_segments: 5,
        reordering_events: 4,
        limited_ticks: [250, 125, 1],
        connect_failures: [1; 8],
        retransmitted_segments: [2; 7],
        full_size_retransmits: 6,
        timeouts: [7, 3, 2],
        timeouts_after_idle: 1,
        resets: [6, 4],
        resets_sent: [1; 6],
        retransmitted_after_drop: [0, 3, 0, 0, 1, 0, 0, 0],
        ..TcpCounters::ZERO
    };
    tcp.connect_duration.buckets[3] = 2;
    tcp.connect_duration.buckets[21] = 1;
    tcp.connect_duration.sum = 72_000_800_000;
    tcp.rtt.buckets[2] = 4;
    tcp.rtt.buckets[18] = 1;
    tcp.rtt.sum = 12_000_600;
    tcp.min_rtt.buckets[0] = 5;
    tcp.min_rtt.sum = 150;
    let udp = UdpCounters {
        sent_bytes: 100,
        received_bytes: 900,
        sent_datagrams: 4,
        received_datagrams: 9,
        receive_drops: 1,
        icmp_errors: [3, 2, 0, 1],
    };
    let mut dns = DnsCounters {
        queries: [3; 11],
        responses: [2; 9],
        retries: 4,
        truncated: 1,
        timeouts: 5,
        refused: 3,
        abandoned: 8,
        late: 2,
        unmatched: 6,
        untracked: 7,
        ..DnsCounters::ZERO
    };
    dns.duration.buckets[0] = 9;
    dns.duration.buckets[19] = 1;
    dns.duration.sum = 33_000_700_000;
    let mut waits = Waits::ZERO;
    waits.waited_us[On::PeerApplication as usize] = 2_500_000;
    waits.waited_us[On::Idle as usize] = 40_000_000;
    waits.waiting[On::Idle as usize] = 3;
    waits.responses.buckets[8] = 2;
    waits.responses.sum = 1_900;
    waits.unacknowledged.buckets[14] = 1;
    waits.unacknowledged.sum = 41_000;
    waits.unanswered.buckets[8] = 3;
    waits.unanswered.sum = 6_200;
    waits.used = [40, 2];
    waits.queueing.buckets[1] = 41;
    waits.queueing.buckets[8] = 1;
    waits.queueing.sum = 46_000;
    let address = Workload::Address([10, 0, 0, 9].into());
    let source = named("app \"x\"\\1");
    Snapshot {
        edges: vec![
            row(Reporter::Source, source, address.clone(), Some(443), Totals { tcp, udp, dns, waits }),
            row(
                Reporter::Destination,
                address,
                named("nginx.service"),
                Some(80),
                Totals { tcp: TcpCounters { opened: 1, ..TcpCounters::ZERO }, dns, ..Totals::ZERO },
            ),
            EdgeRow {
                edge: Arc::new(Edge {
                    reporter: Reporter::Source,
                    source: in_shop("front"),
                    destination: in_shop("back"),
                    service: Some(Name::new("shop", "back-service")),
                    port: Some(80),
                    via: Via::Sidecar,
                }),
                totals: Totals { tcp: TcpCounters { opened: 9, ..TcpCounters::ZERO }, ..Totals::ZERO },
            },
            EdgeRow {
                edge: Arc::new(Edge {
                    reporter: Reporter::Source,
                    source: in_shop("front"),
                    destination: Workload::Several,
                    service: Some(Name::new("infra", "gateway")),
                    port: Some(443),
                    via: Via::Direct,
                }),
                totals: Totals { tcp: TcpCounters { opened: 8, ..TcpCounters::ZERO }, ..Totals::ZERO },
            },
            EdgeRow {
                edge: Arc::new(Edge {
                    reporter: Reporter::Destination,
                    source: in_shop("front"),
                    destination: in_shop("front"),
                    service: None,
                    port: Some(15001),
                    via: Via::OwnSidecar(Direction::Outbound),
                }),
                totals: Totals { tcp, ..Totals::ZERO },
            },
            row(Reporter::Source, Workload::Other, Workload::Other, None, Totals::ZERO),
        ],
        listeners: vec![ListenerRow {
            workload: named("nginx.service"),
            port: Some(80),
            queue: AcceptQueue {
                sweep: 1,
                discards: 12,
                length: 129,
                limit: 128,
                requests: 3,
                ..AcceptQueue::default()
            },
            oldest: Duration::from_millis(2500),
            dropped: Dropped { handshakes: [9, 0, 1], cookies: 3 },
        }],
        names: NamesView {
            sources: vec![
                SourceRow {
                    source: "api",
                    kind: "pod",
                    down: Some(Down { reason: "unreachable", message: "the server is away".to_owned() }),
                    age: Some(Duration::from_millis(1500)),
                    failures: vec![("unreachable", 3)],
                },
                SourceRow { source: "file", kind: "", down: None, age: None, failures: Vec::new() },
            ],
            objects: vec![("pod", 110)],
            dropped: vec![("endpoint", 2)],
            cgroup_walks: vec![("complete", 7)],
            conntrack: vec![("found", 4)],
            external: (5, 100),
            zones: vec![("node-7".to_owned(), "eu-1a".to_owned())],
        },
        drops: vec![DropRow {
            row: Row {
                workload: in_shop("front"),
                peer: in_shop("back"),
                direction: DropDirection::Sent.label(),
                reason: DropReason::NetfilterDrop as u8,
            },
            packets: 5,
        }],
        searches: vec![SearchRow { workload: named("app"), expansions: 3, wasted_queries: 6 }],
        peer_nodes: vec![
            PeerNodeRow { node: "node-8".to_owned(), zone: "eu-1b".to_owned(), totals: tcp },
            PeerNodeRow {
                node: "unknown".to_owned(),
                zone: String::new(),
                totals: TcpCounters { opened: 1, ..TcpCounters::ZERO },
            },
        ],
        tick: Duration::from_millis(4),
        findings: FindingsView {
            active: vec![Arc::new(finding())],
            found: vec![(Cause::PathLoss, Side::Path, 2)],
            events: Some([("written", 1), ("failed", 0), ("rate_limited", 0)]),
        },
        node: node::view(),
        agent: AgentView {
            probes: vec![
                probe(ProbeId::TcpState, "tcp_state", None),
                probe(ProbeId::TcpReset, "tcp_reset", Some("this kernel has no tracepoint x")),
            ],
            kernel: kernel_counters(),
            counts: AgentCounts {
                dns_events: 30,
                sweeps: durations(&[1, 30]),
                swept: [15, 2],
                node_reads: durations(&[3]),
                scrapes: durations(&[2, 2000]),
                lost_log_lines: 4,
                recorded: Recorded { bytes: 81_920, windows: 36, lost: 2 },
                refused: [3, 5, 1],
                is_web_outdated: true,
                unread_namespaces: 1,
            },
            series: SeriesBudget { shown: 75, limit: 10_000, folded: 3, cut_short: 2 },
            folded_peer_nodes: 2,
            windows: ["edges", "peer_nodes", "listeners", "node"]
                .map(|of| {
                    let (reach, max_bytes) = (Duration::from_secs(630), 6 << 20);
                    (of, windows::Statistics { bytes: 81_920, max_bytes, reach, dropped: 2, folded: 1 })
                })
                .into(),
            exports: ["metrics", "findings"]
                .map(|signal| {
                    let exported = otlp::Exported {
                        exported: 9_000,
                        dropped: std::array::from_fn(|index| 2 * index as u64),
                        failed: std::array::from_fn(|index| index as u64),
                        waiting_items: 700,
                        waiting_bytes: 16_384,
                        limit_bytes: 4_194_304,
                    };
                    (signal, exported)
                })
                .into(),
            maps: vec![MapRow { map: "tcp_flows", entries: 3, limit: 16_384 }],
            programs: vec![ProgramRow {
                program: "tcp_state",
                run_time: Duration::from_micros(1500),
                runs: 7,
                recursion_misses: 2,
            }],
            kernel_release: "6.1.0-50-cloud-amd64".to_owned(),
            node: "node-17".to_owned(),
            running: Duration::from_secs(7_300),
            last_sweep: Some(SweepRow { age: Duration::from_millis(1_250), took: Duration::from_millis(30) }),
        },
        ..Snapshot::default()
    }
}

fn probe(id: ProbeId, name: &'static str, down: Option<&str>) -> ProbeRow {
    let down = down.map(|message| Down { reason: "kernel_feature_missing", message: message.to_owned() });
    ProbeRow { id, name, emits: true, without: "what it counts", down }
}

fn kernel_counters() -> KernelCounters {
    let mut counters = KernelCounters::default();
    for (statistic, count) in [
        (Statistic::DnsMalformed, 1),
        (Statistic::DnsUnfollowed, 2),
        (Statistic::DnsDetailsLeftOut, 4),
        (Statistic::FlowsFolded, 6),
        (Statistic::DropsFolded, 7),
        (Statistic::DropsForgotten, 8),
    ] {
        counters.0[statistic as usize] = count;
    }
    counters.0[Statistic::EventsLost as usize + ProbeId::TcpReset as usize] = 5;
    counters
}

fn durations(milliseconds: &[u64]) -> Durations {
    let mut durations = Durations::default();
    milliseconds.iter().for_each(|duration| durations.observe(Duration::from_millis(*duration)));
    durations
}

/// The written exposition.
fn text(snapshot: &Arc<Snapshot>) -> String {
    render(snapshot, Format::Prometheus, Reader::FRANK).unwrap()
}

/// Compares a generated document with the file, or writes it when told to.
fn golden(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if env::var_os("NETCAUSE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let path = path.display();
    assert!(written == text, "{path} is not what the tables say; `cargo xtask docs` writes it anew:\n{text}");
}

#[test]
fn as_many_series_are_counted_as_are_written() {
    let snapshot = Arc::new(full());
    let counted: usize = snapshot.edges.iter().map(|row| series(&row.edge, &row.totals)).sum();
    // Every edge and every leg says which end it is.
    let of_edges = |line: &&str| line.contains("reporter=") || line.starts_with("netcause_dns_server_");
    assert_eq!(counted, text(&snapshot).lines().filter(of_edges).count());
}

#[test]
fn the_exposition_is_the_golden_one() {
    golden("tests/golden/metrics.txt", &text(&Arc::new(full())));
}

#[test]
fn the_status_is_the_golden_one() {
    let text = serde_json::to_string_pretty(&status::Answer::new(&full())).unwrap();
    golden("tests/golden/status.json", &format!("{text}\n"));
}

#[test]
fn docs_metrics_is_current() {
    let mut text = String::from(
        "# Metrics\n\nMade by `cargo xtask docs` from `agent/src/expose/tables`.\n\n\
         The edge labels are on everything that concerns a pair of workloads: ",
    );
    text.push_str(&EDGE_LABELS.map(|label| format!("`{label}`")).join(", "));
    text.push_str(
        ". `reporter` is `source` when this node runs the client, `destination` when it runs the server. `via` is \
         `sidecar` when the connection goes through a sidecar of that end, and empty otherwise. Series of edges and \
         sidecars appear with their first event, to each Prometheus once as 0 before their first value; what is absent is \
         zero.\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in families(&Snapshot::default()) {
        let labels: Vec<_> = family.labels().collect();
        let (first, labels) = match labels.strip_prefix(&EDGE_LABELS) {
            Some(labels) => (Some("edge".to_owned()), labels),
            None => (None, labels.as_slice()),
        };
        let labels: Vec<_> =
            first.into_iter().chain(labels.iter().map(|label| format!("`{label}`"))).collect();
        let (metric, labels) = (family.metric, labels.join(", "));
        let kind = format!("{:?}", metric.kind).to_lowercase();
        writeln!(text, "| `{}` | {kind} | {labels} | {} |", metric.sample_name(), metric.help).unwrap();
    }
    golden("docs/metrics.md", &text);
}

#[test]
fn names_are_unique_and_help_needs_no_escape() {
    let mut names = HashSet::new();
    for Metric { name, help, .. } in families(&Snapshot::default()).map(|family| family.metric) {
        assert!(names.insert(*name), "{name} is declared twice");
        assert!(name.starts_with("netcause_") && !name.ends_with("_total"), "{name}");
        assert!(!help.contains(['"', '\\', '\n']) && !help.contains("  "), "{name}");
        let unit = ["_seconds", "_bytes"].into_iter().find(|unit| name.contains(unit));
        assert!(unit.is_none_or(|unit| name.ends_with(unit)), "{name} does not end in its unit");
    }
}

#[test]
fn every_declared_metric_is_emitted_with_its_labels() {
    let snapshot = Arc::new(full());
    let text = text(&snapshot);
    for family in families(&snapshot) {
        let name = family.metric.sample_name();
        let sample = text.lines().find(|line| line.starts_with(&name) && !line.starts_with('#'));
        let sample = sample.unwrap_or_else(|| panic!("{name} is declared and never emitted"));
        for label in family.labels() {
            assert!(sample.contains(&format!("{label}=")), "{sample} lacks {label}");
        }
    }
}

#[test]
fn open_metrics_has_units_escapes_and_an_end() {
    let text = render(&Arc::new(full()), Format::OpenMetrics { created: false }, Reader::FRANK).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE netcause_tcp_connections_opened counter\n"));
    assert!(text.contains("# UNIT netcause_tcp_rtt_seconds seconds\n"));
    assert!(text.contains("source_workload=\"app \\\"x\\\"\\\\1\""), "label values are escaped");
}

/// Names and labels of all samples.
fn samples(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

#[test]
fn no_two_samples_have_the_same_labels() {
    let app = Workload::plain("app");
    let edge = |source: &Workload, port, via| Edge {
        reporter: Reporter::Source,
        source: source.clone(),
        destination: app.clone(),
        service: None,
        port: Some(port),
        via,
    };
    let row = |edge, opened| {
        let mut tcp = TcpCounters { opened, open: 1, ..TcpCounters::ZERO };
        tcp.resets[0] = opened;
        tcp.rtt.buckets[0] = opened;
        tcp.rtt.sum = 40 * opened;
        let dns = DnsCounters { queries: [opened; 11], ..DnsCounters::ZERO };
        EdgeRow { edge: Arc::new(edge), totals: Totals { tcp, dns, ..Totals::ZERO } }
    };
    // One application uses two ports through its sidecar; two kinds of unknown peers are shown alike; a DNS server is
    // shown without its clients.
    let sidecar = Via::OwnSidecar(Direction::Outbound);
    let server =
        |source: &Workload| Edge { reporter: Reporter::Destination, ..edge(source, 53, Via::Direct) };
    let queue = AcceptQueue { discards: 1, length: 2, limit: 9, sweep: 1, ..AcceptQueue::default() };
    let dropped = Dropped { handshakes: [1, 0, 2], cookies: 4 };
    let snapshot = Snapshot {
        edges: vec![
            row(edge(&app, 80, sidecar), 2),
            row(edge(&Workload::Unknown, 80, Via::Direct), 10),
            row(edge(&app, 9000, sidecar), 3),
            row(edge(&Workload::Backend, 80, Via::Direct), 20),
            row(server(&Workload::Any), 100),
            row(server(&Workload::Other), 200),
        ],
        listeners: vec![
            ListenerRow {
                workload: Workload::Unknown,
                port: Some(80),
                queue,
                oldest: Duration::ZERO,
                dropped,
            },
            ListenerRow {
                workload: Workload::Backend,
                port: Some(80),
                queue: AcceptQueue { length: 5, ..queue },
                oldest: Duration::from_secs(4),
                dropped,
            },
        ],
        agent: AgentView {
            maps: vec![
                MapRow { map: "tcp_flows", entries: 1, limit: 9 },
                MapRow { map: "tcp_flows", entries: 2, limit: 9 },
            ],
            ..AgentView::default()
        },
        ..Snapshot::default()
    };
    let text = text(&Arc::new(snapshot));
    let samples = samples(&text);
    assert_eq!(samples.iter().collect::<HashSet<_>>().len(), samples.len(), "{text}");
    for line in [
        "netcause_sidecar_connections_opened_total{reporter=\"source\",namespace=\"\",workload=\"app\",leg=\"outbound\"} 5",
        "netcause_sidecar_resets_total{reporter=\"source\",namespace=\"\",workload=\"app\",leg=\"outbound\",\
         direction=\"sent\"} 5",
        "netcause_tcp_rtt_seconds_sum{reporter=\"source\",source_namespace=\"\",source_workload=\"unknown\",\
         destination_namespace=\"\",destination_workload=\"app\",destination_service=\"\",destination_port=\"80\",\
         via=\"\"} 0.0012",
        "netcause_dns_server_queries_total{destination_namespace=\"\",destination_workload=\"app\",\
         destination_port=\"53\",qtype=\"A\"} 300",
        "netcause_tcp_accept_queue_length{destination_namespace=\"\",destination_workload=\"unknown\",\
         destination_port=\"80\"} 5",
        "netcause_tcp_listener_discards_total{destination_namespace=\"\",destination_workload=\"unknown\",\
         destination_port=\"80\"} 2",
        "netcause_tcp_listen_drops_total{destination_namespace=\"\",destination_workload=\"unknown\",\
         destination_port=\"80\",reason=\"other\"} 4",
        "netcause_map_entries{map=\"tcp_flows\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}

#[test]
fn the_full_exposition_has_no_sample_twice() {
    let text = text(&Arc::new(full()));
    let samples = samples(&text);
    assert_eq!(samples.iter().collect::<HashSet<_>>().len(), samples.len());
}
