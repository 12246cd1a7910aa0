//! What the protocols of a network namespace count, and the neighbours of the node.

use super::*;
use crate::node::conntrack::Counter;
use crate::node::netstat::COUNTERS;

/// Windows in which these counters of a workload's network namespace grow by 20 each.
fn grown(names: &[&str]) -> Vec<&'static str> {
    let mut node = Node::with_past(&[]);
    let place = Place::Protocols(Some(Workload::plain("server")));
    for number in 1..=4 {
        let totals = COUNTERS.map(|name| if names.contains(&name) { 20 * number } else { 0 });
        node.read(&place, &totals);
        node.window(&[]);
    }
    node.causes()
}

#[test]
fn acknowledgements_that_others_have_overtaken_are_no_reuse_of_ports() {
    assert_eq!(grown(&["TcpExt_PAWSEstab"]), Vec::<&str>::new());
    assert_eq!(grown(&["TcpExt_PAWSEstab", "TcpExt_PAWSTimewait"]), ["time_wait_reuse"]);
    assert_eq!(grown(&["TcpExt_PAWSActive"]), ["time_wait_reuse"]);
}

/// Windows in which a pod's connection tracking, with so many entries, drops ten packets each, and so many because others were faster;
/// the node's has room for a hundred.
fn tracked(entries: u64, raced: u64) -> Node {
    let mut node = Node::with_past(&[]);
    let places = [Place::Conntrack(None), Place::Conntrack(Some(Workload::plain("server")))];
    for number in 1..=4 {
        let mut dropped = [0; Counter::COUNT];
        dropped[Counter::Drop as usize] = 10 * number;
        dropped[Counter::InsertFailed as usize] = raced * number;
        let own = [entries];
        let found = [(0, [0; Counter::COUNT], &[3, 100][..]), (1, dropped, &own)];
        node.node.read(found.iter().map(|(id, totals, levels)| Found {
            id: *id,
            place: places[*id as usize].clone(),
            totals,
            levels,
        }));
        node.node.end_reading(Duration::from_secs(node.now + 5));
        node.window(&[]);
    }
    node
}

#[test]
fn a_pods_table_of_connections_is_full_at_the_limit_of_the_node() {
    let full = |confidence| [("conntrack_full", confidence, "server".to_owned())];
    assert_eq!(tracked(99, 0).active(), full(Confidence::High));
    assert_eq!(tracked(40, 0).active(), full(Confidence::Medium), "it was, when nobody looked");
    assert_eq!(tracked(40, 10).causes(), ["dns_conntrack_race"]);
}

#[test]
fn connects_that_a_full_table_dropped_are_its_own_also_later() {
    let mut silent = Totals::ZERO;
    silent.tcp.sent_segments = 12;
    again(&mut silent, RetransmitKind::Syn, 12);
    silent.tcp.connect_failures[ConnectFailure::TimedOut as usize] = 3;
    for (raced, causes) in [(0, &["conntrack_full"][..]), (10, &["dead_path", "dns_conntrack_race"])] {
        let mut node = tracked(40, raced);
        // Longer than what the table dropped is judged.
        for _ in 0..6 {
            node.read(&Place::Conntrack(None), &[0; Counter::COUNT]);
            node.window(&[(edge("web", "server"), silent)]);
        }
        assert_eq!(node.causes(), causes);
    }
}

/// Readings of a port whose accept queue has so many, of 23 at most, one a window.
fn queued(lengths: &[u64]) -> Vec<&'static str> {
    let mut node = Node::with_past(&[]);
    let place = Place::Listener(Workload::plain("server"), Some(8080));
    for length in lengths {
        let levels = [*length, 23];
        node.listeners.read([Found { id: 0, place: place.clone(), totals: &[0; 5], levels: &levels }]);
        node.listeners.end_reading(Duration::from_secs(node.now + 5));
        node.window(&[]);
    }
    node.causes()
}

#[test]
fn a_queue_that_is_half_full_now_is_not_emptied_fast_enough() {
    assert_eq!(queued(&[0, 0, 0, 0, 13, 13, 13]), ["slow_accept"]);
    assert_eq!(queued(&[0, 0, 0, 0, 13, 0, 0]), Vec::<&str>::new());
    assert_eq!(queued(&[3; 7]), Vec::<&str>::new());
}

#[test]
fn a_neighbour_that_goes_back_and_forth_has_two_owners_and_many_that_move_have_not() {
    // Four addresses move at once; one goes back and forth.
    for (rounds, causes) in
        [([[4, 0], [4, 0], [4, 0]], &[][..]), ([[1, 1], [2, 2], [2, 2]], &["duplicate_address"])]
    {
        let mut node = Node::with_past(&[]);
        node.read(&Place::Neighbours, &[0, 0]);
        node.window(&[]);
        for totals in rounds {
            node.read(&Place::Neighbours, &totals);
            node.window(&[]);
        }
        assert_eq!(node.causes(), causes);
    }
}
