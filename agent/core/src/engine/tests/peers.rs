//! Both ends of connections are in one network namespace.

use super::*;
use crate::ingest::Own;

const PORT: u16 = 80;

/// A node without Kubernetes.
pub(super) struct Node {
    pub(super) player: Player,
    paths: Vec<&'static str>,
}

/// One end of a connection: the number of its cgroup, its address, its network namespace.
pub(super) type End = (u64, &'static str, u32);

fn address(text: &str) -> Address {
    let IpAddr::V4(v4) = text.parse().unwrap() else { panic!("{text} is not IPv4") };
    Address::from_v4_network_order(u32::from_ne_bytes(v4.octets()))
}

pub(super) fn key(end: End, to: End, role: u8) -> FlowKey {
    FlowKey { local: end.0, remote: address(to.1), service_port: PORT, role, ..flow(0, 0) }
}

impl Node {
    pub(super) fn new(paths: &[&'static str]) -> Self {
        Self { player: Player::new(), paths: paths.to_vec() }
    }

    fn announce(&mut self, end: End, to: End, role: u8) {
        self.announce_from(end, to, role, 4000);
    }

    /// A flow has begun with a connection from this port of the client's.
    pub(super) fn announce_from(&mut self, end: End, to: End, role: u8, client_port: u16) {
        let own = Some(Own { address: end.1.parse().unwrap(), namespace: end.2 });
        let (at, flow) = (Duration::from_secs(self.player.seconds), key(end, to, role));
        self.player.play(Input::Event(Event::NewFlow { at, flow, client_port, own }));
    }

    /// The first connection of a client to a server.
    fn connect(&mut self, client: End, server: End) {
        self.announce(client, server, ROLE_CLIENT);
        self.announce(server, client, ROLE_SERVER);
    }

    /// Both ends send, and the tables are read.
    fn send(&mut self, client: End, server: End, segments: u64) {
        self.player.sent(key(client, server, ROLE_CLIENT), segments);
        self.player.sent(key(server, client, ROLE_SERVER), segments);
    }

    pub(super) fn read(&mut self) {
        for id in self.player.engine.take_cgroup_questions() {
            let path = id.checked_sub(1).and_then(|at| self.paths.get(usize::try_from(at).unwrap()));
            self.player.play(Input::Cgroup { id, path: path.map(|path| path.as_bytes()) });
        }
        self.player.play(Input::ReadingEnded);
        self.player.seconds += 10;
    }

    /// What is shown, sorted; of each end.
    pub(super) fn shown(&self) -> Vec<String> {
        let mut edges: Vec<_> =
            self.player.edges().into_iter().filter(|edge| !edge.ends_with(": 0")).collect();
        edges.sort_unstable();
        edges
    }
}

const APP: End = (1, "127.0.0.1", 1);
const DB: End = (2, "127.0.0.1", 1);
const CRON: End = (3, "127.0.0.1", 1);
const PATHS: [&str; 4] = ["app.service", "db.service", "cron.service", "new.service"];

#[test]
fn a_loopback_peer_is_the_one_in_the_same_namespace() {
    let mut node = Node::new(&PATHS);
    let (other, its_db) = ((3, "127.0.0.1", 2), (4, "127.0.0.1", 2));
    node.connect(APP, DB);
    node.connect(other, its_db);
    node.send(APP, DB, 5);
    node.send(other, its_db, 7);
    node.read();
    assert_eq!(
        node.shown(),
        [
            "app.service -> db.service: 5",
            "app.service -> db.service: 5",
            "cron.service -> new.service: 7",
            "cron.service -> new.service: 7",
        ]
    );
}

#[test]
fn an_address_of_this_node_is_the_socket_there() {
    let mut node = Node::new(&PATHS);
    let (app, db) = ((1, "10.0.0.1", 1), (2, "10.0.0.2", 1));
    node.connect(app, db);
    node.send(app, db, 5);
    // The same addresses in another namespace, and a server on another node.
    let (other, its_db) = ((3, "10.0.0.1", 2), (4, "10.0.0.2", 3));
    node.connect(other, its_db);
    node.send(other, its_db, 7);
    let far = (0, "10.0.0.9", 0);
    node.announce(app, far, ROLE_CLIENT);
    node.player.sent(key(app, far, ROLE_CLIENT), 1);
    node.read();
    let both = "app.service -> db.service: 5";
    assert_eq!(
        node.shown(),
        [
            "10.0.0.1 -> new.service: 7",
            "app.service -> 10.0.0.9: 1",
            both,
            both,
            "cron.service -> 10.0.0.2: 7"
        ]
    );
}

#[test]
fn an_end_that_is_announced_late_takes_the_past_of_the_flow() {
    let mut node = Node::new(&PATHS);
    node.announce(APP, DB, ROLE_CLIENT);
    node.player.sent(key(APP, DB, ROLE_CLIENT), 5);
    node.read();
    assert_eq!(node.shown(), ["app.service -> 127.0.0.1: 5"]);
    node.announce(DB, APP, ROLE_SERVER);
    node.read();
    node.player.sent(key(APP, DB, ROLE_CLIENT), 1);
    node.read();
    assert_eq!(node.shown(), ["app.service -> db.service: 6"]);
}

#[test]
fn who_listens_next_has_nothing_of_the_one_before() {
    let mut node = Node::new(&PATHS);
    let next = (4, DB.1, DB.2);
    node.connect(APP, DB);
    node.send(APP, DB, 5);
    node.read();
    node.announce(next, APP, ROLE_SERVER);
    assert!(node.player.outputs().iter().any(|output| matches!(output, Output::Read)));
    // Before and after: of either.
    node.player.sent(key(APP, DB, ROLE_CLIENT), 3);
    node.read();
    node.player.sent(key(APP, DB, ROLE_CLIENT), 2);
    node.player.sent(key(next, APP, ROLE_SERVER), 2);
    node.read();
    assert_eq!(
        node.shown(),
        [
            "app.service -> 127.0.0.1: 3",
            "app.service -> db.service: 5",
            "app.service -> db.service: 5",
            "app.service -> new.service: 2",
            "app.service -> new.service: 2",
        ]
    );
}

#[test]
fn several_clients_at_one_address_are_several() {
    let mut node = Node::new(&PATHS);
    node.connect(APP, DB);
    node.send(APP, DB, 5);
    node.read();
    node.announce(CRON, DB, ROLE_CLIENT);
    node.player.sent(key(CRON, DB, ROLE_CLIENT), 2);
    node.player.sent(key(DB, CRON, ROLE_SERVER), 2);
    node.read();
    assert_eq!(
        node.shown(),
        [
            "app.service -> db.service: 5",
            "app.service -> db.service: 5",
            "cron.service -> db.service: 2",
            "several -> db.service: 2",
        ]
    );
}

#[test]
fn a_source_of_names_is_better_but_for_the_name_of_a_node() {
    let mut node = Node::new(&PATHS);
    let (app, web) = ((1, "10.0.0.1", 1), (2, "10.0.0.2", 1));
    node.player.change(Change::ApplyPod(Box::new(pod(1, "web", "10.0.0.2"))));
    let host = enrich::objects::Node {
        name: "node-1".into(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        zone: None,
    };
    node.player.change(Change::ApplyNode(Box::new(host)));
    node.connect(app, web);
    node.send(app, web, 5);
    node.read();
    assert_eq!(node.shown(), ["app.service -> db.service: 5", "app.service -> web: 5"]);
}

#[test]
fn what_is_not_in_use_is_forgotten() {
    let mut node = Node::new(&PATHS);
    node.connect(APP, DB);
    node.send(APP, DB, 5);
    node.read();
    for role in [ROLE_CLIENT, ROLE_SERVER] {
        node.player.play(Input::FlowRemoved(key(DB, APP, role)));
        node.player.play(Input::FlowRemoved(key(APP, DB, role)));
    }
    node.read();
    // Another one listens by now.
    node.announce(APP, DB, ROLE_CLIENT);
    node.player.sent(key(APP, DB, ROLE_CLIENT), 1);
    node.read();
    assert!(node.shown().contains(&"app.service -> 127.0.0.1: 1".to_owned()), "{:?}", node.shown());
}
