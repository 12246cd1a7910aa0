//! From what the kernel's tables say to what a Prometheus adds up, through folding and names that come late.

use std::collections::HashSet;

use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, PROTOCOL_TCP, ROLE_CLIENT};
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};
use netcause_core::engine::{Engine, Input, Options, Output, Time};
use netcause_core::enrich;
use netcause_core::expose::budget::{Budget, Shown};
use netcause_core::expose::dns_servers::DnsServers;
use netcause_core::expose::legs::Legs;
use netcause_core::seen::Seen;

use super::*;
use crate::expose::snapshot::DnsView;
use crate::expose::tables;

/// The agent without the kernel, as `app/agent.rs` has it.
struct Daemon {
    engine: Engine,
    budget: Budget,
    servers: DnsServers,
    legs: Legs,
    exposed: Exposed,
    shown: Vec<Shown>,
    named: HashSet<u64>,
    now: u64,
}

impl Daemon {
    fn new(max_series: usize, idle: u64) -> Self {
        let names = enrich::Options {
            known_networks: vec!["10.0.0.0/8".parse().unwrap()],
            sidecar_ports: vec![15001],
            ..enrich::Options::default()
        };
        Self {
            engine: Engine::new(Options {
                names,
                flow_idle: Duration::from_secs(idle),
                max_flows: 100,
                max_peer_nodes: 8,
                findings: Vec::new(),
            }),
            budget: Budget::new(max_series),
            servers: DnsServers::default(),
            legs: Legs::default(),
            exposed: Exposed::default(),
            shown: Vec::new(),
            named: HashSet::new(),
            now: 0,
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let time = Time { wall: START + self.now, monotonic: Duration::from_secs(self.now) };
        self.engine.handle(time, input);
    }

    /// Connects that are refused.
    fn burst(&mut self, flow: u64, count: u64) {
        let mut delta = Totals::ZERO;
        delta.tcp.connect_failures[0] = count;
        self.handle(Input::Flow { key: key(flow), delta: &delta });
    }

    /// A sidecar listens.
    fn sidecar(&mut self) {
        let queue = AcceptQueue { sweep: 1, ..AcceptQueue::default() };
        let key = QueueKey { local: 999, port: 15001, ..QueueKey::default() };
        self.handle(Input::Listeners { queues: vec![(key, queue)], namespaces: Vec::new() });
    }

    fn read(&mut self) {
        for id in self.engine.take_cgroup_questions() {
            if self.named.contains(&id) {
                let name = if id % 3 == 1 { "cart" } else { "shop" };
                let path = format!("system.slice/{name}.service");
                self.handle(Input::Cgroup { id, path: Some(path.as_bytes()) });
            }
        }
        self.handle(Input::ReadingEnded);
        let moment = self.engine.moment();
        self.budget.follow(self.engine.model_mut().take_changes(), &moment);
        self.shown = self.budget.share_out(self.engine.model(), &moment, tables::series);
        while let Some(output) = self.engine.poll() {
            if let Output::Remove(flows) = output {
                flows.into_iter().for_each(|flow| self.handle(Input::FlowRemoved(flow)));
            }
        }
    }

    fn view(&mut self) -> Arc<Snapshot> {
        self.read();
        let moment = self.engine.moment();
        let rows = |shown: Vec<Shown>| {
            shown.into_iter().map(|Shown { edge, totals, .. }| EdgeRow { edge, totals }).collect()
        };
        let ended_clients = rows(self.servers.keep(&self.shown, &moment));
        let legs = self.legs.keep(&self.shown, &moment);
        Arc::new(Snapshot {
            edges: rows(self.shown.iter().cloned().chain(legs).collect()),
            dns: DnsView { ended_clients, ..DnsView::default() },
            read_at: START + self.now,
            at: moment.now,
            counts_since: Some(START),
            ..Snapshot::default()
        })
    }

    /// As the HTTP side has it.
    fn scrape(&mut self, scraper: &mut Scraper) {
        let time = Duration::from_secs(self.now);
        let seen = self.exposed.seen(Some(&scraper.client), time);
        let view = self.view();
        let by_any = seen.by_any.map(|seen| seen.min(view.at));
        self.handle(Input::Seen(Seen { by_any, ..seen }));
        scraper.take(&mut self.exposed, &view, self.now);
    }
}

/// Flows of five cgroups: four to peers, one to what may be a sidecar.
fn key(flow: u64) -> FlowKey {
    let is_to_sidecar = flow % 5 == 4;
    let remote = if is_to_sidecar { [127, 0, 0, 1] } else { [10, 0, 0, 1] };
    FlowKey {
        local: 100 + flow,
        remote: Address::from_v4_network_order(u32::from_ne_bytes(remote)),
        service_port: if is_to_sidecar { 15001 } else { 80 },
        protocol: PROTOCOL_TCP,
        role: ROLE_CLIENT,
        reserved: 0,
    }
}

#[derive(Clone, Debug)]
enum Happens {
    Burst(u64, u64),
    Name(u64),
    Sidecar,
    Read,
    Wait(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..10_u64, 1..1000_u64).prop_map(|(flow, count)| Happens::Burst(flow, count)),
        2 => (0..10_u64).prop_map(Happens::Name),
        1 => Just(Happens::Sidecar),
        2 => Just(Happens::Read),
        4 => (1..30_u64).prop_map(Happens::Wait),
        1 => Just(Happens::Wait(150)),
    ]
}

/// Refusals of edges and of legs.
fn failures(scraper: &Scraper) -> f64 {
    scraper.increase(FAILURES) + scraper.increase("netcause_sidecar_connect_failures_total")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn a_prometheus_adds_up_what_has_happened(
        events in prop::collection::vec(happens(), 20..100),
        max_series in prop::sample::select(vec![12_usize, 30, 1000]),
        idle in prop::sample::select(vec![100_u64, 100_000]),
        phases in prop::collection::vec((prop::sample::select(vec![5_u64, 15, 60]), 0..60_u64), 1..3),
    ) {
        let mut daemon = Daemon::new(max_series, idle);
        let mut scrapers: Vec<_> = phases.iter().map(|_| Scraper::new()).collect();
        let mut counted = 0;
        for event in events {
            let seconds = match event {
                Happens::Burst(flow, count) => {
                    daemon.burst(flow, count);
                    counted += count;
                    1
                }
                Happens::Name(flow) => {
                    daemon.named.insert(100 + flow);
                    1
                }
                Happens::Sidecar => {
                    daemon.sidecar();
                    1
                }
                Happens::Read => {
                    daemon.read();
                    1
                }
                Happens::Wait(seconds) => seconds,
            };
            for _ in 0..seconds {
                daemon.now += 1;
                for ((interval, offset), scraper) in phases.iter().zip(&mut scrapers) {
                    if daemon.now % interval == offset % interval {
                        daemon.scrape(scraper);
                        prop_assert!(failures(scraper) <= counted as f64, "{} of {counted}", failures(scraper));
                    }
                }
            }
        }
        // Those that came while the agent was young have seen it all.
        let early: Vec<_> = scrapers.iter().map(|scraper| !scraper.last.is_empty() && daemon.now > 70).collect();
        for _ in 0..3 {
            daemon.now += 1;
            scrapers.iter_mut().for_each(|scraper| daemon.scrape(scraper));
        }
        // No row ends and comes again between two scrapes.
        if max_series == 1000 && idle > 100 {
            for (scraper, _) in scrapers.iter().zip(early).filter(|(_, early)| *early) {
                prop_assert_eq!(failures(scraper), counted as f64);
            }
        }
    }
}

#[test]
fn a_scraper_that_comes_second_while_the_agent_is_young_gets_what_has_moved_before() {
    let mut daemon = Daemon::new(1000, 100_000);
    let mut scrapers = [Scraper::new(), Scraper::new()];
    daemon.burst(4, 1);
    for now in 1..200 {
        daemon.now = now;
        if now == 3 {
            daemon.sidecar();
        }
        for ((interval, offset), scraper) in [(5, 1), (60, 16)].into_iter().zip(&mut scrapers) {
            if now % interval == offset {
                daemon.scrape(scraper);
            }
        }
    }
    assert_eq!(scrapers.each_ref().map(failures), [1.0; 2]);
}
