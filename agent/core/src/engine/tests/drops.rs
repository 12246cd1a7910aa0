//! Dropped packets get the names of those that lost them.

use netcause_common::drops::{DropDirection, DropReason};

use super::peers::{self, End, Node};
use super::*;
use crate::aggregate::drops::{MAX_ROWS, MAX_ROWS_OF_ADDRESSES};

const NAMESPACE: u64 = LOCAL_IS_NAMESPACE | 5;

fn address(last: u8) -> Address {
    Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, last]))
}

fn key(local: u64, direction: DropDirection, [source, destination]: [Address; 2]) -> DropKey {
    let reason = DropReason::NetfilterDrop as u8;
    DropKey { local, source, destination, reason, direction: direction as u8, ..DropKey::default() }
}

fn rows(player: &Player) -> Vec<String> {
    let row = |(row, count): (&crate::aggregate::drops::Row, u64)| {
        format!("{} {} {} {}: {count}", row.workload, row.direction, row.peer, row.reason().label())
    };
    let mut rows: Vec<_> = player.engine.packet_drops().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn the_socket_names_the_workload_and_addresses_the_rest() {
    let mut player = Player::new();
    player.change(Change::ApplyPod(Box::new(pod(2, "db", "10.0.0.2"))));
    let none = Address::EXTERNAL;
    for (key, packets) in [
        (key(CGROUP, DropDirection::Sent, [none, address(2)]), 3),
        (key(SIBLING, DropDirection::Sent, [none, address(2)]), 4),
        (key(CGROUP, DropDirection::Received, [address(9), none]), 1),
        (key(NAMESPACE, DropDirection::InTransit, [address(2), none]), 2),
        (key(NAMESPACE, DropDirection::InTransit, [Address::UNKNOWN; 2]), 5),
        (key(LOCAL_IS_NAMESPACE, DropDirection::InTransit, [Address::UNKNOWN; 2]), 6),
        (key(0, DropDirection::Sent, [none; 2]), 7),
        (DropKey { reason: 250, ..key(CGROUP, DropDirection::Sent, [none; 2]) }, 8),
    ] {
        player.play(Input::Drops { key, packets });
    }
    player.read();
    assert_eq!(
        rows(&player),
        [
            "db in_transit external netfilter_drop: 2",
            "netns:5 in_transit unknown netfilter_drop: 5",
            "other sent other netfilter_drop: 7",
            "shop.service received 10.0.0.9 netfilter_drop: 1",
            "shop.service sent db netfilter_drop: 7",
            "unknown in_transit unknown netfilter_drop: 6",
        ]
    );
}

#[test]
fn ends_without_a_name_are_called_as_in_the_edges_of_their_flows() {
    let mut node = Node::new(&["app.service", "db.service", "cron.service", "new.service"]);
    let (app, db): (End, End) = ((1, "10.0.0.1", 1), (2, "10.0.0.2", 2));
    // Another pair whose client has the same address, and one whose server has none of its own.
    let (cron, its_db): (End, End) = ((3, "10.0.0.1", 3), (4, "10.0.0.4", 4));
    for (client, server, port) in [(app, db, 4000), (cron, its_db, 4002)] {
        node.announce_from(client, server, ROLE_CLIENT, port);
        node.announce_from(server, client, ROLE_SERVER, port);
        let tcp = TcpCounters {
            opened: 1,
            sent_segments: 1,
            sent_bytes: 9,
            received_bytes: 9,
            ..TcpCounters::ZERO
        };
        for key in [peers::key(client, server, ROLE_CLIENT), peers::key(server, client, ROLE_SERVER)] {
            node.player.play(Input::Flow { key, delta: &Totals { tcp, ..Totals::ZERO } });
        }
    }
    node.read();
    assert!(node.shown().contains(&"app.service -> db.service: 1".to_owned()), "{:?}", node.shown());
    let none = Address::EXTERNAL;
    for (key, packets) in [
        (key(1, DropDirection::Sent, [none, address(2)]), 3),
        (key(2, DropDirection::Received, [address(1), none]), 4),
        // On the way, which of both clients had the first address cannot be seen.
        (key(NAMESPACE, DropDirection::InTransit, [address(1), address(2)]), 5),
        (key(NAMESPACE, DropDirection::InTransit, [address(4), address(9)]), 6),
    ] {
        node.player.play(Input::Drops { key, packets });
    }
    node.read();
    assert_eq!(
        rows(&node.player),
        [
            "10.0.0.1 in_transit db.service netfilter_drop: 5",
            "app.service sent db.service netfilter_drop: 3",
            "db.service received app.service netfilter_drop: 4",
            "new.service in_transit 10.0.0.9 netfilter_drop: 6",
        ]
    );
}

#[test]
fn packets_wait_for_the_name_of_their_workload_but_not_for_ever() {
    let mut player = Player::new();
    let key = key(99, DropDirection::Sent, [Address::EXTERNAL, address(2)]);
    player.play(Input::Drops { key, packets: 3 });
    player.read();
    assert_eq!(rows(&player), [""; 0]);
    player.seconds += 10;
    player.read();
    assert_eq!(rows(&player), ["cgroup:99 sent 10.0.0.2 netfilter_drop: 3"]);
    // A row without growth is no longer shown after an hour.
    player.seconds += 3_600;
    player.read();
    assert_eq!(rows(&player), [""; 0]);
}

#[test]
fn a_scan_leaves_room_for_workloads_and_the_sum_stays() {
    let mut player = Player::new();
    player.change(Change::ApplyPod(Box::new(pod(2, "db", "10.0.0.2"))));
    let addresses = u32::try_from(MAX_ROWS).unwrap();
    for number in 0..addresses {
        let peer = Address::from_v4_network_order((0x0a01_0000 | number).to_be());
        let received = key(CGROUP, DropDirection::Received, [peer, Address::EXTERNAL]);
        let in_transit = key(NAMESPACE, DropDirection::InTransit, [peer, address(9)]);
        for key in [received, in_transit] {
            player.play(Input::Drops { key, packets: 1 });
        }
    }
    player.read();
    let key = key(CGROUP, DropDirection::Sent, [Address::EXTERNAL, address(2)]);
    player.play(Input::Drops { key, packets: 3 });
    player.read();
    let shown = rows(&player);
    // Those of the scan that have no row are the workload's, as far as it has a name.
    assert_eq!(shown.len(), MAX_ROWS_OF_ADDRESSES + 3, "{shown:?}");
    for row in ["shop.service sent db", "shop.service received other", "other in_transit other"] {
        assert!(shown.iter().any(|shown| shown.starts_with(row)), "{row}: {shown:?}");
    }
    let sum: u64 = player.engine.packet_drops().map(|(_, count)| count).sum();
    assert_eq!(sum, u64::from(2 * addresses + 3));
    // Rows of the scan end before those of workloads.
    player.seconds += 300;
    player.read();
    assert_eq!(rows(&player).len(), 3);
}

#[test]
fn no_more_rows_than_there_may_be() {
    let mut player = Player::new();
    for number in 0..u32::try_from(MAX_ROWS).unwrap() + 50 {
        let key = key(1_000 + u64::from(number), DropDirection::Sent, [Address::EXTERNAL; 2]);
        player.play(Input::Drops { key, packets: 1 });
    }
    player.read();
    player.seconds += 10;
    player.read();
    assert_eq!(player.engine.packet_drops().count(), MAX_ROWS + 1);
    assert!(rows(&player).contains(&"other sent other netfilter_drop: 50".to_owned()));
}
