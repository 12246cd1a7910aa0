//! Network namespaces of the node get the names of what runs in them.

use super::*;
use crate::aggregate::places::{Counted, Place};
use crate::aggregate::windows::Recent;
use crate::node::{Failure, Namespace, Namespaces, Reading, Reason, netstat};

fn read(player: &mut Player, overflows: u64) -> Vec<(String, u64)> {
    let mut counters = [0; netstat::COUNTERS.len()];
    counters[0] = overflows;
    let pods = vec![Namespace { id: 1, cgroups: vec![CGROUP, SIBLING], counters }];
    fn no<T>() -> Result<T, Failure> {
        Err(Failure::new(Reason::Other, "not read here"))
    }
    player.play(Input::Node(Box::new(Reading {
        took: Duration::ZERO,
        softnet: no(),
        cpu_waiting: no(),
        netstat: Ok(Namespaces { own: [0; netstat::COUNTERS.len()], pods, left_out: 0 }),
        conntrack: no(),
        links: no(),
        qdiscs: no(),
        neighbours: no(),
        arp: no(),
        changes: no(),
    })));
    for id in player.engine.take_cgroup_questions() {
        player.play(Input::Cgroup { id, path: Some(b"system.slice/shop.service") });
    }
    player.play(Input::Tick);
    let rows = player.engine.node().netstat.into_iter();
    rows.filter_map(|(owner, counts)| Some((owner?.to_string(), counts.total[0]))).collect()
}

#[test]
fn a_network_namespace_has_its_name_at_once_and_keeps_it_without_flows() {
    let mut player = Player::new();
    assert_eq!(read(&mut player, 5), [("shop.service".to_owned(), 0)]);
    // What is forgotten with the last flow is not what the node needs.
    player.sent(flow(9, 1), 1);
    player.read();
    player.play(Input::FlowRemoved(flow(9, 1)));
    player.read();
    assert_eq!(read(&mut player, 8), [("shop.service".to_owned(), 3)]);
}

/// Each place and its first counter, of the last minutes.
fn lately(recent: &Recent<Place, Counted>) -> Vec<(Place, u64)> {
    let mut all = Vec::new();
    recent.each(Duration::from_mins(10), |place, counted| all.push(((**place).clone(), counted.counters[0])));
    all.sort_unstable();
    all
}

#[test]
fn the_last_minutes_have_what_listeners_and_the_node_counted() {
    let mut player = Player::new();
    let shop = Workload::plain("shop.service");
    let listen = |player: &mut Player, discards| {
        let key = QueueKey { local: CGROUP, port: 80, ..QueueKey::default() };
        let queue = AcceptQueue { sweep: 1, limit: 4, discards, ..AcceptQueue::default() };
        player.play(Input::Listeners { queues: vec![(key, queue)], namespaces: Vec::new() });
    };
    // What comes before the end of the first reading is of no window.
    listen(&mut player, 2);
    read(&mut player, 5);
    player.read();
    listen(&mut player, 9);
    read(&mut player, 8);
    player.read();
    let places = player.engine.places();
    assert_eq!(lately(&places.listeners.recent()), [(Place::Listener(shop.clone(), Some(80)), 7)]);
    assert_eq!(lately(&places.node.recent()), [(Place::Protocols(Some(shop)), 3)]);
}
