//! Whatever is folded, named late or forgotten, and whoever scrapes when: growth adds up to what has happened, and to no more.

use std::time::Duration;

use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT};
use proptest::prelude::*;

use super::*;
use crate::enrich::{Names, Options};
use crate::testing::scrapers::Scrapers;
use crate::testing::{MAIN, Node, counters, local, of_cgroup, tcp};

/// Cgroups, three of them of one service.
const CGROUPS: [(u64, &str); 5] =
    [(101, "a.service/x"), (102, "a.service/y"), (103, "b"), (104, "a.service/z"), (105, "c")];
const LOCALS: usize = CGROUPS.len() + 3;

/// What happens in one second.
#[derive(Clone, Debug)]
enum Event {
    /// A counter of a flow grows.
    Count { flow: usize, counter: usize, by: u64 },
    /// A connection is opened, or closed if there is one.
    Open { flow: usize, opens: bool },
    /// A cgroup gets its name, which was right all the time.
    Name(usize),
    /// A port turns out to be a sidecar's.
    Sidecar,
    /// The full tables refuse a flow.
    Refused,
    /// The tables are read.
    Read,
    /// Nothing for so many seconds.
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let count = (0..LOCALS * 2, 0..5_usize, prop_oneof![1..4_u64, 50..1000_u64]);
    let event = prop_oneof![
        10 => count.prop_map(|(flow, counter, by)| Event::Count { flow, counter, by }),
        2 => (0..LOCALS * 2, any::<bool>()).prop_map(|(flow, opens)| Event::Open { flow, opens }),
        2 => (0..CGROUPS.len()).prop_map(Event::Name),
        1 => Just(Event::Sidecar),
        1 => Just(Event::Refused),
        2 => Just(Event::Read),
        4 => (1..40_u64).prop_map(Event::Wait),
        1 => (100..700_u64).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 10..120)
}

fn key(flow: usize) -> FlowKey {
    let protocol = [PROTOCOL_TCP, PROTOCOL_UDP][flow % 2];
    let key = match flow / 2 {
        local if local < CGROUPS.len() => of_cgroup(CGROUPS[local].0),
        // To a sidecar, or so it turns out.
        local if local == CGROUPS.len() => FlowKey {
            remote: Address::from_v4_network_order(u32::from_ne_bytes([127, 0, 0, 1])),
            service_port: 15001,
            ..tcp(9)
        },
        local => tcp(local as u64),
    };
    FlowKey { protocol, ..key }
}

/// A node that is scraped.
struct World {
    node: Node,
    scrapers: Scrapers<Edge>,
    counted: Totals,
    second: u64,
}

impl World {
    fn happens(&mut self, event: &Event) {
        let mut delta = Totals::ZERO;
        match event {
            Event::Count { flow, counter, by } => {
                let key = key(*flow);
                let counter = match (key.protocol, counter) {
                    (PROTOCOL_TCP, 0) => &mut delta.tcp.sent_segments,
                    (PROTOCOL_TCP, 1) => &mut delta.tcp.connect_failures[0],
                    (PROTOCOL_TCP, 2) => &mut delta.tcp.rtt.buckets[3],
                    (PROTOCOL_TCP, _) => &mut delta.tcp.sent_bytes,
                    (_, 0) => &mut delta.udp.receive_drops,
                    (..) => &mut delta.udp.sent_datagrams,
                };
                *counter += by;
                self.node.count(MAIN, key).add(&delta);
            }
            Event::Open { flow, opens } => {
                let flow = self.node.count(MAIN, FlowKey { protocol: PROTOCOL_TCP, ..key(*flow) });
                if *opens {
                    (delta.tcp.opened, delta.tcp.open) = (1, 1);
                } else if flow.tcp.open > 0 {
                    (delta.tcp.closed[0], delta.tcp.open) = (1, -1);
                }
                flow.add(&delta);
            }
            Event::Name(cgroup) => {
                let (id, path) = CGROUPS[*cgroup];
                self.node.names.answer_cgroup(id, Some(path.as_bytes()));
            }
            Event::Sidecar => self.node.names.listens(5, 15001),
            Event::Refused => {
                (delta.tcp.sent_segments, delta.tcp.connect_failures[0]) = (1, 1);
                self.node.count(MAIN, FlowKey::other(PROTOCOL_TCP, ROLE_CLIENT)).add(&delta);
            }
            Event::Read => self.read(),
            Event::Wait(seconds) => (1..*seconds).for_each(|_| self.pass()),
        }
        self.counted.add(&delta);
        self.pass();
    }

    /// A second passes.
    fn pass(&mut self) {
        self.second += 1;
        self.node.now = Duration::from_secs(self.second);
        if self.scrapers.is_due(self.second) {
            self.read();
            self.view(Some(self.second));
        } else if self.second.is_multiple_of(10) {
            self.read();
        }
    }

    fn read(&mut self) {
        let idle = self.node.read_some(usize::MAX).unwrap();
        self.scrapers.read(&rows(&self.node));
        for flow in idle {
            self.node.remove(MAIN, flow);
        }
        let statistics = self.node.budget.statistics();
        let others = self.node.shown.iter().filter(|shown| *shown.edge == Edge::other(shown.edge.reporter));
        let others: usize = others.map(|shown| crate::testing::series(&shown.edge, &shown.totals)).sum();
        assert!(statistics.series <= statistics.max_series.max(others), "{statistics:?}");
    }

    fn view(&mut self, second: Option<u64>) {
        let (rows, counted) = (rows(&self.node), counters(&self.counted));
        let seen = self.scrapers.view(&rows, self.node.now, second, &counted);
        self.node.seen = self.node.seen.and(seen);
    }
}

fn rows(node: &Node) -> std::collections::BTreeMap<Edge, Vec<u64>> {
    node.shown().iter().map(|(edge, totals)| (edge.clone(), counters(totals))).collect()
}

fn world(max_series: usize, phases: &[(u64, u64)]) -> World {
    let mut node = Node::new(max_series);
    node.names = Names::new(Options { sidecar_ports: vec![15001], ..local() });
    World { node, scrapers: Scrapers::new(phases), counted: Totals::ZERO, second: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn growth_is_what_has_happened(
        events in events(),
        max_series in prop::sample::select(vec![4_usize, 12, 25, 40, 1000]),
        phases in prop::collection::vec((prop::sample::select(vec![5_u64, 15, 15, 60]), 0..60_u64), 1..4),
    ) {
        let mut world = world(max_series, &phases);
        for event in &events {
            world.happens(event);
        }
        // Everyone comes three times.
        for _ in 0..3 {
            world.second += 1;
            world.node.now = Duration::from_secs(world.second);
            world.read();
            world.view(None);
        }
        if world.node.budget.statistics().cut_short == 0 && !world.scrapers.has_unseen_restart {
            world.scrapers.expect_all(&counters(&world.counted));
        }
    }
}

const COUNT: Event = Event::Count { flow: 0, counter: 0, by: 100 };

/// What is shown of the rows whose source has this name.
fn of(world: &World, source: &str) -> Vec<u64> {
    let shown = world.node.shown.iter().filter(|shown| shown.edge.source.to_string() == source);
    shown.map(|shown| shown.totals.tcp.sent_segments).collect()
}

#[test]
fn a_folded_edge_is_frozen_and_goes_on_if_it_has_room_again_soon() {
    let mut world = world(4, &[(15, 0)]);
    let count = |flow, counter, by| Event::Count { flow, counter, by };
    let mut play = |events: &[Event]| {
        events.iter().for_each(|event| world.happens(event));
        let sources = ["cgroup:101", "netns:7", "other"];
        sources.map(|source| of(&world, source))
    };
    // So that `other` has all its series from the beginning.
    let refused = Event::Refused;
    assert_eq!(play(&[refused, COUNT, Event::Wait(31)]), [vec![100], vec![], vec![1]]);
    let larger = [count(14, 0, 250), count(14, 1, 1), Event::Read];
    assert_eq!(
        play(&larger),
        [vec![100], vec![], vec![251]],
        "there is no room as long as the other's row is shown"
    );
    assert_eq!(play(&[count(0, 0, 7), Event::Read]), [vec![100], vec![], vec![258]]);
    // It is the larger one again.
    assert_eq!(play(&[count(0, 1, 3), Event::Read]), [vec![100], vec![], vec![258]]);
    assert_eq!(play(&[count(0, 0, 9), Event::Read]), [vec![109], vec![], vec![258]]);
    assert_eq!(play(&[Event::Wait(200), count(14, 1, 9), Event::Wait(200)]), [vec![], vec![0], vec![258]]);
    assert_eq!(play(&[count(14, 0, 5), count(0, 0, 2), Event::Read]), [vec![], vec![5], vec![260]]);
}

#[test]
fn a_name_that_comes_before_the_value_was_scraped_has_the_past() {
    for (wait, past, now) in [(1, vec![], vec![200]), (31, vec![100], vec![100])] {
        let mut world = world(100, &[(15, 0)]);
        for event in [COUNT, Event::Wait(wait), Event::Name(0), Event::Read, COUNT, Event::Read] {
            world.happens(&event);
        }
        assert_eq!((of(&world, "cgroup:101"), of(&world, "a.service")), (past, now), "after {wait} s");
        world.happens(&Event::Wait(41));
        assert_eq!(of(&world, "cgroup:101"), [0; 0], "its row has ended");
    }
}

/// The scraper comes at 628 s, the row ends, another one begins under its name, and the scraper comes at 643 s: to it both are one.
#[test]
fn a_row_that_begins_before_a_scraper_has_missed_the_one_of_its_name_is_seen_at_once() {
    let mut world = world(4, &[(15, 13)]);
    let ends = 640;
    world.happens(&COUNT);
    world.happens(&Event::Wait(ends - 2));
    assert_eq!(of(&world, "cgroup:101"), [0; 0], "its flow was idle for ten minutes");
    let count = Event::Count { flow: 0, counter: 0, by: 7 };
    for event in [count, Event::Read, Event::Wait(2)] {
        world.happens(&event);
    }
    assert_eq!(of(&world, "cgroup:101"), [7]);
    // What it counted has been scraped: a name that comes late does not take it along.
    for event in [Event::Name(0), Event::Read, COUNT, Event::Read] {
        world.happens(&event);
    }
    assert_eq!((of(&world, "cgroup:101"), of(&world, "a.service")), (vec![7], vec![100]));
}
