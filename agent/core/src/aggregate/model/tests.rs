use std::sync::Arc;
use std::time::Duration;

use netcause_common::endpoint::Address;
use netcause_common::flow::FlowKey;

use super::*;
use crate::aggregate::Via;
use crate::enrich::objects::{Change as ObjectChange, Kind, Pod, Source, Update};
use crate::enrich::policy::{DnsNames, Labels};
use crate::enrich::sidecar::Direction;
use crate::enrich::testing::{self as objects, BEGIN, uid};
use crate::enrich::{Names, Options};
use crate::ingest::dns::Resolved;
use crate::testing::{IDLE, MAIN, Node, OVERFLOW, tcp, udp};

/// A node whose first list of pods is complete.
fn node() -> Node {
    let mut node = Node::new(1000);
    tell(&mut node, ObjectChange::Init(Kind::Pod));
    tell(&mut node, ObjectChange::InitDone(Kind::Pod));
    node
}

fn tell(node: &mut Node, change: ObjectChange) {
    node.names.set_time(BEGIN + node.now.as_secs(), node.now);
    node.names.apply(&Update { source: Source::Api, change });
}

/// A pod of a Deployment at 10.0.0.1, made at a time since the beginning.
fn pod(number: u8, workload: &str, since: u64) -> ObjectChange {
    let pod = objects::pod(number, workload, "10.0.0.1");
    ObjectChange::ApplyPod(Box::new(Pod { since: Some(BEGIN + since), ..pod }))
}

fn gone(number: u8) -> ObjectChange {
    ObjectChange::Delete(Kind::Pod, uid(number))
}

fn read(node: &mut Node) {
    node.names.set_time(BEGIN + node.now.as_secs(), node.now);
    node.read();
}

#[test]
fn a_name_that_comes_late_is_that_of_all_that_was_counted() {
    let mut node = node();
    node.send(tcp(1), 5);
    node.send(udp(1), 1);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 10.0.0.1: 6 packets, 0 open"]);
    tell(&mut node, pod(1, "web", 0));
    node.send(tcp(1), 2);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 web: 8 packets, 0 open"]);
    assert_eq!(node.model.edges().count(), 1);
}

#[test]
fn an_address_with_another_holder_begins_anew_and_the_past_keeps_its_name() {
    let mut node = node();
    tell(&mut node, pod(1, "web", 0));
    node.send(tcp(1), 5);
    node.count(OVERFLOW, tcp(1)).tcp.sent_segments = 2;
    node.send(udp(1), 1);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 web: 8 packets, 0 open"]);
    node.now += Duration::from_secs(60);
    node.send(tcp(1), 10);
    tell(&mut node, gone(1));
    assert!(node.model.is_renamed(&node.names));
    read(&mut node);
    tell(&mut node, pod(2, "batch", 60));
    assert!(node.model.is_renamed(&node.names));
    read(&mut node);
    // What it had up to then is the old one's.
    let free = "netns:1 10.0.0.1: 0 packets, 0 open";
    assert_eq!(node.words(), ["netns:1 batch: 0 packets, 0 open", "netns:1 web: 18 packets, 0 open", free]);
    assert!(!node.model.is_renamed(&node.names));
    node.send(tcp(1), 100);
    node.send(udp(1), 1000);
    node.count(OVERFLOW, tcp(1)).tcp.sent_segments += 10_000;
    read(&mut node);
    let words = ["netns:1 batch: 11100 packets, 0 open", "netns:1 web: 18 packets, 0 open"];
    assert_eq!(node.words(), words);
    // A flow that goes leaves what it had counted where it was counted.
    node.remove(MAIN, udp(1));
    read(&mut node);
    assert_eq!(node.words(), words);
    // The old name goes when it has been idle as long as a flow that goes.
    node.now += IDLE;
    node.send(tcp(1), 1);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 batch: 11101 packets, 0 open"]);
}

#[test]
fn connections_that_are_open_keep_the_name_of_a_pod_that_is_gone() {
    let mut node = node();
    tell(&mut node, pod(1, "web", 0));
    node.open(tcp(1), 2);
    node.send(tcp(1), 5);
    node.send(udp(1), 1);
    read(&mut node);
    node.now += Duration::from_secs(60);
    tell(&mut node, gone(1));
    node.now += Duration::from_secs(60);
    node.send(tcp(1), 5);
    node.open(tcp(1), -1);
    node.send(udp(1), 2);
    read(&mut node);
    node.send(udp(1), 4);
    read(&mut node);
    // Datagrams have no name from now on; what is retransmitted to a peer that is gone was meant for it.
    assert_eq!(node.words(), ["netns:1 web: 13 packets, 1 open", "netns:1 10.0.0.1: 4 packets, 0 open"]);
    node.open(tcp(1), -1);
    node.send(tcp(1), 5);
    read(&mut node);
    read(&mut node);
    node.send(tcp(1), 30);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 web: 18 packets, 0 open", "netns:1 10.0.0.1: 34 packets, 0 open"]);
    // The next holder was made after that began: it is not its past.
    node.now += Duration::from_secs(60);
    tell(&mut node, pod(2, "batch", 240));
    read(&mut node);
    node.send(tcp(1), 100);
    read(&mut node);
    let words = [
        "netns:1 batch: 100 packets, 0 open",
        "netns:1 web: 18 packets, 0 open",
        "netns:1 10.0.0.1: 34 packets, 0 open",
    ];
    assert_eq!(node.words(), words);
}

#[test]
fn open_connections_are_those_of_the_present_holder() {
    let mut node = node();
    tell(&mut node, pod(1, "web", 0));
    node.open(tcp(1), 3);
    read(&mut node);
    node.now += Duration::from_secs(60);
    tell(&mut node, gone(1));
    tell(&mut node, pod(2, "batch", 60));
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 batch: 0 packets, 3 open", "netns:1 web: 0 packets, 0 open"]);
    let opened: Vec<_> = node.shown().values().map(|totals| totals.tcp.opened).collect();
    assert_eq!(opened, [0, 3]);
    node.open(tcp(1), -3);
    read(&mut node);
    let closed: Vec<_> = node.shown().values().map(|totals| (totals.tcp.closed(), totals.tcp.open)).collect();
    assert_eq!(closed, [(3, 0), (0, 0)]);
}

#[test]
fn sums_are_conserved_whatever_is_folded_while_names_change() {
    for max_series in 1..12 {
        let mut node = Node::new(max_series);
        tell(&mut node, pod(1, "web", 0));
        let mut sent = 0;
        for round in 0..12_u64 {
            for namespace in 1..4 {
                node.send(tcp(namespace), round * namespace);
                node.count(MAIN, tcp(namespace)).tcp.rtt.buckets[0] += 1;
                sent += round * namespace;
            }
            if round % 3 == 2 {
                let number = u8::try_from(round / 3).unwrap();
                node.now += Duration::from_secs(60);
                tell(&mut node, gone(number + 1));
                let name = ["web", "batch"][usize::from(number % 2)];
                let pod = pod(number + 2, name, node.now.as_secs());
                tell(&mut node, pod);
            }
            read(&mut node);
            let shown = node.shown();
            let total: u64 = shown.values().map(|totals| totals.tcp.sent_segments).sum();
            assert_eq!(total, sent, "{max_series} {round}");
            let observed: u64 = shown.values().map(|totals| totals.tcp.rtt.buckets[0]).sum();
            assert_eq!(observed, 3 * (round + 1), "{max_series} {round}");
        }
    }
}

#[test]
fn a_reading_that_is_broken_off_moves_nothing() {
    let mut node = node();
    tell(&mut node, pod(1, "web", 0));
    node.send(tcp(1), 5);
    node.count(OVERFLOW, tcp(1)).tcp.sent_segments = 2;
    read(&mut node);
    node.now += Duration::from_secs(60);
    tell(&mut node, gone(1));
    assert_eq!(node.read_some(1), None);
    node.send(tcp(1), 1);
    read(&mut node);
    tell(&mut node, pod(2, "batch", 60));
    read(&mut node);
    node.send(tcp(1), 1);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 batch: 1 packets, 0 open", "netns:1 web: 8 packets, 0 open"]);
}

#[test]
fn open_connections_keep_the_name_that_they_were_resolved_from() {
    let mut node = Node::new(1000);
    let options = Options {
        labels: Arc::new(Labels::new(DnsNames::Shown)),
        max_outside_names: 9,
        ..Options::default()
    };
    node.names = Names::new(options);
    let resolved = Resolved { address: [10, 0, 0, 1].into(), ttl: 1 };
    let learn = |node: &mut Node, namespace: u64| {
        node.names.set_time(BEGIN, node.now);
        node.names.learn(tcp(namespace).local, &"a.test".parse().unwrap(), std::slice::from_ref(&resolved));
    };
    learn(&mut node, 1);
    node.open(tcp(1), 1);
    node.send(tcp(1), 5);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 a.test: 5 packets, 1 open"]);
    // Another client resolves the same address when the first one's answer counts no longer.
    node.now += Duration::from_secs(600);
    learn(&mut node, 2);
    read(&mut node);
    node.send(tcp(1), 5);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 a.test: 10 packets, 1 open"]);
    node.open(tcp(1), -1);
    read(&mut node);
    node.send(tcp(1), 7);
    read(&mut node);
    assert_eq!(node.words(), ["netns:1 a.test: 10 packets, 0 open", "netns:1 external: 7 packets, 0 open"]);
}

#[test]
fn a_leg_that_is_known_late_was_one_all_the_time() {
    for max_series in [1, 2, 3, 1000] {
        let mut node = Node::new(max_series);
        node.names = Names::new(Options {
            sidecar_ports: vec![15001],
            known_networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..Options::default()
        });
        let own = FlowKey {
            remote: Address::from_v4_network_order(u32::from_ne_bytes([127, 0, 0, 1])),
            service_port: 15001,
            ..tcp(1)
        };
        node.send(own, 7);
        node.count(MAIN, own).tcp.rtt.buckets[0] = 1;
        node.send(tcp(2), 20);
        read(&mut node);
        let sent = |node: &Node| node.shown().values().map(|totals| totals.tcp.sent_segments).sum::<u64>();
        assert_eq!(sent(&node), 27);
        // Another cgroup listens there.
        node.names.listens(5, 15001);
        node.send(own, 1);
        read(&mut node);
        assert_eq!(sent(&node), 28, "{max_series}");
        let observed: u64 = node.shown().values().map(|totals| totals.tcp.rtt.buckets[0]).sum();
        assert_eq!(observed, 1, "{max_series}");
        if max_series == 1000 {
            read(&mut node);
            let leg = Via::OwnSidecar(Direction::Outbound);
            let shown = node.shown();
            let legs: Vec<_> = shown.iter().filter(|(edge, _)| edge.via == leg).collect();
            assert_eq!((legs.len(), legs[0].1.tcp.sent_segments), (1, 8));
            assert_eq!(shown.len(), 2, "nothing is left of what it seemed to be");
        }
    }
}

#[test]
fn a_flow_and_an_edge_are_small() {
    // 10 000 edges with a flow each: 2 MiB beside their names and the counters that are not zero. A hash map has at most
    // twice the room.
    let flow = 2 * (size_of::<(FlowKey, Flow)>() + 1);
    let edge = size_of::<Entry>() + size_of::<Packed<Totals>>() + size_of::<(Arc<Edge>, EdgeId)>();
    assert!(flow <= 260 && edge <= 140, "{flow} {edge}");
}

#[test]
fn names_merge_into_names_that_merge_themselves() {
    let mut node = node();
    let of_pod = |cgroup| crate::testing::of_cgroup(cgroup);
    for cgroup in [5, 6, 7] {
        node.send(of_pod(cgroup), cgroup);
    }
    read(&mut node);
    assert_eq!(node.model.edges().count(), 3);
    // All are one pod's, and the pod has a name in the same reading.
    for cgroup in [5, 6, 7] {
        let path = format!("kubepods/burstable/pod{}/{}", uid(1), "a".repeat(64));
        node.names.answer_cgroup(cgroup, Some(path.as_bytes()));
    }
    let web = objects::pod(1, "web", "10.0.0.77");
    tell(&mut node, ObjectChange::ApplyPod(Box::new(web)));
    read(&mut node);
    assert_eq!(node.words(), ["web 10.0.0.1: 18 packets, 0 open"]);
    node.send(of_pod(6), 1);
    read(&mut node);
    assert_eq!(node.words(), ["web 10.0.0.1: 19 packets, 0 open"]);
}
