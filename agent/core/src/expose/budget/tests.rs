use std::time::Duration;

use netcause_common::flow::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};

use super::*;
use crate::testing::{IDLE, MAIN, Node, OVERFLOW, edge_of, of_cgroup, tcp, udp};

/// The room of this many edges that only send.
const EDGES: usize = 1;

#[test]
fn flows_of_one_name_add_up() {
    let mut node = Node::new(100);
    node.send(tcp(1), 5);
    node.send(udp(1), 6);
    node.count(OVERFLOW, tcp(1)).tcp.sent_segments = 7;
    node.send(tcp(2), 8);
    node.read();
    node.read();
    assert_eq!(node.words(), ["netns:1 10.0.0.1: 18 packets, 0 open", "netns:2 10.0.0.1: 8 packets, 0 open"]);
    let statistics = Statistics { series: 3, max_series: 100, folded: 0, cut_short: 0 };
    assert_eq!(node.budget.statistics(), statistics);
}

#[test]
fn what_the_full_table_refused_is_shown_when_there_is_any() {
    let mut node = Node::new(100);
    for (protocol, role) in
        [(PROTOCOL_TCP, ROLE_CLIENT), (PROTOCOL_UDP, ROLE_CLIENT), (PROTOCOL_TCP, ROLE_SERVER)]
    {
        node.count(MAIN, FlowKey::other(protocol, role));
    }
    assert_eq!((node.read(), node.words()), (vec![], vec![]));
    node.send(FlowKey::other(PROTOCOL_TCP, ROLE_CLIENT), 3);
    node.send(FlowKey::other(PROTOCOL_UDP, ROLE_CLIENT), 4);
    node.now += IDLE * 2;
    assert_eq!(node.read(), []);
    assert_eq!(node.words(), ["other other: 7 packets, 0 open"]);
}

#[test]
fn a_flow_may_go_when_it_is_quiet_and_has_no_connection() {
    let mut node = Node::new(100);
    node.open(tcp(1), 1);
    node.send(udp(1), 1);
    node.read();
    node.now += IDLE - Duration::from_secs(2);
    assert_eq!(node.read(), []);
    assert_eq!(node.read(), [udp(1)], "tcp has a connection");
    node.open(tcp(1), -1);
    node.send(udp(1), 1);
    assert_eq!(node.read(), [], "both have changed");
    assert_eq!(node.read(), []);
    node.now += IDLE;
    let mut idle = node.read();
    idle.sort_unstable();
    assert_eq!(idle, [tcp(1), udp(1)]);
}

#[test]
fn what_removed_flows_had_counted_stays_with_their_edge() {
    let mut node = Node::new(100);
    node.send(tcp(1), 5);
    node.send(udp(1), 6);
    node.read();
    node.remove(MAIN, tcp(1));
    node.send(udp(1), 1);
    node.read();
    assert_eq!(node.words(), ["netns:1 10.0.0.1: 12 packets, 0 open"]);
    node.send(tcp(1), 2);
    node.read();
    assert_eq!(node.words(), ["netns:1 10.0.0.1: 14 packets, 0 open"]);
}

#[test]
fn an_edge_ends_with_its_last_flow() {
    let mut node = Node::new(100);
    node.send(tcp(1), 5);
    node.send(tcp(2), 6);
    node.read();
    node.remove(MAIN, tcp(1));
    assert_eq!(node.words().len(), 2, "nothing moves between readings");
    node.read();
    assert_eq!(node.words(), ["netns:2 10.0.0.1: 6 packets, 0 open"]);
    assert_eq!((node.model.edges().count(), node.budget.edges.len()), (1, 1));
    node.send(tcp(1), 1);
    node.read();
    assert_eq!(node.words(), ["netns:1 10.0.0.1: 1 packets, 0 open", "netns:2 10.0.0.1: 6 packets, 0 open"]);
}

#[test]
fn the_smallest_are_folded_and_trouble_makes_large() {
    let mut node = Node::new(3);
    for (namespace, packets) in [(1, 10), (2, 30), (3, 20), (4, 1)] {
        node.send(tcp(namespace), packets);
    }
    node.count(MAIN, tcp(4)).tcp.connect_failures[0] = 1;
    node.read();
    // Two counters of the fourth, and one of all others.
    assert_eq!(node.words(), ["netns:4 10.0.0.1: 1 packets, 0 open", "other other: 60 packets, 0 open"]);
    assert_eq!(node.budget.statistics(), Statistics { series: 3, max_series: 3, folded: 3, cut_short: 0 });
    node.read();
    assert_eq!(node.budget.folded, 3, "they were folded once");
}

#[test]
fn an_edge_counts_from_zero_when_it_has_room_and_its_past_stays_in_other() {
    let mut node = Node::new(1 + EDGES);
    node.send(tcp(1), 10);
    node.send(tcp(2), 20);
    node.send(tcp(3), 1);
    node.read();
    let other = |packets| format!("other other: {packets} packets, 0 open");
    let of = |namespace, packets| format!("netns:{namespace} 10.0.0.1: {packets} packets, 0 open");
    assert_eq!(node.words(), [of(2, 20), other(11)]);
    node.send(tcp(1), 25);
    node.read();
    assert_eq!(node.words(), [of(2, 20), other(36)], "35 is not twice 20");
    node.send(tcp(1), 10);
    node.read();
    assert_eq!(node.words(), [of(1, 0), other(66)], "45 is: they change places");
    node.read();
    assert_eq!(node.words(), [of(1, 0), other(66)], "its room is held free");
    node.send(tcp(1), 3);
    node.read();
    assert_eq!(node.words(), [of(1, 3), other(66)]);
    // The first flow goes with the 3 that were its edge's own; its 45 of before stay.
    node.remove(MAIN, tcp(1));
    node.read();
    assert_eq!(node.words(), [of(2, 0), other(66)]);
    assert_eq!(node.budget.folded, 3);
}

#[test]
fn an_edge_weighs_what_its_removed_flows_did() {
    let mut node = Node::new(3);
    node.send(tcp(1), 100);
    node.send(udp(1), 1);
    node.send(tcp(2), 60);
    node.send(tcp(3), 1);
    node.read();
    let words = node.words();
    assert_eq!(words, ["netns:1 10.0.0.1: 101 packets, 0 open", "other other: 61 packets, 0 open"]);
    node.remove(MAIN, tcp(1));
    node.read();
    assert_eq!(node.words(), words);
}

#[test]
fn connections_are_open_where_their_flow_is_shown() {
    let mut node = Node::new(4);
    node.open(tcp(1), 5);
    node.open(tcp(2), 3);
    node.open(tcp(3), 1);
    node.read();
    assert_eq!(node.words(), ["netns:1 10.0.0.1: 0 packets, 5 open", "other other: 0 packets, 4 open"]);
    node.open(tcp(2), 20);
    node.read();
    assert_eq!(node.words(), ["netns:2 10.0.0.1: 0 packets, 23 open", "other other: 0 packets, 6 open"]);
    // All of them were opened before.
    node.open(tcp(2), -23);
    node.read();
    assert_eq!(node.words(), ["netns:2 10.0.0.1: 0 packets, 0 open", "other other: 0 packets, 6 open"]);
    let shown = node.shown();
    let own = shown[&edge_of(2)].tcp;
    assert_eq!((own.opened, own.closed()), (0, 23));
    assert_eq!(shown[&Edge::other(Reporter::Source)].tcp.opened, 29);
}

#[test]
fn a_connection_opened_while_the_table_was_full_is_closed_where_it_was_opened() {
    let mut node = Node::new(100);
    let other = FlowKey::other(PROTOCOL_TCP, ROLE_CLIENT);
    node.open(other, 2);
    node.read();
    // Now there is room.
    node.open(tcp(1), -1);
    node.open(udp(1), 0);
    node.read();
    let both = ["netns:1 10.0.0.1: 0 packets, 0 open", "other other: 0 packets, 1 open"];
    assert_eq!(node.words(), both);
    node.now += IDLE;
    node.read();
    node.remove(MAIN, tcp(1));
    node.read();
    assert_eq!(node.words(), both);
}

#[test]
fn a_reading_that_was_not_ended_loses_nothing() {
    let mut node = Node::new(100);
    node.send(tcp(1), 5);
    node.send(tcp(2), 6);
    node.read();
    let words = node.words();
    node.send(tcp(1), 1);
    assert_eq!(node.read_some(1), None);
    assert_eq!(node.words(), words);
    node.send(tcp(1), 1);
    node.read();
    assert_eq!(node.words(), ["netns:1 10.0.0.1: 7 packets, 0 open", "netns:2 10.0.0.1: 6 packets, 0 open"]);
}

/// Gives three cgroups their names; two are of one service.
fn name_cgroups(node: &mut Node) {
    for (id, path) in [(X, "a.service/x"), (Y, "a.service/y"), (B, "b")] {
        node.names.answer_cgroup(id, Some(path.as_bytes()));
    }
}

const X: u64 = 101;
const Y: u64 = 102;
const B: u64 = 103;

#[test]
fn a_name_that_comes_late_takes_over_the_series() {
    let [x, y, b] = [X, Y, B].map(of_cgroup);
    let mut node = Node::new(100);
    for (flow, packets) in [(x, 1), (y, 2), (b, 4)] {
        node.send(flow, packets);
    }
    node.read();
    assert!(node.words().iter().all(|words| words.starts_with("cgroup:")), "{:?}", node.words());
    name_cgroups(&mut node);
    node.read();
    assert_eq!(node.words(), ["a.service 10.0.0.1: 3 packets, 0 open", "b 10.0.0.1: 4 packets, 0 open"]);
    for flow in [x, y, b] {
        node.send(flow, 8);
    }
    node.read();
    let words = ["a.service 10.0.0.1: 19 packets, 0 open", "b 10.0.0.1: 12 packets, 0 open"];
    assert_eq!(node.words(), words);
    node.remove(MAIN, x);
    node.read();
    assert_eq!(node.words(), words);
    assert_eq!(node.model.edges().count(), 2);
}

#[test]
fn late_names_and_folding_go_together() {
    let [x, y] = [X, Y].map(of_cgroup);
    for shown in [x, y] {
        // The other one is folded, and both become one edge, which is as large as both and shown as one was.
        let mut node = Node::new(3);
        let datagrams = FlowKey { protocol: PROTOCOL_UDP, ..shown };
        for (flow, packets) in [(x, 10), (y, 10), (datagrams, 90), (tcp(9), 1)] {
            node.send(flow, packets);
        }
        node.read();
        assert_eq!(node.words()[1], "other other: 11 packets, 0 open");
        node.remove(MAIN, datagrams);
        name_cgroups(&mut node);
        for (flow, packets) in [(x, 1), (y, 1), (tcp(9), 120)] {
            node.send(flow, packets);
        }
        node.read();
        let other = "other other: 132 packets, 0 open";
        assert_eq!(node.words(), ["a.service 10.0.0.1: 101 packets, 0 open", other]);
        node.remove(MAIN, x);
        node.read();
        assert_eq!(node.words(), ["a.service 10.0.0.1: 101 packets, 0 open", other]);
    }
}

#[test]
fn histograms_go_before_edges_do() {
    let mut node = Node::new(6);
    for namespace in [1, 2] {
        let totals = &mut node.count(0, tcp(namespace)).tcp;
        totals.sent_segments = namespace;
        totals.rtt.buckets[0] = namespace;
        totals.rtt.sum = 10 * namespace;
    }
    node.read();
    let rtts = |node: &Node| -> Vec<_> {
        node.shown().values().map(|totals| (totals.tcp.sent_segments, totals.tcp.rtt.sum)).collect()
    };
    assert_eq!(rtts(&node), [(1, 10), (2, 20)]);
    // One more series is one too many. The histogram of `other` takes as much room as that of the smaller edge left.
    node.count(0, tcp(2)).tcp.opened = 1;
    node.read();
    assert_eq!(node.budget.statistics(), Statistics { series: 5, max_series: 6, folded: 0, cut_short: 0 });
    assert_eq!(rtts(&node), [(1, 0), (2, 0), (0, 30)]);
}
