//! Simulated scrapers, which add up growth as `increase()` does: from the second sample on, and from zero when a value falls.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use hyper::header::{HeaderMap, HeaderValue};
use netcause_common::flow::TcpCounters;
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::{Edge, Reporter, Via};
use netcause_core::enrich::Workload;
use proptest::prelude::*;

use super::*;
use crate::expose::prometheus::{Format, render};
use crate::expose::protobuf;
use crate::expose::snapshot::EdgeRow;

mod engine;

/// When the simulated agents start: seconds since 1970.
const START: u64 = 1_000_000;

/// An agent whose edges are known by the port of their server.
#[derive(Default)]
struct Agent {
    edges: BTreeMap<u16, Totals>,
    exposed: Exposed,
}

impl Agent {
    /// Connects that are refused, and one that takes 30 ms.
    fn burst(&mut self, port: u16, count: u64) {
        let totals = self.edges.entry(port).or_insert(Totals::ZERO);
        totals.tcp.connect_failures[0] += count;
        totals.tcp.connect_duration.buckets[9] += 1;
        totals.tcp.connect_duration.sum += 30_000_000;
    }

    fn view(&self, now: u64) -> Arc<Snapshot> {
        let row = |(port, totals): (&u16, &Totals)| EdgeRow {
            edge: Arc::new(Edge {
                reporter: Reporter::Source,
                source: Workload::plain("app"),
                destination: Workload::External,
                service: None,
                port: Some(*port),
                via: Via::Direct,
            }),
            totals: Totals { tcp: TcpCounters { open: 1, ..totals.tcp }, ..*totals },
        };
        let edges = self.edges.iter().map(row).collect();
        Arc::new(Snapshot {
            edges,
            read_at: START + now,
            at: Duration::from_secs(now),
            counts_since: Some(START),
            ..Snapshot::default()
        })
    }
}

/// A Prometheus.
struct Scraper {
    client: Client,
    _connection: Arc<()>,
    last: HashMap<String, f64>,
    increase: HashMap<String, f64>,
}

impl Scraper {
    fn new() -> Self {
        let connection = Arc::new(());
        let mut headers = HeaderMap::new();
        headers.insert("x-prometheus-scrape-timeout-seconds", HeaderValue::from_static("10"));
        let client = Client::scraper(Ipv4Addr::LOCALHOST.into(), &headers, &connection).unwrap();
        Self { client, _connection: connection, last: HashMap::new(), increase: HashMap::new() }
    }

    fn scrape(&mut self, agent: &mut Agent, now: u64) -> String {
        let view = agent.view(now);
        self.take(&mut agent.exposed, &view, now)
    }

    fn take(&mut self, exposed: &mut Exposed, view: &Arc<Snapshot>, now: u64) -> String {
        let time = Duration::from_secs(now);
        let showing = exposed.show(view, Some(&self.client), time);
        let text = render(view, Format::Prometheus, exposed.reader(showing.seen)).unwrap();
        // Not each time, which would take minutes.
        if now.is_multiple_of(15) {
            protobuf::tests::assert_same(view, exposed.reader(showing.seen));
        }
        exposed.saw(self.client.clone(), &showing, time);
        let samples: HashMap<_, _> = samples(&text).collect();
        for (series, value) in &samples {
            if let Some(before) = self.last.get(series) {
                let growth = if value < before { *value } else { value - before };
                *self.increase.entry(series.clone()).or_default() += growth;
            }
        }
        // A series that is absent has ended.
        self.last = samples;
        text
    }

    /// The increase of all series whose name begins so.
    fn increase(&self, name: &str) -> f64 {
        self.increase.iter().filter(|(series, _)| series.starts_with(name)).map(|(_, value)| value).sum()
    }
}

fn samples(text: &str) -> impl Iterator<Item = (String, f64)> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    })
}

const FAILURES: &str = "netcause_tcp_connect_failures_total";
const COUNT: &str = "netcause_tcp_connect_duration_seconds_count";
const SUM: &str = "netcause_tcp_connect_duration_seconds_sum";

#[test]
fn a_burst_on_a_new_series_is_in_the_increase() {
    for interval in [5, 15, 60] {
        let (mut agent, mut scraper) = (Agent::default(), Scraper::new());
        agent.burst(80, 7);
        for now in (0..interval * 8).step_by(1) {
            if now == interval * 4 + 1 {
                agent.burst(443, 100);
            }
            if now % interval == 0 {
                scraper.scrape(&mut agent, now);
            }
        }
        assert_eq!(scraper.increase(FAILURES), 107.0, "{interval}");
        assert_eq!(scraper.increase(COUNT), 2.0, "{interval}");
        assert!((scraper.increase(SUM) - 0.06).abs() < 1e-9, "{interval}");
        let buckets = "netcause_tcp_connect_duration_seconds_bucket{le=\"+Inf\"";
        assert_eq!(scraper.increase(buckets), 2.0, "{interval}");
    }
}

#[test]
fn two_scrapers_out_of_phase_see_the_zero_both() {
    let mut agent = Agent::default();
    let mut scrapers = [Scraper::new(), Scraper::new(), Scraper::new()];
    for now in 0..180 {
        if now == 100 {
            agent.burst(443, 100);
        }
        for (scraper, (interval, offset)) in scrapers.iter_mut().zip([(15, 0), (15, 7), (60, 11)]) {
            if now % interval == offset {
                scraper.scrape(&mut agent, now);
            }
        }
    }
    for scraper in &mut scrapers {
        scraper.scrape(&mut agent, 200);
        assert_eq!(scraper.increase(FAILURES), 100.0);
    }
}

#[test]
fn a_histogram_is_zero_as_a_whole_and_a_gauge_never() {
    let (mut agent, mut scraper) = (Agent::default(), Scraper::new());
    scraper.scrape(&mut agent, 0);
    agent.burst(443, 100);
    let text = scraper.scrape(&mut agent, 15);
    let duration = "netcause_tcp_connect_duration_seconds";
    let of_duration: Vec<_> = samples(&text).filter(|(series, _)| series.starts_with(duration)).collect();
    assert_eq!(of_duration.len(), 20);
    assert!(of_duration.iter().all(|(_, value)| *value == 0.0), "{of_duration:?}");
    assert!(
        samples(&text)
            .any(|(series, value)| series.starts_with("netcause_tcp_connections_open{") && value == 1.0)
    );
    let text = scraper.scrape(&mut agent, 30);
    assert!(samples(&text).any(|(series, value)| series.starts_with(FAILURES) && value == 100.0));
}

#[test]
fn a_series_that_comes_back_begins_anew() {
    let (mut agent, mut scraper) = (Agent::default(), Scraper::new());
    agent.burst(443, 5);
    scraper.scrape(&mut agent, 0);
    scraper.scrape(&mut agent, 15);
    agent.edges.clear();
    scraper.scrape(&mut agent, 30);
    agent.burst(443, 100);
    scraper.scrape(&mut agent, 45);
    scraper.scrape(&mut agent, 60);
    assert_eq!(scraper.increase(FAILURES), 105.0);
}

#[test]
fn one_that_is_new_gets_what_is_old_as_it_is() {
    let (mut agent, mut old) = (Agent::default(), Scraper::new());
    agent.burst(80, 1_000_000);
    for now in (0..=300).step_by(15) {
        old.scrape(&mut agent, now);
    }
    let mut new = Scraper::new();
    assert!(new.scrape(&mut agent, 310).contains(" 1000000\n"));
    agent.burst(443, 100);
    new.scrape(&mut agent, 325);
    new.scrape(&mut agent, 340);
    assert_eq!(new.increase(FAILURES), 100.0);
}

#[test]
fn scrapers_with_nothing_new_share_a_body() {
    let mut agent = Agent::default();
    agent.burst(80, 1);
    let [mut one, mut other] = [Scraper::new(), Scraper::new()];
    one.scrape(&mut agent, 0);
    other.scrape(&mut agent, 2);
    let view = agent.view(15);
    let mut seen = |client| agent.exposed.show(&view, client, Duration::from_secs(15)).seen;
    assert_eq!(seen(Some(&one.client)), seen(Some(&other.client)));
    assert_eq!(seen(Some(&one.client)), seen(None), "and with everybody else");
}

#[test]
fn a_body_that_did_not_arrive_is_sent_again() {
    let (mut agent, mut scraper) = (Agent::default(), Scraper::new());
    scraper.scrape(&mut agent, 0);
    agent.burst(443, 100);
    let (view, now) = (agent.view(15), Duration::from_secs(15));
    agent.exposed.show(&view, Some(&scraper.client), now);
    let text = scraper.scrape(&mut agent, 30);
    assert!(samples(&text).all(|(series, value)| !series.starts_with(FAILURES) || value == 0.0), "{text}");
}

#[test]
fn starts_are_those_of_the_series() {
    let (mut agent, mut scraper) = (Agent::default(), Scraper::new());
    agent.burst(80, 1);
    scraper.scrape(&mut agent, 15);
    scraper.scrape(&mut agent, 30);
    agent.burst(443, 100);
    let view = agent.view(45);
    let seen = agent.exposed.show(&view, None, Duration::ZERO).seen;
    let text = render(&view, Format::OpenMetrics { created: true }, agent.exposed.reader(seen)).unwrap();
    let created = |port: &str, name: &str| -> Vec<f64> {
        let port = format!("destination_port=\"{port}\"");
        let name = format!("{name}_created{{");
        let of = samples(&text).filter(|(series, _)| series.starts_with(&name) && series.contains(&port));
        of.map(|(_, value)| value).collect()
    };
    for name in ["netcause_tcp_connect_failures", "netcause_tcp_connect_duration_seconds"] {
        assert_eq!(created("80", name), [START as f64], "{name}: the agent's, in which it was zero last");
        assert_eq!(created("443", name), [(START + 30) as f64], "{name}");
    }
    assert!(!text.contains("netcause_tcp_connections_open_created"), "a gauge has none");
    // Right after the value, in OpenMetrics' order.
    let lines: Vec<_> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("netcause_tcp_connect_failures_created")).unwrap();
    assert!(lines[at - 1].starts_with(FAILURES), "{}", lines[at - 1]);
}

#[test]
fn where_older_connections_count_whole_the_first_starts_are_not_known() {
    let mut agent = Agent::default();
    agent.burst(80, 1);
    let view = |agent: &Agent, now| {
        let mut view = Arc::into_inner(agent.view(now)).unwrap();
        view.counts_since = None;
        Arc::new(view)
    };
    let first = view(&agent, 1);
    assert_eq!(
        agent.exposed.show(&first, Some(&Scraper::new().client), Duration::ZERO).seen,
        agent.exposed.show(&first, None, Duration::ZERO).seen,
        "nothing is held back, which would be a jump"
    );
    agent.burst(443, 1);
    let second = view(&agent, 16);
    let seen = agent.exposed.show(&second, None, Duration::ZERO).seen;
    let text = render(&second, Format::OpenMetrics { created: true }, agent.exposed.reader(seen)).unwrap();
    let of: Vec<_> =
        text.lines().filter(|line| line.starts_with("netcause_tcp_connect_failures_created")).collect();
    assert!(of.len() == 1 && of[0].contains("\"443\"") && of[0].ends_with(" 1000001"), "{of:?}");
}

/// What happens in one second.
#[derive(Clone, Debug)]
enum Event {
    Burst(u16, u64),
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (0_u16..20, 1_u64..1000).prop_map(|(port, count)| Event::Burst(port, count)),
        3 => Just(Event::Nothing),
    ]
}

proptest! {
    /// Whatever bursts come when, every scraper adds up what was counted; no value falls, and what is held back is shown at
    /// the next scrape.
    #[test]
    fn every_scraper_adds_up_what_was_counted(
        // Long enough for the first scrape of each, while the agent is young.
        events in prop::collection::vec(event(), 60..400),
        scrapers in prop::collection::vec((prop::sample::select(vec![5_u64, 15, 60]), 0_u64..60), 1..4),
    ) {
        let mut agent = Agent::default();
        let mut known: Vec<_> = scrapers.iter().map(|_| Scraper::new()).collect();
        let mut counted: u64 = 0;
        let mut scrape_all = |agent: &mut Agent, now: u64, is_time: &dyn Fn(u64, u64) -> bool| {
            for ((interval, offset), scraper) in scrapers.iter().zip(&mut known) {
                if is_time(*interval, offset % interval) {
                    let before = scraper.last.clone();
                    let text = scraper.scrape(agent, now);
                    for (series, value) in samples(&text) {
                        assert!(before.get(&series).is_none_or(|before| *before <= value), "{series} falls");
                    }
                }
            }
        };
        let mut now = 0;
        for event in events {
            scrape_all(&mut agent, now, &|interval, offset| now % interval == offset);
            if let Event::Burst(port, count) = event {
                agent.burst(port, count);
                counted += count;
            }
            now += 1;
        }
        for after in [20, 80] {
            scrape_all(&mut agent, now + after, &|_, _| true);
        }
        for scraper in &known {
            prop_assert_eq!(scraper.increase(FAILURES), counted as f64);
        }
    }
}
