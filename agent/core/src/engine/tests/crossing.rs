//! The ends of connections are in different network namespaces, where the same addresses may be in use more than once.

use super::peers::{End, Node, key};
use super::*;

const PATHS: [&str; 5] = ["app.service", "db.service", "cron.service", "new.service", "other.service"];
/// A client and a server, and another pair with the same addresses.
const APP: End = (1, "10.0.0.1", 1);
const DB: End = (2, "10.0.0.2", 2);
const CRON: End = (3, APP.1, 3);
const ITS_DB: End = (4, DB.1, 4);

/// Connections are opened and closed: so many as the client has opened, so many as the server has accepted.
fn count(node: &mut Node, client: End, server: End, opened: u64, accepted: u64) {
    for (flow, opened) in
        [(key(client, server, ROLE_CLIENT), opened), (key(server, client, ROLE_SERVER), accepted)]
    {
        // Two bytes in each, and one back.
        let [sent_bytes, received_bytes] =
            if flow.role == ROLE_CLIENT { [2 * opened, opened] } else { [opened, 2 * opened] };
        let tcp =
            TcpCounters { opened, sent_segments: opened, sent_bytes, received_bytes, ..TcpCounters::ZERO };
        node.player.play(Input::Flow { key: flow, delta: &Totals { tcp, ..Totals::ZERO } });
    }
}

fn connect(node: &mut Node, client: End, server: End, port: u16) {
    node.announce_from(client, server, ROLE_CLIENT, port);
    node.announce_from(server, client, ROLE_SERVER, port);
}

#[test]
fn each_of_two_equal_networks_has_its_own() {
    let mut node = Node::new(&PATHS);
    // Both connect at the same time.
    node.announce_from(APP, DB, ROLE_CLIENT, 4000);
    node.announce_from(CRON, ITS_DB, ROLE_CLIENT, 4002);
    node.announce_from(ITS_DB, CRON, ROLE_SERVER, 4002);
    node.announce_from(DB, APP, ROLE_SERVER, 4000);
    count(&mut node, APP, DB, 5, 5);
    count(&mut node, CRON, ITS_DB, 7, 7);
    node.read();
    count(&mut node, APP, DB, 1, 1);
    node.read();
    let (one, other) = ("app.service -> db.service: 6", "cron.service -> new.service: 7");
    assert_eq!(node.shown(), [one, one, other, other]);
}

#[test]
fn connections_that_cannot_be_told_apart_have_no_name() {
    let mut node = Node::new(&PATHS);
    connect(&mut node, APP, DB, 4000);
    connect(&mut node, CRON, ITS_DB, 4000);
    count(&mut node, APP, DB, 5, 5);
    count(&mut node, CRON, ITS_DB, 5, 5);
    node.read();
    assert_eq!(
        node.shown(),
        [
            "10.0.0.1 -> db.service: 5",
            "10.0.0.1 -> new.service: 5",
            "app.service -> 10.0.0.2: 5",
            "cron.service -> 10.0.0.2: 5",
        ]
    );
}

#[test]
fn halves_of_two_equal_networks_are_no_pair() {
    let mut node = Node::new(&PATHS);
    // The other half of each is on another node.
    node.announce_from(APP, DB, ROLE_CLIENT, 4000);
    node.announce_from(ITS_DB, CRON, ROLE_SERVER, 4002);
    for _ in 0..2 {
        node.player.play(Input::Tick);
        count(&mut node, APP, ITS_DB, 3, 4);
        node.read();
    }
    assert_eq!(node.shown(), ["10.0.0.1 -> new.service: 8", "app.service -> 10.0.0.2: 6"]);
    // As many connections, but other bytes.
    for key in [key(APP, DB, ROLE_CLIENT), key(ITS_DB, CRON, ROLE_SERVER)] {
        let tcp = TcpCounters { opened: 3, sent_segments: 3, sent_bytes: 9, ..TcpCounters::ZERO };
        node.player.play(Input::Flow { key, delta: &Totals { tcp, ..Totals::ZERO } });
    }
    node.read();
    assert_eq!(node.shown(), ["10.0.0.1 -> new.service: 11", "app.service -> 10.0.0.2: 9"]);
    let mut node = Node::new(&PATHS);
    node.announce_from(APP, DB, ROLE_CLIENT, 4000);
    node.announce_from(ITS_DB, CRON, ROLE_SERVER, 4002);
    count(&mut node, APP, ITS_DB, 1, 1);
    node.read();
    assert_eq!(node.shown(), ["10.0.0.1 -> new.service: 1", "app.service -> 10.0.0.2: 1"]);
}

#[test]
fn many_connections_that_are_as_many_at_both_ends_are_a_pair() {
    let mut node = Node::new(&PATHS);
    // A pool is older than the agent: each end announces the connection that it finds first.
    node.announce_from(APP, DB, ROLE_CLIENT, 4000);
    node.announce_from(DB, APP, ROLE_SERVER, 4009);
    for (key, sent, received) in [(key(APP, DB, ROLE_CLIENT), 30, 7), (key(DB, APP, ROLE_SERVER), 7, 30)] {
        let tcp = TcpCounters {
            open: 10,
            sent_segments: 3,
            sent_bytes: sent,
            received_bytes: received,
            ..TcpCounters::ZERO
        };
        node.player.play(Input::Flow { key, delta: &Totals { tcp, ..Totals::ZERO } });
    }
    node.read();
    assert_eq!(node.shown(), ["app.service -> db.service: 3", "app.service -> db.service: 3"]);
}

#[test]
fn ends_that_are_paired_late_have_their_past() {
    let mut node = Node::new(&PATHS);
    // A pool that is older than the agent: each end announces the connection that it finds first.
    node.announce_from(APP, DB, ROLE_CLIENT, 4000);
    node.announce_from(DB, APP, ROLE_SERVER, 4009);
    // Under load, the two ends are never read at the same time.
    for (open, sent, received) in
        [(10, 30, 29), (0, 30, 31), (0, 30, 29), (0, 30, 31), (0, 40, 40), (0, 40, 40)]
    {
        for (key, sent, received) in
            [(key(APP, DB, ROLE_CLIENT), sent, 0), (key(DB, APP, ROLE_SERVER), 0, received)]
        {
            let tcp = TcpCounters {
                open,
                sent_segments: 3,
                sent_bytes: sent,
                received_bytes: received,
                ..TcpCounters::ZERO
            };
            node.player.play(Input::Flow { key, delta: &Totals { tcp, ..Totals::ZERO } });
        }
        node.read();
    }
    // Whether it is shown there is decided by what scrapers have got.
    let all = "app.service -> db.service: 18";
    assert_eq!(node.shown(), [all, all]);
}

#[test]
fn the_next_server_has_no_name_until_it_is_proved() {
    let mut node = Node::new(&PATHS);
    let next = (4, DB.1, 5);
    connect(&mut node, APP, DB, 4000);
    count(&mut node, APP, DB, 5, 5);
    node.read();
    // Another namespace has the address by now; the client's flow is not new. Its own has others, too.
    node.announce_from(next, APP, ROLE_SERVER, 4010);
    assert!(node.player.outputs().iter().any(|output| matches!(output, Output::Read)));
    node.read();
    count(&mut node, APP, next, 2, 3);
    node.read();
    assert_eq!(
        node.shown(),
        [
            "10.0.0.1 -> new.service: 3",
            "app.service -> 10.0.0.2: 2",
            "app.service -> db.service: 5",
            "app.service -> db.service: 5",
        ]
    );
    count(&mut node, APP, next, 4, 4);
    node.read();
    // What the client has sent meanwhile went there; what the server had accepted until this reading was not all of that client's.
    assert_eq!(
        node.shown(),
        [
            "10.0.0.1 -> new.service: 7",
            "app.service -> db.service: 5",
            "app.service -> db.service: 5",
            "app.service -> new.service: 6",
        ]
    );
}

#[test]
fn clients_that_share_an_address_with_a_known_one_have_no_name() {
    let mut node = Node::new(&PATHS);
    connect(&mut node, APP, DB, 4000);
    count(&mut node, APP, DB, 5, 5);
    node.read();
    // A router masquerades others with the same address.
    count(&mut node, APP, DB, 1, 4);
    node.read();
    count(&mut node, APP, DB, 2, 2);
    node.read();
    assert_eq!(
        node.shown(),
        ["10.0.0.1 -> db.service: 6", "app.service -> db.service: 5", "app.service -> db.service: 8"]
    );
}

#[test]
fn a_client_that_is_read_later_than_its_server_keeps_its_name() {
    let mut node = Node::new(&PATHS);
    connect(&mut node, APP, DB, 4000);
    count(&mut node, APP, DB, 4, 5);
    node.read();
    count(&mut node, APP, DB, 3, 2);
    node.read();
    assert_eq!(node.shown(), ["app.service -> db.service: 7", "app.service -> db.service: 7"]);
}

#[test]
fn masqueraded_clients_are_not_the_first_client_of_their_address() {
    let mut node = Node::new(&PATHS);
    // All within the first reading.
    connect(&mut node, APP, DB, 4000);
    count(&mut node, APP, DB, 1, 4);
    node.read();
    assert_eq!(node.shown(), ["10.0.0.1 -> db.service: 4", "app.service -> db.service: 1"]);
    count(&mut node, APP, DB, 0, 2);
    node.read();
    count(&mut node, APP, DB, 7, 7);
    node.read();
    assert_eq!(node.shown(), ["10.0.0.1 -> db.service: 13", "app.service -> db.service: 8"]);
}

#[test]
fn what_was_sent_before_a_server_had_the_address_was_not_for_it() {
    let mut node = Node::new(&PATHS);
    // The server is on another node at first.
    node.announce_from(APP, DB, ROLE_CLIENT, 4000);
    for _ in 0..2 {
        node.player.sent(key(APP, DB, ROLE_CLIENT), 5);
        node.read();
    }
    node.announce_from(DB, APP, ROLE_SERVER, 4100);
    node.player.play(Input::Tick);
    count(&mut node, APP, DB, 2, 2);
    node.read();
    count(&mut node, APP, DB, 3, 3);
    node.read();
    assert_eq!(
        node.shown(),
        ["app.service -> 10.0.0.2: 12", "app.service -> db.service: 3", "app.service -> db.service: 5"]
    );
}

#[test]
fn several_clients_at_the_address_of_a_node_have_its_name() {
    let mut node = Node::new(&PATHS);
    let host =
        enrich::objects::Node { name: "node-1".into(), addresses: vec![APP.1.parse().unwrap()], zone: None };
    node.player.change(Change::ApplyNode(Box::new(host)));
    connect(&mut node, APP, DB, 4000);
    count(&mut node, APP, DB, 5, 5);
    node.read();
    let cron = (CRON.0, APP.1, APP.2);
    node.announce_from(cron, DB, ROLE_CLIENT, 4001);
    count(&mut node, cron, DB, 2, 2);
    node.read();
    assert_eq!(
        node.shown(),
        [
            "app.service -> db.service: 5",
            "app.service -> db.service: 5",
            "cron.service -> db.service: 2",
            "node-1 -> db.service: 2",
        ]
    );
}

#[test]
fn a_namespace_that_has_the_number_of_one_that_is_gone_is_another() {
    let mut node = Node::new(&PATHS);
    connect(&mut node, APP, DB, 4000);
    count(&mut node, APP, DB, 5, 5);
    node.read();
    // Their successors are not on one node.
    let next = (CRON.0, APP.1, APP.2);
    node.announce_from(next, DB, ROLE_CLIENT, 4001);
    count(&mut node, next, (0, DB.1, 0), 2, 0);
    node.read();
    assert!(node.shown().contains(&"cron.service -> 10.0.0.2: 2".to_owned()), "{:?}", node.shown());
}
