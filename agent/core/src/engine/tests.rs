//! Inputs are played, and what the engine shows and asks is compared.

mod crossing;
mod datagrams;
mod drops;
mod handovers;
mod node;
mod peer_nodes;
mod peers;
mod services;
mod sidecars;

use netcause_common::dns::QueryKey;
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    ConnectFailure, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, ROLE_CLIENT, ROLE_SERVER, TcpCounters,
};

use super::*;
use crate::enrich::objects::{Change, Kind, Source};
use crate::enrich::testing::{BEGIN, endpoints, pod, service, uid};
use crate::ingest::TcpEventKind;

/// A client in cgroup 7.
const CGROUP: u64 = 7;
/// Another cgroup of the same workload.
const SIBLING: u64 = 70;

struct Player {
    engine: Engine,
    seconds: u64,
}

impl Player {
    fn new() -> Self {
        let names = enrich::Options {
            known_networks: vec!["10.0.0.0/8".parse().unwrap()],
            sidecar_ports: vec![15001, 15006],
            ..enrich::Options::default()
        };
        let mut player = Self {
            engine: Engine::new(Options {
                names,
                flow_idle: Duration::from_secs(600),
                max_flows: 100,
                max_peer_nodes: 3,
                findings: Vec::new(),
            }),
            seconds: 0,
        };
        player.change(Change::Init(Kind::Pod));
        player.change(Change::InitDone(Kind::Pod));
        player
    }

    fn play(&mut self, input: Input<'_>) {
        let time = Time { wall: BEGIN + self.seconds, monotonic: Duration::from_secs(self.seconds) };
        self.engine.handle(time, input);
    }

    fn change(&mut self, change: Change) {
        self.play(Input::Names(Update { source: Source::Api, change }));
    }

    fn sent(&mut self, key: FlowKey, segments: u64) {
        let tcp = TcpCounters { sent_segments: segments, ..TcpCounters::ZERO };
        self.play(Input::Flow { key, delta: &Totals { tcp, ..Totals::ZERO } });
    }

    /// Ends a reading as the daemon does: questions on cgroups are answered before.
    fn read(&mut self) {
        for id in self.engine.take_cgroup_questions() {
            let path = matches!(id, CGROUP | SIBLING).then(|| b"system.slice/shop.service".as_slice());
            self.play(Input::Cgroup { id, path });
        }
        self.play(Input::ReadingEnded);
        self.seconds += 10;
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.engine.poll()).collect()
    }

    /// Each edge and its segments.
    fn edges(&self) -> Vec<String> {
        let edge = |(_, entry): (_, &crate::aggregate::model::Entry)| {
            let edge = entry.edge();
            let sent = entry.totals().unpack().tcp.sent_segments;
            format!("{} -> {}: {sent}", edge.source, edge.destination)
        };
        self.engine.model().edges().map(edge).collect()
    }
}

fn flow(local: u64, last: u8) -> FlowKey {
    FlowKey {
        local,
        remote: Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, last])),
        service_port: 80,
        protocol: PROTOCOL_TCP,
        role: ROLE_CLIENT,
        reserved: 0,
    }
}

fn failed(key: FlowKey, at: u64) -> Event {
    let kind = TcpEventKind::ConnectFailed {
        reason: ConnectFailure::Refused,
        error: 111,
        syn_retransmits: 0,
        after: Duration::ZERO,
    };
    Event::Tcp(TcpEvent { at: Duration::from_secs(at), flow: key, client_port: 4000, kind })
}

#[test]
fn a_new_flow_has_its_names_in_the_first_view() {
    let mut player = Player::new();
    player.change(Change::ApplyPod(Box::new(pod(1, "web", "10.0.0.1"))));
    player.sent(flow(CGROUP, 1), 5);
    player.sent(flow(8, 9), 1);
    assert_eq!(player.edges(), [""; 0], "names are settled at the end of a reading");
    player.read();
    assert_eq!(player.edges(), ["shop.service -> web: 5", "cgroup:8 -> 10.0.0.9: 1"]);
    assert_eq!(player.engine.take_unknown(), [[10, 0, 0, 9].into()].into());
    player.sent(flow(CGROUP, 1), 2);
    player.read();
    assert_eq!(player.edges()[0], "shop.service -> web: 7");
}

#[test]
fn a_name_that_changes_has_the_tables_read_first() {
    let mut player = Player::new();
    player.change(Change::ApplyPod(Box::new(pod(1, "web", "10.0.0.1"))));
    player.sent(flow(CGROUP, 1), 5);
    player.read();
    assert!(player.outputs().is_empty(), "no flow has another name");
    player.seconds += 60;
    player.change(Change::Delete(Kind::Pod, uid(1)));
    assert!(matches!(player.outputs()[..], [Output::Read]));
    player.sent(flow(CGROUP, 1), 3);
    player.read();
    let mut batch = pod(2, "batch", "10.0.0.1");
    batch.since = Some(BEGIN + player.seconds);
    player.change(Change::ApplyPod(Box::new(batch)));
    assert!(matches!(player.outputs()[..], [Output::Read]));
    assert!(player.outputs().is_empty(), "it asks once");
    player.read();
    player.sent(flow(CGROUP, 1), 100);
    player.read();
    assert_eq!(player.edges(), ["shop.service -> batch: 100", "shop.service -> web: 8"]);
}

#[test]
fn connections_through_a_service_are_of_the_workload_that_it_leads_to() {
    let mut player = Player::new();
    for (number, workload) in [(11, "blue"), (12, "green")] {
        player.change(Change::ApplyPod(Box::new(pod(number, workload, &format!("10.0.0.{number}")))));
    }
    player.change(service("shop", "10.0.0.77"));
    player.change(endpoints("shop", &[("10.0.0.11", 11)]));
    player.sent(flow(CGROUP, 77), 2);
    player.read();
    assert!(player.outputs().is_empty());
    // One more endpoint of the same workload changes nothing for clients.
    player.change(Change::ApplyPod(Box::new(pod(13, "blue", "10.0.0.13"))));
    player.change(endpoints("shop", &[("10.0.0.11", 11), ("10.0.0.13", 13)]));
    assert!(player.outputs().is_empty());
    player.change(endpoints("shop", &[("10.0.0.12", 12)]));
    assert!(matches!(player.outputs()[..], [Output::Read]));
    player.sent(flow(CGROUP, 77), 10);
    player.read();
    player.sent(flow(CGROUP, 77), 3);
    player.read();
    assert_eq!(player.edges(), ["shop.service -> blue: 12", "shop.service -> green: 3"]);
    player.change(endpoints("shop", &[("10.0.0.11", 11), ("10.0.0.12", 12)]));
    assert!(matches!(player.outputs()[..], [Output::Read]));
    player.read();
    player.sent(flow(CGROUP, 77), 1);
    player.read();
    assert!(player.edges().contains(&"shop.service -> several: 1".to_owned()), "{:?}", player.edges());
    // Of a flow that was announced, and that no reading has seen.
    player.change(endpoints("shop", &[("10.0.0.11", 11)]));
    player.read();
    let (at, flow) = (Duration::from_secs(player.seconds), flow(8, 77));
    player.play(Input::Event(Event::NewFlow { at, flow, client_port: 4000, own: None }));
    player.change(endpoints("shop", &[("10.0.0.12", 12)]));
    assert!(player.outputs().iter().any(|output| matches!(output, Output::Read)));
    player.sent(flow, 4);
    player.read();
    assert!(player.edges().contains(&"cgroup:8 -> blue: 4".to_owned()), "{:?}", player.edges());
}

#[test]
fn an_event_has_the_names_of_its_flow_and_goes_to_every_consumer() {
    let mut player = Player::new();
    player.play(Input::Event(Event::NewFlow {
        at: Duration::ZERO,
        flow: flow(CGROUP, 1),
        client_port: 4000,
        own: None,
    }));
    for id in player.engine.take_cgroup_questions() {
        player.play(Input::Cgroup { id, path: Some(b"system.slice/shop.service") });
    }
    player.play(Input::Event(failed(flow(CGROUP, 1), 3)));
    let outputs = player.outputs();
    let [Output::Event(event)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(event.edge.source.to_string(), "shop.service");
    assert_eq!((event.peer, event.event.at), ([10, 0, 0, 1].into(), Duration::from_secs(3)));
    let kept = player.engine.events().all();
    assert_eq!((kept.len(), kept[0].event.clone()), (1, event.event.clone()));
    // A flow that was read is looked up by its edge.
    player.sent(flow(CGROUP, 1), 1);
    player.read();
    player.play(Input::Event(failed(flow(CGROUP, 1), 4)));
    assert_eq!(player.engine.events().all().len(), 2);
}

#[test]
fn an_idle_flow_is_offered_for_removal_and_its_edge_ends_with_it() {
    let mut player = Player::new();
    player.sent(flow(CGROUP, 1), 5);
    player.read();
    player.seconds += 600;
    player.read();
    let outputs = player.outputs();
    assert!(matches!(&outputs[..], [Output::Remove(flows)] if *flows == [flow(CGROUP, 1)]), "{outputs:?}");
    // It has counted again: the daemon does not remove it, and it is not idle.
    player.sent(flow(CGROUP, 1), 1);
    player.read();
    assert!(player.outputs().is_empty());
    player.play(Input::FlowRemoved(flow(CGROUP, 1)));
    player.read();
    assert!(player.edges().is_empty());
}

#[test]
fn an_unanswered_dns_query_counts_where_it_was_sent() {
    let mut player = Player::new();
    let key = QueryKey { local: CGROUP, ..bytemuck::Zeroable::zeroed() };
    let dns = FlowKey { protocol: PROTOCOL_DNS, service_port: 53, ..flow(CGROUP, 53) };
    player.play(Input::DnsUnanswered(DnsUnanswered {
        key,
        flow: dns,
        queries: 2,
        is_abandoned: false,
        is_refused: true,
        message: &[],
    }));
    player.play(Input::DnsUnanswered(DnsUnanswered {
        key,
        flow: dns,
        queries: 4,
        is_abandoned: true,
        is_refused: false,
        message: &[],
    }));
    player.play(Input::DnsUnanswered(DnsUnanswered {
        key,
        flow: FlowKey::other(PROTOCOL_DNS, ROLE_SERVER),
        queries: 1,
        is_abandoned: false,
        is_refused: false,
        message: b"no DNS",
    }));
    player.read();
    let counted = |(_, entry): (_, &crate::aggregate::model::Entry)| {
        let dns = entry.totals().unpack().dns;
        (dns.timeouts, dns.refused, dns.abandoned)
    };
    assert_eq!(player.engine.model().edges().map(counted).collect::<Vec<_>>(), [(2, 2, 4)]);
    let overflow = player.engine.model().overflow(crate::aggregate::Reporter::Destination);
    assert_eq!((overflow.dns.timeouts, overflow.dns.refused), (1, 0));
}

#[test]
fn listeners_have_the_names_of_their_cgroups() {
    let mut player = Player::new();
    let key = QueueKey { local: CGROUP, port: 80, ..QueueKey::default() };
    let other = QueueKey { local: LOCAL_IS_NAMESPACE | 3, port: 15006, ..key };
    player.play(Input::Listeners {
        queues: vec![(key, AcceptQueue::default()), (other, AcceptQueue::default())],
        namespaces: Vec::new(),
    });
    player.read();
    let listeners: Vec<_> =
        player.engine.listeners().iter().map(|l| (l.workload.to_string(), l.port)).collect();
    assert_eq!(listeners, [("shop.service".to_owned(), Some(80)), ("netns:3".to_owned(), Some(15006))]);
}

#[test]
fn sums_of_listeners_do_not_go_back_when_one_ends() {
    let mut player = Player::new();
    let queue = |local, discards| {
        let key = QueueKey { local, port: 80, ..QueueKey::default() };
        (key, AcceptQueue { sweep: 1, discards, ..AcceptQueue::default() })
    };
    let mut discards = |queues| {
        player.play(Input::Listeners { queues, namespaces: Vec::new() });
        player.read();
        let listeners = player.engine.listeners();
        assert!(listeners.iter().all(|listener| listener.workload == Workload::plain("shop.service")));
        listeners.iter().map(|listener| listener.queue.discards).sum::<u64>()
    };
    assert_eq!(discards(vec![queue(CGROUP, 5), queue(SIBLING, 7)]), 12);
    assert_eq!(discards(vec![queue(CGROUP, 6)]), 13, "what the other discarded stays");
    assert_eq!(discards(vec![queue(CGROUP, 2)]), 15, "its own begin anew");
    assert_eq!(discards(Vec::new()), 0, "without a listener the row ends");
    assert_eq!(discards(vec![queue(SIBLING, 1)]), 1);
}

#[test]
fn a_listener_keeps_its_name_while_flows_of_others_are_removed() {
    let mut player = Player::new();
    let queues =
        || vec![(QueueKey { local: CGROUP, port: 80, ..QueueKey::default() }, AcceptQueue::default())];
    for other in 20..23 {
        player.sent(flow(other, 9), 1);
        player.play(Input::Listeners { queues: queues(), namespaces: Vec::new() });
        player.play(Input::FlowRemoved(flow(other, 9)));
        player.read();
        assert_eq!(player.engine.listeners()[0].workload, Workload::plain("shop.service"));
    }
    player.sent(flow(CGROUP, 9), 5);
    player.read();
    assert_eq!(player.edges(), ["shop.service -> 10.0.0.9: 5"]);
}

#[test]
fn a_workload_keeps_its_name_until_its_first_flow_is_read() {
    let mut player = Player::new();
    player.sent(flow(20, 9), 1);
    player.play(Input::FlowRemoved(flow(20, 9)));
    let flow = flow(CGROUP, 9);
    player.play(Input::Event(Event::NewFlow { at: Duration::ZERO, flow, client_port: 4000, own: None }));
    player.read();
    player.sent(flow, 5);
    player.read();
    assert_eq!(player.edges(), ["shop.service -> 10.0.0.9: 5"]);
}

#[test]
fn the_same_inputs_give_the_same_edges() {
    let play = || {
        let mut player = Player::new();
        for round in 0..50_u8 {
            player.sent(flow(CGROUP + u64::from(round % 3), round % 7), u64::from(round));
            if round % 5 == 0 {
                let name = ["web", "db"][usize::from(round % 2)];
                let address = format!("10.0.0.{}", round % 7);
                player.change(Change::ApplyPod(Box::new(pod(round, name, &address))));
            }
            if round % 4 == 3 {
                player.read();
            }
        }
        player.read();
        player.edges()
    };
    let edges = play();
    assert_eq!(edges, play());
    let sent: u64 = edges.iter().map(|edge| edge.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sent, (0..50).sum::<u64>(), "{edges:?}");
}

#[test]
fn health_and_losses_are_those_of_the_last_reading() {
    let mut player = Player::new();
    let health = SourceHealth {
        source: Source::Api,
        kind: Some(Kind::Pod),
        last_contact: Some(Duration::from_secs(3)),
        down: Some(("timeout", "no data for 60 s".to_owned())),
        failures: vec![("timeout", 2)],
    };
    let mut losses = [0; STATISTICS as usize];
    losses[2] = 7;
    player.play(Input::Health(vec![health.clone()]));
    player.play(Input::Losses(losses));
    assert_eq!((player.engine.health(), player.engine.losses()), (&[health][..], &losses));
    player.play(Input::Health(Vec::new()));
    assert!(player.engine.health().is_empty());
}
