use std::sync::Arc;

use super::*;
use crate::enrich::Workload;

fn full() -> Snapshot {
    let edge = |reporter, source, destination, port| Edge { reporter, source, destination, port };
    let named = |name: &str| Workload::Named(Arc::from(name));
    let mut counters = FlowCounters {
        opened: 3,
        closed: 2,
        connect_failures: [1; 8],
        retransmitted_segments: [2; 7],
        resets: [1, 4],
        ..FlowCounters::ZERO
    };
    counters.connect_duration.buckets[3] = 2;
    counters.connect_duration.buckets[17] = 1;
    counters.connect_duration.sum_ns = 12_000_800_000;
    let address = Workload::Address([10, 0, 0, 9].into());
    Snapshot {
        edges: BTreeMap::from([
            (edge(Reporter::Source, named("app \"x\"\\1"), address.clone(), Some(443)), counters),
            (edge(Reporter::Destination, address, named("nginx.service"), Some(80)), FlowCounters::ZERO),
            (edge(Reporter::Source, Workload::Other, Workload::Other, None), FlowCounters::ZERO),
        ]),
        own: Own {
            probes: vec![
                ("tcp_state", None),
                ("tcp_reset", Some("this kernel has no tracepoint x".to_owned())),
            ],
            events_lost: vec![("tcp_reset", "ring", 5)],
            flows_folded: 6,
            maps: vec![("flows", 3, 16_384)],
            programs: vec![ProgramCost {
                program: "tcp_state",
                run_time: Duration::from_micros(1500),
                runs: 7,
                skipped: 2,
            }],
            scrapes: {
                let mut scrapes = Durations::default();
                scrapes.observe(Duration::from_millis(2));
                scrapes.observe(Duration::from_secs(2));
                scrapes
            },
            kernel_release: "6.1.0-50-cloud-amd64".to_owned(),
        },
    }
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
