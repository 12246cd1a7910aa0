//! Both ends of datagrams, and of DNS, are on this node.

use netcause_common::dns::PROTOCOL_DNS;
use netcause_common::flow::{PROTOCOL_UDP, UdpCounters};

use super::peers::{End, Node, key as tcp_key};
use super::*;
use crate::ingest::Own;

const APP: End = (1, "127.0.0.1", 1);
const STUB: End = (2, "127.0.0.53", 1);
const CRON: End = (3, "127.0.0.1", 1);
/// Another server at the address of the stub resolver.
const NEXT: End = (4, STUB.1, 1);
const PATHS: [&str; 5] = ["app.service", "stub.service", "cron.service", "next.service", "stub.service"];

fn udp(end: End, to: End, role: u8) -> FlowKey {
    FlowKey { protocol: PROTOCOL_UDP, ..tcp_key(end, to, role) }
}

/// All clients of a server are one.
fn dns(end: End, to: End, role: u8) -> FlowKey {
    let remote = if role == ROLE_CLIENT { tcp_key(end, to, role).remote } else { Address::ANY };
    FlowKey { remote, protocol: PROTOCOL_DNS, ..tcp_key(end, to, role) }
}

impl Node {
    fn begin(&mut self, flow: FlowKey, end: End, client_port: u16) {
        let own = Some(Own { address: end.1.parse().unwrap(), namespace: end.2 });
        let at = Duration::from_secs(self.player.seconds);
        self.player.play(Input::Event(Event::NewFlow { at, flow, client_port, own }));
    }

    /// A first datagram from a client's port to a server.
    fn meet(&mut self, client: End, server: End, port: u16) {
        self.begin(udp(client, server, ROLE_CLIENT), client, port);
        self.begin(udp(server, client, ROLE_SERVER), server, port);
    }

    /// A first query of a client.
    fn ask(&mut self, client: End, server: End) {
        self.begin(dns(client, server, ROLE_CLIENT), client, 4000);
        self.begin(dns(server, client, ROLE_SERVER), server, 4000);
    }

    /// So many datagrams of ten bytes, each answered with eleven.
    fn datagrams(&mut self, key: FlowKey, count: u64) {
        let (asked, answered) = ((count, 10 * count), (count, 11 * count));
        let ((sent_datagrams, sent_bytes), (received_datagrams, received_bytes)) =
            if key.role == ROLE_CLIENT { (asked, answered) } else { (answered, asked) };
        let udp = UdpCounters {
            sent_bytes,
            received_bytes,
            sent_datagrams,
            received_datagrams,
            ..UdpCounters::ZERO
        };
        self.player.play(Input::Flow { key, delta: &Totals { udp, ..Totals::ZERO } });
    }

    fn exchange(&mut self, client: End, server: End, count: u64) {
        self.datagrams(udp(client, server, ROLE_CLIENT), count);
        self.datagrams(udp(server, client, ROLE_SERVER), count);
    }

    /// Each edge and the datagrams that its local end has sent, sorted.
    fn counted(&self) -> Vec<String> {
        let edges = self.player.engine.model().edges().map(|(_, entry)| {
            let edge = entry.edge();
            let sent = entry.totals().unpack().udp.sent_datagrams;
            format!("{} -> {}: {sent}", edge.source, edge.destination)
        });
        let mut edges: Vec<_> = edges.filter(|edge| !edge.ends_with(": 0")).collect();
        edges.sort_unstable();
        edges
    }
}

#[test]
fn a_loopback_address_is_of_one_namespace() {
    let mut node = Node::new(&PATHS);
    let (other, its_stub) = ((3, APP.1, 2), (4, STUB.1, 2));
    node.meet(APP, STUB, 4000);
    node.meet(other, its_stub, 4002);
    node.exchange(APP, STUB, 5);
    node.exchange(other, its_stub, 7);
    // Nobody is there, in a third namespace.
    let lonely = (5, APP.1, 3);
    node.begin(udp(lonely, STUB, ROLE_CLIENT), lonely, 4004);
    node.datagrams(udp(lonely, STUB, ROLE_CLIENT), 1);
    node.read();
    let (one, two) = ("app.service -> stub.service: 5", "cron.service -> next.service: 7");
    assert_eq!(node.counted(), [one, one, two, two, "stub.service -> 127.0.0.53: 1"]);
}

#[test]
fn clients_of_one_server_are_several() {
    let mut node = Node::new(&PATHS);
    node.meet(APP, STUB, 4000);
    node.exchange(APP, STUB, 5);
    node.read();
    node.meet(CRON, STUB, 4002);
    node.exchange(CRON, STUB, 2);
    node.read();
    let (one, two) = ("app.service -> stub.service: 5", "cron.service -> stub.service: 2");
    assert_eq!(node.counted(), [one, one, two, "several -> stub.service: 2"]);
}

#[test]
fn who_binds_the_port_next_has_nothing_of_the_one_before() {
    let mut node = Node::new(&PATHS);
    node.meet(APP, STUB, 4000);
    node.exchange(APP, STUB, 5);
    node.read();
    node.begin(udp(NEXT, APP, ROLE_SERVER), NEXT, 4001);
    assert!(node.player.outputs().iter().any(|output| matches!(output, Output::Read)));
    // Before and after: of either.
    node.datagrams(udp(APP, STUB, ROLE_CLIENT), 3);
    node.datagrams(udp(STUB, APP, ROLE_SERVER), 1);
    node.datagrams(udp(NEXT, APP, ROLE_SERVER), 2);
    node.read();
    node.exchange(APP, NEXT, 4);
    node.read();
    assert_eq!(
        node.counted(),
        [
            "app.service -> 127.0.0.53: 3",
            "app.service -> next.service: 4",
            "app.service -> next.service: 6",
            "app.service -> stub.service: 5",
            "app.service -> stub.service: 6",
        ]
    );
}

#[test]
fn servers_that_share_a_port_have_no_name_at_the_client() {
    let mut node = Node::new(&PATHS);
    node.meet(APP, STUB, 4000);
    node.exchange(APP, STUB, 5);
    node.read();
    node.begin(udp(NEXT, APP, ROLE_SERVER), NEXT, 4001);
    for _ in 0..2 {
        node.datagrams(udp(APP, STUB, ROLE_CLIENT), 6);
        node.datagrams(udp(STUB, APP, ROLE_SERVER), 2);
        node.datagrams(udp(NEXT, APP, ROLE_SERVER), 4);
        node.read();
    }
    assert_eq!(
        node.counted(),
        [
            "app.service -> 127.0.0.53: 12",
            "app.service -> next.service: 8",
            "app.service -> stub.service: 5",
            "app.service -> stub.service: 9",
        ]
    );
    // Two of one workload have its name.
    let mut node = Node::new(&PATHS);
    let sibling = (5, STUB.1, STUB.2);
    node.meet(APP, STUB, 4000);
    node.begin(udp(sibling, APP, ROLE_SERVER), sibling, 4001);
    for _ in 0..2 {
        node.datagrams(udp(APP, STUB, ROLE_CLIENT), 6);
        node.datagrams(udp(STUB, APP, ROLE_SERVER), 2);
        node.datagrams(udp(sibling, APP, ROLE_SERVER), 4);
        node.read();
    }
    assert_eq!(node.counted(), ["app.service -> stub.service: 12", "app.service -> stub.service: 12"]);
}

#[test]
fn what_goes_to_a_group_is_nobodys() {
    let mut node = Node::new(&PATHS);
    let (app, group) = ((1, "10.0.0.1", 1), (2, "224.0.0.251", 1));
    node.begin(udp(app, group, ROLE_CLIENT), app, 5353);
    node.begin(udp(group, app, ROLE_SERVER), group, 5353);
    node.exchange(app, group, 5);
    node.read();
    assert_eq!(node.counted(), ["10.0.0.1 -> stub.service: 5", "app.service -> external: 5"]);
}

#[test]
fn datagrams_between_namespaces_are_named_by_what_both_announce() {
    let mut node = Node::new(&PATHS);
    let (app, db) = ((1, "10.0.0.1", 1), (2, "10.0.0.2", 2));
    node.meet(app, db, 4000);
    node.exchange(app, db, 5);
    // Another network has the same addresses, and the other half of it is elsewhere. Heartbeats are equal by chance.
    let (half, other_half) = ((3, "10.0.0.3", 3), (4, "10.0.0.4", 4));
    node.begin(udp(half, other_half, ROLE_CLIENT), half, 4002);
    node.begin(udp(other_half, half, ROLE_SERVER), other_half, 4004);
    node.exchange(half, other_half, 1);
    node.read();
    // A masqueraded client has the same address.
    node.datagrams(udp(db, app, ROLE_SERVER), 3);
    node.read();
    node.exchange(app, db, 1);
    node.read();
    node.exchange(app, db, 1);
    node.read();
    let shown = node.counted();
    assert!(shown.contains(&"app.service -> stub.service: 7".to_owned()), "{shown:?}");
    assert!(shown.contains(&"10.0.0.1 -> stub.service: 2".to_owned()), "others are there as well: {shown:?}");
    assert!(shown.contains(&"10.0.0.3 -> next.service: 1".to_owned()), "{shown:?}");
    assert!(shown.contains(&"cron.service -> 10.0.0.4: 1".to_owned()), "{shown:?}");
}

#[test]
fn a_resolver_is_known_to_all_who_ask_its_address() {
    let mut node = Node::new(&PATHS);
    node.ask(APP, STUB);
    let stub_of_others = dns(CRON, (2, "127.0.0.54", 1), ROLE_CLIENT);
    node.begin(dns(CRON, STUB, ROLE_CLIENT), CRON, 4002);
    node.begin(stub_of_others, CRON, 4004);
    let elsewhere = (5, "127.0.0.1", 2);
    node.begin(dns(elsewhere, STUB, ROLE_CLIENT), elsewhere, 4006);
    for (flow, count) in [
        (dns(APP, STUB, ROLE_CLIENT), 5),
        (dns(CRON, STUB, ROLE_CLIENT), 2),
        (stub_of_others, 3),
        (dns(elsewhere, STUB, ROLE_CLIENT), 7),
        (dns(STUB, APP, ROLE_SERVER), 7),
    ] {
        node.datagrams(flow, count);
    }
    node.read();
    assert_eq!(
        node.counted(),
        [
            "any -> stub.service: 7",
            "app.service -> stub.service: 5",
            "cron.service -> 127.0.0.54: 3",
            "cron.service -> stub.service: 2",
            "stub.service -> 127.0.0.53: 7",
        ]
    );
}

#[test]
fn a_resolver_in_another_namespace_is_known_by_all_that_it_was_asked() {
    let mut node = Node::new(&PATHS);
    let cache = (2, "169.254.20.10", 1);
    let (one, other, far) = ((1, "10.0.0.1", 2), (3, "10.0.0.3", 3), (4, "10.0.0.4", 4));
    node.ask(one, cache);
    for client in [other, far] {
        node.begin(dns(client, cache, ROLE_CLIENT), client, 4002);
    }
    let [of_one, of_other, of_far] = [one, other, far].map(|client| dns(client, cache, ROLE_CLIENT));
    let served = dns(cache, one, ROLE_SERVER);
    // The third asks another machine of this address.
    for (flow, count) in [(of_one, 5), (of_far, 4), (served, 5)] {
        node.datagrams(flow, count);
    }
    node.read();
    assert!(node.counted().contains(&"app.service -> 169.254.20.10: 5".to_owned()), "{:?}", node.counted());
    for (flow, count) in [(of_one, 1), (of_other, 2), (served, 3)] {
        node.datagrams(flow, count);
    }
    node.read();
    assert_eq!(
        node.counted(),
        [
            "any -> stub.service: 8",
            "app.service -> stub.service: 6",
            "cron.service -> stub.service: 2",
            "next.service -> 169.254.20.10: 4",
        ]
    );
}
