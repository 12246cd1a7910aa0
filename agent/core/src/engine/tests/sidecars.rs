//! A pod with a sidecar, as the kernel counts it: every byte is on one edge, and what is direct stays so.

use netcause_common::flow::ConnectFailure::Refused;

use super::*;
use crate::aggregate::{Edge, Via};
use crate::enrich::sidecar::Direction;

/// Cgroups of the pod at 10.0.0.1: the workload, its sidecar, and another container.
const APP: u64 = 21;
const ENVOY: u64 = 22;
const AGENT: u64 = 23;

struct Pod(Player);

impl Pod {
    /// With a sidecar that listens.
    fn new() -> Self {
        let mut pod = Self::unknown();
        let queue = AcceptQueue { sweep: 1, ..AcceptQueue::default() };
        let listens = |port| (QueueKey { local: ENVOY, port, ..QueueKey::default() }, queue);
        let queues = [15001, 15006, 15020].map(listens).into();
        pod.0.play(Input::Listeners { queues, namespaces: Vec::new() });
        pod.read();
        pod
    }

    /// No cgroup of it is known.
    fn unknown() -> Self {
        let mut player = Player::new();
        for (number, workload) in [(1, "web"), (2, "db")] {
            let address = format!("10.0.0.{number}");
            player.change(Change::ApplyPod(Box::new(pod(number, workload, &address))));
        }
        Self(player)
    }

    /// Ends a reading before cgroups that are new are known.
    fn read_early(&mut self) {
        self.0.play(Input::ReadingEnded);
        self.0.seconds += 1;
    }

    /// Ends a reading, and a quiet one.
    fn read(&mut self) {
        for _ in 0..2 {
            for id in self.0.engine.take_cgroup_questions() {
                let container = char::from(b'a' + u8::try_from(id - APP).unwrap());
                let container = String::from(container).repeat(64);
                let path = format!("kubepods/burstable/pod{}/{container}", uid(1));
                self.0.play(Input::Cgroup { id, path: Some(path.as_bytes()) });
            }
            self.0.play(Input::ReadingEnded);
            self.0.seconds += 1;
        }
    }

    /// Opens connections of a flow, each of which sends 100 bytes.
    fn open(&mut self, key: FlowKey, connections: u64) {
        let tcp = TcpCounters { opened: connections, sent_bytes: 100 * connections, ..TcpCounters::ZERO };
        self.0.play(Input::Flow { key, delta: &Totals { tcp, ..Totals::ZERO } });
    }

    /// Connections through the sidecar to an address, sent on to another one, each once; no sending on to 0.
    fn redirected(&mut self, connections: u64, to: ([u8; 4], u16), sent_on: ([u8; 4], u16)) {
        self.open(client(APP, to.0, to.1), connections);
        self.open(server(ENVOY, [10, 0, 0, 1], 15001), connections);
        if sent_on.1 != 0 {
            self.open(client(ENVOY, sent_on.0, sent_on.1), connections);
        }
        self.read();
    }

    /// Each edge with connections: ends, port, leg, connections and bytes.
    fn edges(&self) -> Vec<String> {
        let text = |edge: &Edge| match edge.via {
            Via::OwnSidecar(Direction::Outbound) => format!("{:?} {} out", edge.reporter, edge.source),
            Via::OwnSidecar(Direction::Inbound) => format!("{:?} {} in", edge.reporter, edge.source),
            via => {
                let through = if via == Via::Sidecar { " through" } else { "" };
                let port = edge.port.unwrap_or_default();
                format!("{:?} {} {}:{port}{through}", edge.reporter, edge.source, edge.destination)
            }
        };
        let edges = self.0.engine.model().edges().map(|(_, entry)| (entry.edge(), entry.totals().unpack()));
        let edges = edges.filter(|(_, totals)| *totals != Totals::ZERO);
        let mut edges: Vec<_> = edges
            .map(|(edge, Totals { tcp, .. })| {
                let failed: u64 = tcp.connect_failures.iter().sum();
                format!("{}: {} opened, {failed} failed, {} bytes", text(edge), tcp.opened, tcp.sent_bytes)
            })
            .collect();
        edges.sort_unstable();
        edges
    }
}

fn client(local: u64, address: [u8; 4], port: u16) -> FlowKey {
    let remote = Address::from_v4_network_order(u32::from_ne_bytes(address));
    FlowKey { remote, service_port: port, ..flow(local, 0) }
}

fn server(local: u64, address: [u8; 4], port: u16) -> FlowKey {
    FlowKey { role: ROLE_SERVER, ..client(local, address, port) }
}

const DB: [u8; 4] = [10, 0, 0, 2];
const STOCK: [u8; 4] = [10, 0, 0, 77];
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];

#[test]
fn two_ports_through_one_sidecar_are_one_leg() {
    let mut pod = Pod::new();
    pod.redirected(3, (DB, 80), (DB, 80));
    pod.redirected(2, (DB, 9000), (DB, 9000));
    let expected = [
        "Destination web out: 5 opened, 0 failed, 500 bytes",
        "Source web db:80 through: 3 opened, 0 failed, 300 bytes",
        "Source web db:9000 through: 2 opened, 0 failed, 200 bytes",
        "Source web out: 5 opened, 0 failed, 500 bytes",
    ];
    assert_eq!(pod.edges(), expected);
}

#[test]
fn what_is_excluded_stays_direct_with_its_past_and_failures() {
    let mut pod = Pod::new();
    let excluded = client(APP, DB, 9090);
    pod.open(excluded, 4);
    pod.read();
    pod.redirected(1, (DB, 80), (DB, 80));
    // An excluded user, at the address and port that the sidecar connects to; all is refused in the end.
    pod.open(client(AGENT, DB, 80), 6);
    pod.redirected(2, (DB, 80), (DB, 80));
    for key in [excluded, client(AGENT, DB, 80)] {
        let mut tcp = TcpCounters::ZERO;
        tcp.connect_failures[Refused as usize] = 7;
        pod.0.play(Input::Flow { key, delta: &Totals { tcp, ..Totals::ZERO } });
    }
    pod.read();
    let expected = [
        "Destination web out: 3 opened, 0 failed, 300 bytes",
        "Source web db:80 through: 3 opened, 0 failed, 300 bytes",
        "Source web db:80: 6 opened, 7 failed, 600 bytes",
        "Source web db:9090: 4 opened, 7 failed, 400 bytes",
        "Source web out: 3 opened, 0 failed, 300 bytes",
    ];
    assert_eq!(pod.edges(), expected);
}

#[test]
fn what_is_outside_or_answered_by_the_sidecar_counts_once() {
    let mut pod = Pod::new();
    pod.redirected(2, (OUTSIDE, 443), (OUTSIDE, 443));
    // The sidecar answers itself, and leads what is sent to a service to another one.
    pod.redirected(4, (STOCK, 80), (STOCK, 0));
    pod.redirected(5, (STOCK, 81), (DB, 8080));
    let expected = [
        "Destination web out: 11 opened, 0 failed, 1100 bytes",
        "Source web db:8080 through: 5 opened, 0 failed, 500 bytes",
        "Source web external:443 through: 2 opened, 0 failed, 200 bytes",
        "Source web out: 11 opened, 0 failed, 1100 bytes",
    ];
    assert_eq!(pod.edges(), expected);
}

#[test]
fn what_was_opened_before_the_cgroups_are_known_is_counted() {
    let mut pod = Pod::unknown();
    pod.open(client(APP, STOCK, 80), 4);
    pod.open(server(ENVOY, [10, 0, 0, 1], 15001), 4);
    pod.read_early();
    pod.read();
    let leg = |reporter| format!("{reporter} web out: 4 opened, 0 failed, 400 bytes");
    assert_eq!(pod.edges(), [leg("Destination"), leg("Source")]);
}

#[test]
fn an_edge_into_the_mesh_has_the_port_that_was_called() {
    let mut pod = Pod::new();
    pod.open(server(ENVOY, DB, 15006), 3);
    pod.read();
    assert_eq!(pod.edges(), ["Destination db web:15006 through: 3 opened, 0 failed, 300 bytes"]);
    // Its first request, and the sidecar's own health.
    for own in [client(ENVOY, [10, 0, 0, 1], 8080), server(APP, [127, 0, 0, 6], 8080)] {
        pod.open(own, 1);
    }
    for own in [client(ENVOY, [127, 0, 0, 1], 15020), server(ENVOY, [127, 0, 0, 1], 15020)] {
        pod.open(own, 1);
    }
    pod.read();
    let expected = [
        "Destination db web:8080 through: 3 opened, 0 failed, 300 bytes",
        "Destination web in: 1 opened, 0 failed, 100 bytes",
        "Destination web web:15020: 1 opened, 0 failed, 100 bytes",
        "Source web in: 1 opened, 0 failed, 100 bytes",
        "Source web web:15020: 1 opened, 0 failed, 100 bytes",
    ];
    assert_eq!(pod.edges(), expected);
    // A second port: which one was called is not known from now on.
    pod.open(client(ENVOY, [10, 0, 0, 1], 9000), 1);
    pod.open(server(ENVOY, DB, 15006), 2);
    pod.read();
    pod.open(server(ENVOY, DB, 15006), 2);
    pod.read();
    let edges = pod.edges();
    assert_eq!(edges[0], "Destination db web:15006 through: 2 opened, 0 failed, 200 bytes");
    assert_eq!(edges[1], "Destination db web:8080 through: 5 opened, 0 failed, 500 bytes");
}

#[test]
fn what_is_refused_in_a_pod_is_the_pods() {
    let refused = |namespace| {
        let flow = server(LOCAL_IS_NAMESPACE | namespace, DB, 8080);
        let mut tcp = TcpCounters::ZERO;
        tcp.resets[0] = 3;
        (flow, Totals { tcp, ..Totals::ZERO })
    };
    let listens = |local, namespace| {
        let queue = AcceptQueue { sweep: 1, namespace, ..AcceptQueue::default() };
        (QueueKey { local, port: 8080, ..QueueKey::default() }, queue)
    };
    let mut pod = Pod::unknown();
    // Containers of one pod in one namespace; others in that of the host; nobody in the third.
    let queues = vec![listens(APP, 77), listens(ENVOY, 77), listens(AGENT, 78), listens(7, 78)];
    pod.0.play(Input::Listeners { queues, namespaces: Vec::new() });
    for namespace in [77, 78, 79] {
        let (key, delta) = refused(namespace);
        pod.0.play(Input::Flow { key, delta: &delta });
    }
    pod.0.play(Input::Cgroup { id: 7, path: Some(b"system.slice/sshd.service") });
    // Before the cgroups of the pod are known, and after.
    pod.read_early();
    pod.read();
    let destinations: Vec<String> = {
        let edges = pod.0.engine.model().edges().filter(|(_, entry)| entry.totals().unpack() != Totals::ZERO);
        edges
            .map(|(_, entry)| {
                format!("{} {}", entry.edge().destination, entry.totals().unpack().tcp.resets[0])
            })
            .collect()
    };
    assert_eq!(destinations, ["web 3", "netns:78 3", "netns:79 3"]);
}
