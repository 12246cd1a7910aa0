//! What one end alone can tell: the other one is on another node.

use netcause_common::flow::CloseReason;

use super::*;

/// The server's end of a pair, and another port of it that goes on.
fn served() -> [Arc<Edge>; 2] {
    let bad = other_end(&edge("web", "db"));
    let other = Arc::new(Edge { port: Some(9090), ..Edge::clone(&bad) });
    [bad, other]
}

#[test]
fn a_rule_at_the_server_is_found_by_what_it_drops() {
    let [bad, other] = served();
    let (client, server) = (&bad.source, &bad.destination);
    // Packets that no socket was found for count for their sender.
    for place in [Place::Drops(server.clone(), client.clone()), Place::Drops(client.clone(), server.clone())]
    {
        let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&other)]);
        let mut window = |total: u64| {
            node.read(&place, &[total]);
            node.window(&[(Arc::clone(&bad), Totals::ZERO), (Arc::clone(&other), healthy())]);
            node.active()
        };
        let found: Vec<_> = (0..16).map(|number| window(4 * number)).collect();
        let expected = [("policy_drop", Confidence::Medium, "web/db:8080".to_owned())];
        assert_eq!(found.last().unwrap()[..], expected);
        // What it dropped is over.
        let left = (0..10).map(|_| window(60)).last().unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_rule_that_drops_what_nobody_misses_is_no_finding() {
    let [bad, other] = served();
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&other)]);
    let pair = Place::Drops(bad.destination.clone(), bad.source.clone());
    let scan = Place::Drops(bad.destination.clone(), Workload::plain("scanner"));
    for total in 0..8 {
        // Late packets of connections that have ended, beside connections that go on; and a stranger.
        node.node.read([&pair, &scan].map(|place| Found {
            id: 0,
            place: place.clone(),
            totals: &[],
            levels: &[],
        }));
        node.read(&pair, &[4 * total]);
        node.window(&[(Arc::clone(&bad), healthy()), (Arc::clone(&other), healthy())]);
        node.read(&scan, &[40 * total]);
        node.window(&[(Arc::clone(&bad), healthy()), (Arc::clone(&other), healthy())]);
    }
    assert!(node.turns.is_empty(), "{:?}", node.turns);
}

/// Connections that the server's kernel accepted and nobody serves, and others that get nothing.
fn not_accepted() -> Totals {
    let mut totals = Totals::ZERO;
    totals.tcp.sent_segments = 6;
    totals.tcp.timeouts = [1, 1, 2];
    again(&mut totals, RetransmitKind::Syn, 3);
    again(&mut totals, RetransmitKind::Timeout, 3);
    totals.waits.waited_us[On::PeerApplication as usize] = 25_000_000;
    totals.waits.waited_us[On::Network as usize] = 10_000_000;
    totals
}

#[test]
fn a_server_that_accepts_nothing_is_no_dead_path() {
    for received in [0, 2] {
        let bad = edge("web", "db");
        let other = Arc::new(Edge { port: Some(9090), ..Edge::clone(&bad) });
        let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&other)]);
        // The server's kernel repeats its SYN-ACKs.
        let mut totals = not_accepted();
        totals.tcp.received_segments = received;
        node.windows(8, &[(bad, totals), (other, healthy())]);
        assert_eq!(node.causes(), ["accept_queue_overflow"]);
        let finding = &node.diagnosis.findings()[0].finding;
        assert_eq!((finding.side, finding.confidence), (Side::Server, Confidence::Medium));
    }
}

#[test]
fn requests_that_were_being_answered_when_the_path_died_are_no_full_queue() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut totals = dead(false);
    totals.waits.waited_us[On::PeerApplication as usize] = 5_000_000;
    node.windows(8, &[(bad, totals)]);
    assert_eq!(node.causes(), ["dead_path"]);
}

#[test]
fn a_peer_that_resets_again_and_again_is_named() {
    for (reporter, side) in [(Reporter::Source, Side::Server), (Reporter::Destination, Side::Client)] {
        let bad = Arc::new(Edge { reporter, ..Edge::clone(&edge("web", "db")) });
        let closing = |resets: u64| {
            let mut totals = healthy();
            totals.tcp.closed[CloseReason::Fin as usize] = 10 - resets;
            totals.tcp.closed[CloseReason::ResetReceived as usize] = resets;
            totals
        };
        let mut node = Node::with_past_of(&[(Arc::clone(&bad), closing(0))]);
        // Once may be a restart.
        node.windows(2, &[(Arc::clone(&bad), closing(8))]);
        node.windows(8, &[(Arc::clone(&bad), closing(0))]);
        assert!(node.turns.is_empty(), "{:?}", node.turns);
        node.windows(4, &[(Arc::clone(&bad), closing(8))]);
        assert_eq!(node.active(), [("application_abort", Confidence::Medium, "web/db:8080".to_owned())]);
        assert_eq!(node.diagnosis.findings()[0].finding.side, side);
        // As usual as it was: health checks that reset.
        let mut node = Node::with_past_of(&[(Arc::clone(&bad), closing(0))]);
        for _ in 0..20 {
            node.windows(1, &[(Arc::clone(&bad), closing(4))]);
            node.windows(1, &[(Arc::clone(&bad), closing(0))]);
        }
        node.windows(12, &[(bad, closing(4))]);
        assert!(node.turns.is_empty(), "{:?}", node.turns);
    }
}

#[test]
fn a_queue_that_is_still_full_is_still_full() {
    let mut node = Node::with_past(&[]);
    let place = Place::Listener(Workload::plain("db"), Some(8080));
    let mut windows = |totals: &[u64], length: u64, count: usize| {
        for _ in 0..count {
            node.listeners.read([Found { id: 1, place: place.clone(), totals, levels: &[length, 4] }]);
            node.listeners.end_reading(Duration::from_secs(node.now + 5));
            node.window(&[]);
        }
        node.causes()
    };
    let full = place.counters().iter().position(|name| *name == "accept_queue_full").unwrap();
    let counted = |count: u64| {
        let mut totals = vec![0; place.counters().len()];
        totals[full] = count;
        totals
    };
    windows(&counted(0), 0, 2);
    assert_eq!(windows(&counted(12), 5, 3), ["accept_queue_overflow"]);
    // Those who wait repeat later and later.
    assert_eq!(windows(&counted(12), 5, 12), ["accept_queue_overflow"]);
    assert!(windows(&counted(12), 0, 12).is_empty());
}

#[test]
fn a_transfer_that_backs_off_makes_a_dead_path_no_surer() {
    for (is_full_size, sure) in [(true, Confidence::Medium), (false, Confidence::High)] {
        let bad = edge("web", "db");
        let mut node = Node::with_past(&[Arc::clone(&bad)]);
        node.windows(4, &[(Arc::clone(&bad), dead(is_full_size))]);
        let mut waiting = Totals::ZERO;
        waiting.waits.waited_us[On::Network as usize] = 15_000_000;
        node.windows(8, &[(Arc::clone(&bad), waiting)]);
        // A timeout of whose retransmission nothing is known as yet.
        waiting.tcp.timeouts[Timeouts::Later as usize] = 1;
        node.windows(1, &[(bad, waiting)]);
        assert_eq!(node.active(), [("dead_path", sure, "web/db:8080".to_owned())]);
    }
}

#[test]
fn what_a_full_accept_queue_drops_is_no_pressure_on_memory() {
    let bad = edge("web", "db");
    let mut dropped = healthy();
    again(&mut dropped, RetransmitKind::Timeout, 20);
    dropped.tcp.retransmitted_after_drop[DropCause::Receiver as usize] = 15;
    let place = Place::Listener(Workload::plain("db"), Some(8080));
    let full = place.counters().iter().position(|name| *name == "accept_queue_full").unwrap();
    for (is_full, cause) in [(true, "accept_queue_overflow"), (false, "receiver_memory_pressure")] {
        let mut node = Node::with_past(&[Arc::clone(&bad)]);
        let mut totals = vec![0; place.counters().len()];
        for _ in 0..4 {
            totals[full] += if is_full { 12 } else { 0 };
            node.listeners.read([Found {
                id: 1,
                place: place.clone(),
                totals: &totals,
                levels: &[if is_full { 4 } else { 0 }, 4],
            }]);
            node.listeners.end_reading(Duration::from_secs(node.now + 5));
            node.window(&[(Arc::clone(&bad), dropped)]);
        }
        assert_eq!(node.causes(), [cause]);
    }
}
