use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::TcpCounters;
use netcause_core::aggregate::Reporter;
use netcause_core::aggregate::model::{Counting, EdgeWindows};
use netcause_core::enrich::Workload as End;

use super::*;

fn edge(source: &str) -> Arc<Edge> {
    let destination = End::plain("server");
    Arc::new(Edge {
        source: End::plain(source),
        destination,
        port: Some(80),
        ..Edge::other(Reporter::Source)
    })
}

fn tcp(tcp: TcpCounters) -> Totals {
    Totals { tcp, ..Totals::ZERO }
}

/// Two pairs, ten seconds, and two edges of one pair's name.
fn lately() -> Lately {
    let mut windows = EdgeWindows::new(1 << 20);
    windows.end_reading(Duration::from_secs(100));
    let mut failing = TcpCounters { sent_bytes: 10, sent_segments: 200, ..TcpCounters::ZERO };
    failing.connect_failures[0] = 20;
    failing.retransmitted_segments[1] = 5;
    failing.rtt.buckets[3] = 4;
    failing.rtt.sum = 2000;
    windows.count(Counting::Edge(1), &edge("failing"), &tcp(failing));
    let large = TcpCounters { opened: 1, sent_bytes: 1000, received_bytes: 50, ..TcpCounters::ZERO };
    windows.count(Counting::Edge(2), &edge("large"), &tcp(large));
    windows.end_reading(Duration::from_secs(105));
    windows.ended(&Counting::Edge(2));
    windows.count(Counting::Edge(3), &edge("large"), &tcp(large));
    windows.end_reading(Duration::from_secs(110));
    Lately { edges: windows.recent(), read_at: 7, interval: Duration::from_secs(10), ..Lately::default() }
}

fn answer(query: &str) -> Answer {
    Answer::new(&lately(), &Query::parse(query).unwrap())
}

#[test]
fn rates_are_of_the_time_covered() {
    let answer = answer("");
    let summary = (answer.read_at, answer.requested_seconds, answer.covered_seconds, answer.edges_total);
    assert_eq!(summary, (7, 60.0, 10.0, 2));
    assert_eq!(
        (answer.windows, answer.longest_window_seconds, answer.reading_interval_seconds),
        (2, 5.0, 10.0)
    );
    let [large, failing] = &answer.edges[..] else { panic!("{answer:?}") };
    assert_eq!(large.labels.source_workload, "large");
    let large = large.tcp.as_ref().unwrap();
    // Both edges of this name are one pair.
    assert_eq!((large.sent_bytes, large.sent_bytes_per_second), (2000, Some(200.0)));
    assert_eq!((large.connections_opened_per_second, large.retransmitted_share), (Some(0.2), None));
    let failing = failing.tcp.as_ref().unwrap();
    assert_eq!(failing.retransmitted_share, Some(0.025));
    assert_eq!(failing.connect_failures, [("refused".to_owned(), 20)].into());
    assert_eq!((failing.connect_failures_per_second, failing.rtt_mean_seconds), (Some(2.0), Some(0.0005)));
}

#[test]
fn a_query_chooses() {
    let sources = |query: &str| -> Vec<String> {
        answer(query).edges.into_iter().map(|row| row.labels.source_workload).collect()
    };
    assert_eq!(sources("sort=bytes"), ["large", "failing"]);
    for sort in ["retransmits", "rtt", "failures"] {
        assert_eq!(sources(&format!("sort={sort}")), ["failing", "large"], "{sort}");
    }
    assert_eq!(sources("workload=failing"), ["failing"]);
    assert_eq!(sources("workload=%2Flarge"), ["large"]);
    assert_eq!(sources("workload=server").len(), 2);
    assert!(sources("workload=shop/large").is_empty() && sources("workload=nothing").is_empty());
    assert_eq!((sources("limit=1"), answer("limit=1").edges_total), (vec!["large".to_owned()], 2));
    // The last window alone.
    assert_eq!((sources("window=1s"), answer("window=5").covered_seconds), (vec!["large".to_owned()], 5.0));
}

#[test]
fn what_is_wrong_is_named_with_what_it_may_be() {
    for (query, words) in [
        ("window=0s", ["window=0s", "1s to 10m"]),
        ("window=11m", ["window=11m", "1s to 10m"]),
        ("window=-1", ["window=-1", "1s to 10m"]),
        ("window=99999999999999999999m", ["window", "1s to 10m"]),
        ("sort=name", ["sort=name", "bytes, retransmits, rtt, failures"]),
        ("limit=0", ["limit=0", "1 to 1000"]),
        ("limit=1001", ["limit=1001", "1 to 1000"]),
        ("workload=shop/", ["workload=shop/", "NAMESPACE/NAME"]),
        ("sort=rtt&sort=bytes", ["sort", "twice"]),
        ("windows=5s", ["windows", "window, sort, workload and limit"]),
        ("workload=%zz", ["%zz", "percent-encoded"]),
    ] {
        let error = Query::parse(query).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{query}: {error}");
    }
}

#[test]
fn a_query_is_written_as_it_is_read() {
    for text in ["", "window=5m&sort=rtt&limit=7", "workload=a%20b/c%26d", "workload=%2Finit.scope&window=90"]
    {
        let query = Query::parse(text).unwrap();
        assert_eq!(Query::parse(&query.to_string()), Ok(query));
    }
}

#[test]
fn before_the_first_window_no_rate_is_known() {
    let mut windows = EdgeWindows::new(1 << 20);
    windows.end_reading(Duration::from_secs(100));
    windows.count(Counting::Edge(1), &edge("a"), &tcp(TcpCounters { opened: 3, ..TcpCounters::ZERO }));
    let lately = Lately { edges: windows.recent(), ..Lately::default() };
    let answer = Answer::new(&lately, &Query::default());
    let tcp = answer.edges[0].tcp.as_ref().unwrap();
    assert_eq!(
        (answer.covered_seconds, tcp.connections_opened, tcp.connections_opened_per_second),
        (0.0, 3, None)
    );
}
