use std::time::Duration;

use netcause_common::dns::DnsCounters;

use super::*;
use netcause_core::aggregate::dns::search::Waste;
use netcause_core::ingest::dns::Name;

fn label(text: &str) -> Label {
    Label::Plain(text.parse::<Name>().unwrap())
}

fn counters() -> DnsCounters {
    let mut counters = DnsCounters {
        queries: [5, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        responses: [4, 1, 1, 2, 0, 0, 0, 0, 0],
        retries: 1,
        truncated: 2,
        timeouts: 3,
        abandoned: 6,
        late: 1,
        ..DnsCounters::ZERO
    };
    counters.duration.buckets[0] = 3;
    counters.duration.buckets[4] = 1;
    counters.duration.sum = 3_000_000;
    counters
}

fn row(workload: &Workload) -> WorkloadRow {
    let gone = NameStats { queries: 4, nxdomain: 4, timeouts: 0, ..NameStats::default() };
    let slow = NameStats {
        queries: 3,
        failures: 1,
        timeouts: 1,
        answers: 2,
        sum: Duration::from_millis(50),
        max: Duration::from_millis(40),
        at_most_missed: 7,
        ..NameStats::default()
    };
    let (gone, slow) = ((label("db.prod.svc.lan"), gone), (label("db"), slow));
    WorkloadRow {
        workload: workload.clone(),
        searched: Searched { waste: Waste { expansions: 1, queries: 2 }, queries: 8 },
        lists: Lists {
            by_volume: vec![gone, slow.clone()],
            by_failures: vec![slow.clone()],
            by_latency: vec![slow],
        },
        resolved: vec![ResolvedRow {
            address: [10, 0, 0, 9].into(),
            label: label("db"),
            expires_in: Duration::from_millis(61_500),
        }],
    }
}

#[test]
fn the_answer_is_as_documented() {
    let app = Workload::plain("app");
    let resolver = |last| Workload::Address([10, 0, 0, last].into());
    let other = ServerRow::new(&Workload::Other, None, &DnsCounters::ZERO);
    let servers = vec![
        (Workload::Other, other),
        (app.clone(), ServerRow::new(&resolver(53), Some(53), &counters())),
        (app.clone(), ServerRow::new(&resolver(11), Some(5353), &DnsCounters::ZERO)),
    ];
    let details = Details { received: 10, rate_limited: 3, lost: 1 };
    let body = Body::new(DnsNames::Shown, details, servers.clone(), &[row(&app)]);
    let text = serde_json::to_string_pretty(&body).unwrap();
    assert_eq!(text, include_str!("golden.json").trim_end());

    let backwards = servers.into_iter().rev();
    let body = Body::new(DnsNames::Shown, details, backwards, &[row(&app)]);
    assert_eq!(serde_json::to_string_pretty(&body).unwrap(), text);
}

#[test]
fn nothing_is_a_valid_answer() {
    let body = Body::new(DnsNames::Off, Details::default(), Vec::new(), &[]);
    let expected = r#"{"names":"off","details":{"received":0,"rate_limited":0,"lost":0},"workloads":[]}"#;
    assert_eq!(serde_json::to_string(&body).unwrap(), expected);
}
