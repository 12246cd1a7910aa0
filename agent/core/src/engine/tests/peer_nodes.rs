//! TCP by the node at the other end: at that time, whatever the names do later.

use super::{CGROUP, Player, TcpCounters, flow};
use crate::aggregate::peer_nodes::Row;
use crate::enrich::objects::{Change, Kind, Node};
use crate::enrich::testing::{BEGIN, pod, service, uid};

impl Player {
    fn node(&mut self, name: &str, zone: &str, address: &str) {
        let (name, zone) = (name.into(), Some(zone.into()));
        let addresses = vec![address.parse().unwrap()];
        self.change(Change::ApplyNode(Box::new(Node { name, addresses, zone })));
    }

    fn pod_on(&mut self, number: u8, address: &str, node: &str) {
        let mut pod = pod(number, "web", address);
        pod.node = Some(node.into());
        pod.since = Some(BEGIN + self.seconds);
        self.change(Change::ApplyPod(Box::new(pod)));
    }

    /// Each node at the other end, and the segments sent to it.
    fn peer_nodes(&self) -> Vec<String> {
        let text = |(row, totals): &(&Row, &TcpCounters)| match row {
            Row::Node { name, zone } => format!("{name}/{zone}: {}", totals.sent_segments),
            row => format!("{row:?}: {}", totals.sent_segments),
        };
        self.engine.peer_nodes().rows().iter().map(text).collect()
    }
}

#[test]
fn segments_count_for_the_node_of_the_pod_that_had_the_address() {
    let mut player = Player::new();
    player.node("a", "eu-1", "10.1.0.1");
    player.node("b", "eu-2", "10.1.0.2");
    player.pod_on(1, "10.0.0.1", "a");
    player.sent(flow(CGROUP, 1), 5);
    player.sent(flow(8, 1), 2);
    player.sent(flow(8, 99), 1000);
    player.read();
    assert_eq!(player.peer_nodes(), ["a/eu-1: 7"], "10.0.0.99 is of no node");
    player.seconds += 60;
    player.change(Change::Delete(Kind::Pod, uid(1)));
    player.sent(flow(CGROUP, 1), 3);
    player.read();
    player.pod_on(2, "10.0.0.1", "b");
    player.read();
    player.sent(flow(CGROUP, 1), 100);
    player.read();
    assert_eq!(player.peer_nodes(), ["a/eu-1: 10", "b/eu-2: 100"]);
}

#[test]
fn a_service_leads_to_several_nodes() {
    let mut player = Player::new();
    player.node("a", "eu-1", "10.1.0.1");
    player.pod_on(1, "10.0.0.1", "a");
    player.change(service("web", "10.0.0.80"));
    player.sent(flow(CGROUP, 80), 5);
    player.sent(flow(CGROUP, 1), 1);
    player.sent(flow(CGROUP, 80).others_of(), 1);
    player.read();
    assert_eq!(player.peer_nodes(), ["a/eu-1: 1", "Unknown: 6"]);
}
