use netcause_common::dns::DnsCounters;
use netcause_common::flow::{TcpCounters, UdpCounters};

use super::*;
use netcause_core::aggregate::{Reporter, Via};
use netcause_core::enrich::name::Name;
use netcause_core::enrich::sidecar::Direction;

fn full() -> Snapshot {
    let row = |reporter, source, destination, port, totals| EdgeRow {
        edge: Edge { reporter, source, destination, service: None, port, via: Via::Direct },
        totals,
    };
    let named = Workload::plain;
    let in_shop = |name: &str| Workload::Named(Name::new("shop", name));
    let mut tcp = TcpCounters {
        opened: 3,
        closed: 2,
        open: 1,
        sent_bytes: 1_000_000,
        received_bytes: 20,
        sent_segments: 700,
        received_segments: 400,
        spurious_retransmits: 1,
        reordered_segments: 5,
        limited_ticks: [250, 125, 1],
        connect_failures: [1; 8],
        retransmitted_segments: [2; 7],
        resets: [1, 4],
        ..TcpCounters::ZERO
    };
    tcp.connect_duration.buckets[3] = 2;
    tcp.connect_duration.buckets[17] = 1;
    tcp.connect_duration.sum = 12_000_800_000;
    tcp.rtt.buckets[2] = 4;
    tcp.rtt.buckets[12] = 1;
    tcp.rtt.sum = 12_000_600;
    tcp.min_rtt.buckets[0] = 5;
    tcp.min_rtt.sum = 150;
    let udp = UdpCounters {
        sent_bytes: 100,
        received_bytes: 900,
        sent_datagrams: 4,
        received_datagrams: 9,
        receive_drops: 1,
    };
    let mut dns = DnsCounters {
        queries: [3; 11],
        responses: [2; 7],
        retries: 4,
        truncated: 1,
        timeouts: 5,
        late: 2,
        unmatched: 6,
        untracked: 7,
        ..DnsCounters::ZERO
    };
    dns.duration.buckets[0] = 9;
    dns.duration.buckets[17] = 1;
    dns.duration.sum = 31_000_700_000;
    let address = Workload::Address([10, 0, 0, 9].into());
    let source = named("app \"x\"\\1");
    Snapshot {
        edges: vec![
            row(Reporter::Source, source, address.clone(), Some(443), Totals { tcp, udp, dns }),
            row(
                Reporter::Destination,
                address,
                named("nginx.service"),
                Some(80),
                Totals { tcp: TcpCounters { opened: 1, ..TcpCounters::ZERO }, dns, ..Totals::ZERO },
            ),
            EdgeRow {
                edge: Edge {
                    reporter: Reporter::Source,
                    source: in_shop("front"),
                    destination: in_shop("back"),
                    service: Some(Name::new("shop", "back-service")),
                    port: Some(80),
                    via: Via::Sidecar,
                },
                totals: Totals { tcp: TcpCounters { opened: 9, ..TcpCounters::ZERO }, ..Totals::ZERO },
            },
            EdgeRow {
                edge: Edge {
                    reporter: Reporter::Source,
                    source: in_shop("front"),
                    destination: Workload::Several,
                    service: Some(Name::new("infra", "gateway")),
                    port: Some(443),
                    via: Via::Direct,
                },
                totals: Totals { tcp: TcpCounters { opened: 8, ..TcpCounters::ZERO }, ..Totals::ZERO },
            },
            EdgeRow {
                edge: Edge {
                    reporter: Reporter::Destination,
                    source: in_shop("front"),
                    destination: in_shop("front"),
                    service: None,
                    port: Some(15001),
                    via: Via::OwnSidecar(Direction::Outbound),
                },
                totals: Totals { tcp, ..Totals::ZERO },
            },
            row(Reporter::Source, Workload::Other, Workload::Other, None, Totals::ZERO),
        ],
        listeners: vec![ListenerRow {
            workload: named("nginx.service"),
            port: 80,
            queue: AcceptQueue { sweep: 1, drops: 12, length: 129, limit: 128 },
        }],
        names: NamesOwn {
            sources: vec![
                SourceRow {
                    source: "api",
                    kind: "pod",
                    trouble: Some("the server is away".to_owned()),
                    age: Some(Duration::from_millis(1500)),
                    failures: vec![("unreachable", 3)],
                },
                SourceRow { source: "file", kind: "", trouble: None, age: None, failures: Vec::new() },
            ],
            objects: vec![("pod", 110)],
            dropped: vec![("endpoint", 2)],
            cgroup_walks: vec![("whole", 7)],
            conntrack: vec![("found", 4)],
            outside: (5, 100),
            zones: vec![("node-7".to_owned(), "eu-1a".to_owned())],
        },
        searches: vec![SearchRow { workload: named("app"), expansions: 3, wasted_queries: 6 }],
        tick: Duration::from_millis(4),
        own: Own {
            probes: vec![
                ("tcp_state", None),
                ("tcp_reset", Some("this kernel has no tracepoint x".to_owned())),
            ],
            events_lost: vec![("tcp_reset", "ring", 5)],
            dns: DnsOwn { malformed: 1, unfollowed: 2, details_received: 30, details_left_out: 4 },
            flows_folded: 6,
            series: Series { shown: 75, limit: 10_000, folded: 3 },
            maps: vec![("flows", 3, 16_384)],
            programs: vec![ProgramCost {
                program: "tcp_state",
                run_time: Duration::from_micros(1500),
                runs: 7,
                skipped: 2,
            }],
            sweeps: durations(&[1, 30]),
            scrapes: durations(&[2, 2000]),
            kernel_release: "6.1.0-50-cloud-amd64".to_owned(),
        },
    }
}

fn durations(milliseconds: &[u64]) -> Durations {
    let mut durations = Durations::default();
    milliseconds.iter().for_each(|duration| durations.observe(Duration::from_millis(*duration)));
    durations
}

#[test]
fn as_many_series_are_counted_as_are_written() {
    let snapshot = full();
    let counted: usize = snapshot.edges.iter().map(|row| series(&row.edge, &row.totals)).sum();
    let text = render(snapshot, Format::Prometheus).unwrap();
    // Every edge and every leg says which end it is.
    let of_edges = |line: &&str| line.contains("reporter=") || line.starts_with("netcause_dns_server_");
    let written = text.lines().filter(of_edges).count();
    assert_eq!(counted, written);
}

#[test]
fn the_exposition_is_the_golden_one() {
    let text = render(full(), Format::Prometheus).unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/metrics.txt");
    if std::env::var_os("NETCAUSE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "tests/golden/metrics.txt differs; `cargo xtask docs` writes it anew:\n{text}");
}

#[test]
fn every_declared_metric_is_emitted_with_its_labels() {
    let text = render(full(), Format::Prometheus).unwrap();
    for metric in catalogue::ALL {
        let name = metric.sample_name();
        let sample = text.lines().find(|line| line.starts_with(&name) && !line.starts_with('#'));
        let sample = sample.unwrap_or_else(|| panic!("{name} is declared and never emitted"));
        let edge = if metric.edge { &catalogue::EDGE_LABELS[..] } else { &[] };
        for label in edge.iter().chain(metric.labels) {
            assert!(sample.contains(&format!("{label}=")), "{sample} lacks {label}");
        }
    }
    let declared: Vec<_> = catalogue::ALL.iter().map(|metric| metric.sample_name()).collect();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(declared.iter().any(|declared| declared == name), "{name} is emitted and not declared");
    }
}

#[test]
fn open_metrics_ends_as_it_must() {
    let text = render(full(), Format::OpenMetrics).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE netcause_tcp_connections_opened counter\n"));
    assert!(text.contains("source_workload=\"app \\\"x\\\"\\\\1\""), "label values are escaped");
}
