//! Dropped packets get the names of those that lost them.

use netcause_common::drops::{DropDirection, DropReason};

use super::*;
use crate::aggregate::drops::MAX_ROWS;

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
fn no_more_rows_than_there_may_be_and_the_sum_stays() {
    let mut player = Player::new();
    let count = u32::try_from(MAX_ROWS).unwrap() + 50;
    for number in 0..count {
        let peer = Address::from_v4_network_order((0x0a00_0000 | number).to_be());
        let key = key(CGROUP, DropDirection::Sent, [Address::EXTERNAL, peer]);
        player.play(Input::Drops { key, packets: 1 });
    }
    player.read();
    assert_eq!(player.engine.packet_drops().count(), MAX_ROWS + 1);
    assert_eq!(player.engine.packet_drops().map(|(_, count)| count).sum::<u64>(), u64::from(count));
    assert!(rows(&player).contains(&"other sent other netfilter_drop: 50".to_owned()));
}
