//! Segments of full size that are not acknowledged: a smaller MTU, or a dead path.

use super::*;

/// A bulk transfer whose segments are sent again and again.
fn stuck() -> Totals {
    let mut totals = Totals::ZERO;
    totals.tcp.sent_segments = 6;
    again(&mut totals, RetransmitKind::Timeout, 6);
    totals.tcp.full_size_retransmits = 6;
    totals.tcp.timeouts = [2, 2, 2];
    totals.waits.waited_us[On::Network as usize] = 10_000_000;
    totals
}

#[test]
fn where_nothing_small_was_tried_neither_is_sure() {
    let bulk = edge("backup", "store");
    let mut node = Node::with_past(&[Arc::clone(&bulk)]);
    for _ in 0..8 {
        node.window(&[(Arc::clone(&bulk), stuck())]);
        let sure = node.active().into_iter().filter(|(_, confidence, _)| *confidence == Confidence::High);
        assert_eq!(sure.count(), 0, "{:?}", node.active());
    }
    // Which of the two it is, this end cannot know.
    assert!(matches!(node.causes()[..], ["dead_path" | "mtu_black_hole"]), "{:?}", node.active());
}

#[test]
fn where_other_connections_with_the_peer_go_on_it_is_the_size() {
    let bulk = edge("backup", "store");
    let small = Arc::new(Edge { port: Some(9000), ..edge("backup", "store").as_ref().clone() });
    let mut node = Node::with_past(&[Arc::clone(&bulk), Arc::clone(&small)]);
    node.windows(8, &[(bulk, stuck()), (small, healthy())]);
    assert_eq!(node.active(), [("mtu_black_hole", Confidence::High, "backup/store:8080".to_owned())]);
}

#[test]
fn answers_that_are_stuck_at_their_server_are_not_slow() {
    let asked = edge("web", "db");
    let sent = other_end(&asked);
    let mut node = Node::with_past(&[Arc::clone(&asked), Arc::clone(&sent)]);
    // What the server has answered is repeated and not acknowledged.
    let mut stuck = healthy();
    stuck.tcp.sent_bytes = 0;
    stuck.tcp.timeouts[Timeouts::First as usize] = 2;
    again(&mut stuck, RetransmitKind::Fast, 3);
    again(&mut stuck, RetransmitKind::Timeout, 4);
    stuck.tcp.full_size_retransmits = 7;
    stuck.waits.waited_us[On::Network as usize] = 10_000_000;
    node.windows(2, &[(asked, unanswered(4_000)), (sent, stuck)]);
    let causes = node.causes();
    assert!(!causes.contains(&"slow_server") && !causes.contains(&"path_loss"), "{causes:?}");
}
