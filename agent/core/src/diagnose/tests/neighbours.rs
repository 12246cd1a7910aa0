//! Faults that look like others: what the fault lab has found to be called by another name.

use netcause_common::histogram::DNS_BOUNDS_NS;

use super::*;

fn began(node: &Node) -> Vec<&'static str> {
    let began = node.turns.iter().filter_map(|turn| match turn {
        Turn::Began(dated) => Some(dated.finding.cause.label()),
        Turn::Surer(_) | Turn::Ended(..) => None,
    });
    began.collect()
}

#[test]
fn transfers_over_a_dead_path_are_no_black_hole() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    // In the window in which it dies, connections had opened and segments had come.
    let mut dies = dead(true);
    (dies.tcp.opened, dies.tcp.received_segments) = (3, 500);
    node.windows(1, &[(Arc::clone(&bad), dies)]);
    node.windows(5, &[(Arc::clone(&bad), dead(true))]);
    assert_eq!(began(&node), ["dead_path"]);
    // Small packets might pass, for all that is known.
    assert_eq!(node.active()[0].1, Confidence::Medium);
    let mut syns = dead(true);
    again(&mut syns, RetransmitKind::Syn, 2);
    node.windows(2, &[(bad, syns)]);
    assert_eq!(node.active()[0].1, Confidence::High);
}

#[test]
fn both_ends_of_a_dead_path_wait_for_one_reason() {
    let bad = edge("web", "db");
    let server = other_end(&bad);
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&server)]);
    // The server has received the begin of a request, and waits for the rest.
    let mut waits = waiting(On::LocalApplication, 2);
    waits.waits.unanswered.buckets[8] = 4;
    waits.waits.unanswered.sum = 16_000;
    let waits = Totals { waits: waits.waits, ..Totals::ZERO };
    node.windows(6, &[(bad, dead(false)), (server, waits)]);
    assert_eq!(node.causes(), ["dead_path"]);
}

#[test]
fn a_server_that_does_not_read_is_not_slow_as_well() {
    let (bulk, small) = (edge("loader", "db"), edge("web", "db"));
    let mut node = Node::with_past(&[Arc::clone(&bulk), Arc::clone(&small)]);
    let mut stalled = waiting(On::PeerWindow, 2);
    stalled.tcp.sent_bytes = 0;
    node.windows(4, &[(bulk, stalled), (small, unanswered(4_000))]);
    assert_eq!(node.active(), [("receiver_stalled", Confidence::High, "loader/db:8080".to_owned())]);
}

#[test]
fn a_dead_path_that_recovers_is_no_rule() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut syns = dead(false);
    again(&mut syns, RetransmitKind::Syn, 6);
    node.windows(4, &[(Arc::clone(&bad), syns)]);
    assert_eq!(node.causes(), ["dead_path"]);
    node.windows(12, &[(bad, healthy())]);
    assert_eq!(began(&node), ["dead_path"]);
}

#[test]
fn heavy_loss_that_hits_handshakes_is_no_rule() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut lossy = Totals::ZERO;
    lossy.tcp.opened = 8;
    (lossy.tcp.sent_segments, lossy.tcp.received_segments) = (200, 60);
    again(&mut lossy, RetransmitKind::Syn, 16);
    again(&mut lossy, RetransmitKind::Timeout, 60);
    node.windows(6, &[(bad, lossy)]);
    assert_eq!(began(&node), ["path_loss"]);
}

#[test]
fn what_a_rule_here_drops_is_missed_at_the_other_end() {
    let bad = edge("web", "db");
    let server = other_end(&bad);
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&server)]);
    let mut dropped = dead(false);
    dropped.tcp.retransmitted_after_drop[DropCause::Policy as usize] = 12;
    // The server's answers are not acknowledged, since acknowledgements are dropped.
    node.windows(6, &[(bad, dropped), (Arc::clone(&server), dead(true))]);
    assert_eq!(began(&node), ["policy_drop"]);
    // The client's timeouts have backed off, and the server's have not.
    node.windows(5, &[(server, dead(true))]);
    assert_eq!(began(&node), ["policy_drop"]);
}

#[test]
fn a_black_hole_in_which_all_connections_hang_is_no_dead_path() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut hole = dead(true);
    (hole.tcp.opened, hole.tcp.received_segments) = (3, 6);
    node.windows(2, &[(Arc::clone(&bad), hole)]);
    // From here on no connection is opened: all hang.
    node.windows(6, &[(bad, dead(true))]);
    assert_eq!(began(&node), ["mtu_black_hole"]);
}

#[test]
fn answers_that_take_as_much_longer_as_round_trips_are_not_the_servers() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[]);
    node.windows(12, &[(Arc::clone(&bad), answering(20))]);
    let mut far = answering(420);
    far.tcp.rtt.sum = 10 * 350_000;
    node.windows(4, &[(Arc::clone(&bad), far)]);
    assert!(!began(&node).contains(&"slow_server"), "{:?}", node.active());
    let mut lossy = answering(420);
    again(&mut lossy, RetransmitKind::Fast, 60);
    node.windows(6, &[(bad, lossy)]);
    assert!(!began(&node).contains(&"slow_server"), "{:?}", node.active());
}

#[test]
fn one_port_that_is_silent_beside_others_is_a_rule() {
    let (bad, mut other) = (edge("web", "db"), Edge::clone(&edge("web", "db")));
    other.port = Some(9090);
    let other = Arc::new(other);
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&other)]);
    node.windows(6, &[(Arc::clone(&bad), dead(false)), (other, healthy())]);
    assert_eq!(began(&node), ["policy_drop"]);
    // Where another workload alone is answered, its server may be another one.
    let elsewhere = edge("job", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&elsewhere)]);
    node.windows(6, &[(bad, dead(false)), (elsewhere, healthy())]);
    assert_eq!(began(&node), ["dead_path"]);
}

#[test]
fn a_server_that_serves_one_after_the_other_reads() {
    let server = other_end(&edge("web", "redis"));
    let mut busy = waiting(On::LocalReader, 2);
    (busy.tcp.received_bytes, busy.tcp.sent_bytes) = (2_000, 2_000);
    let mut node = Node::with_past(&[Arc::clone(&server)]);
    node.windows(8, &[(Arc::clone(&server), busy)]);
    assert!(node.turns.is_empty(), "{:?}", node.active());
    busy.tcp.sent_bytes = 0;
    node.windows(4, &[(server, busy)]);
    assert_eq!(node.causes(), ["receiver_stalled"]);
}

#[test]
fn a_dns_server_that_becomes_slow_soon_after_the_begin_is_slow() {
    let mut server = Edge::clone(&edge("web", "dns"));
    server.port = Some(53);
    let server = Arc::new(server);
    let answered = |milliseconds: u64| {
        let mut totals = Totals::ZERO;
        totals.dns.queries[0] = 20;
        totals.dns.responses[0] = 20;
        let took = milliseconds * 1_000_000;
        totals.dns.duration.buckets[DNS_BOUNDS_NS.partition_point(|bound| *bound < took)] = 20;
        totals.dns.duration.sum = 20 * took;
        totals
    };
    let mut node = Node::with_past(&[]);
    node.windows(7, &[(Arc::clone(&server), answered(21))]);
    node.windows(4, &[(Arc::clone(&server), answered(170))]);
    assert_eq!(node.causes(), ["dns_server_slow"]);
    // One that was down answers what has waited.
    let mut node = Node::with_past(&[]);
    node.windows(8, &[(Arc::clone(&server), answered(2))]);
    let mut down = Totals::ZERO;
    down.dns.queries[0] = 20;
    down.dns.timeouts = 20;
    node.windows(5, &[(Arc::clone(&server), down)]);
    node.windows(3, &[(server, answered(900))]);
    assert_eq!(began(&node), ["dns_server_down"]);
}

#[test]
fn a_path_that_has_just_died_is_no_rule() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut syns = dead(false);
    again(&mut syns, RetransmitKind::Syn, 8);
    syns.tcp.timeouts = [3, 3, 0];
    node.windows(6, &[(bad, syns)]);
    assert_eq!(began(&node), ["dead_path"]);
}

#[test]
fn a_server_that_refused_before_it_listened_has_no_rule() {
    let bad = edge("web", "db");
    let mut unknown = Edge::clone(&bad);
    (unknown.reporter, unknown.port, unknown.source) =
        (Reporter::Destination, None, Workload::plain("unknown"));
    let unknown = Arc::new(unknown);
    let mut node = Node::with_past(&[]);
    for _ in 0..2 {
        node.listeners.read([Found {
            id: 1,
            place: Place::Listener(Workload::plain("db"), Some(8080)),
            totals: &[0, 0, 0, 0, 0],
            levels: &[1, 128],
        }]);
        node.listeners.end_reading(Duration::from_secs(node.now));
    }
    let (mut refused, mut resets) = (Totals::ZERO, Totals::ZERO);
    refused.tcp.connect_failures[ConnectFailure::Refused as usize] = 20;
    resets.tcp.resets_sent[netcause_common::flow::ResetReason::NoSocket as usize] = 20;
    node.windows(2, &[(bad, refused), (unknown, resets)]);
    assert!(!node.causes().contains(&"policy_reject"), "{:?}", node.active());
}

#[test]
fn connections_that_are_reset_when_a_path_recovers_are_no_crash() {
    let bad = edge("web", "db");
    let server = other_end(&bad);
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&server)]);
    node.windows(6, &[(Arc::clone(&bad), dead(false))]);
    let mut resets = Totals::ZERO;
    resets.tcp.closed[netcause_common::flow::CloseReason::ResetReceived as usize] = 8;
    node.windows(3, &[(bad, healthy()), (server, resets)]);
    assert_eq!(began(&node), ["dead_path"]);
}

#[test]
fn the_servers_end_of_a_silent_port_is_no_dead_path() {
    let (bad, mut other) = (edge("web", "db"), Edge::clone(&edge("web", "db")));
    other.port = Some(9090);
    let (other, server) = (Arc::new(other), other_end(&bad));
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&other), Arc::clone(&server)]);
    node.windows(8, &[(bad, dead(false)), (other, healthy()), (server, dead(true))]);
    assert_eq!(node.causes(), ["policy_drop"]);
}

#[test]
fn a_rule_that_refuses_and_drops_rejects() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut rejected = Totals::ZERO;
    rejected.tcp.sent_segments = 100;
    rejected.tcp.connect_failures[ConnectFailure::Refused as usize] = 20;
    again(&mut rejected, RetransmitKind::Timeout, 60);
    rejected.tcp.retransmitted_after_drop[DropCause::Policy as usize] = 60;
    node.windows(4, &[(bad, rejected)]);
    assert_eq!(began(&node), ["policy_reject"]);
}

#[test]
fn a_server_whose_connections_never_ended_begins_to_reset_them() {
    let bad = edge("web", "db");
    let server = other_end(&bad);
    let mut node = Node::with_past(&[Arc::clone(&server)]);
    let mut resets = healthy();
    resets.tcp.resets_sent[netcause_common::flow::ResetReason::Aborted as usize] = 10;
    resets.tcp.closed[netcause_common::flow::CloseReason::ResetSent as usize] = 10;
    node.windows(3, &[(server, resets)]);
    assert_eq!(began(&node), ["application_abort"]);
}

#[test]
fn a_queue_that_several_pairs_suffer_from_is_its_devices() {
    let pairs = [edge("web", "db"), edge("cron", "cache")];
    let shaped = || {
        let mut totals = healthy();
        totals.tcp.retransmitted_segments[RetransmitKind::Fast as usize] = 40;
        totals.tcp.retransmitted_after_drop[DropCause::Queue as usize] = 40;
        totals
    };
    let judged = |hurt: &[usize], devices: &[&str]| {
        let mut node = Node::with_past(&pairs);
        let read = |node: &mut Node, drops| {
            let counters = [drops, 0, 0];
            let found = devices.iter().zip(0..).map(|(device, id)| {
                let place = Place::Qdisc((*device).to_owned(), "tbf".to_owned());
                Found { id, place, totals: &counters, levels: &[] }
            });
            node.node.read(found.collect::<Vec<_>>());
            node.node.end_reading(Duration::from_secs(node.now + 5));
        };
        read(&mut node, 0);
        for window in 1..=3 {
            read(&mut node, window * 50);
            let edges = pairs.iter().enumerate();
            let of = |index: usize| if hurt.contains(&index) { shaped() } else { healthy() };
            node.window(&edges.map(|(index, edge)| (Arc::clone(edge), of(index))).collect::<Vec<_>>());
        }
        node.active()
    };
    let found = judged(&[0, 1], &["eth0"]);
    let [by_device] = &found[..] else { panic!("{found:?}") };
    assert_eq!(by_device, &("shaper_drop", Confidence::High, "node/eth0".to_owned()));
    // Which of two it is cannot be told, and one pair may have a queue of its own; a queue that nobody suffers from is none.
    let subjects = |found: Vec<(&str, Confidence, String)>| {
        found.into_iter().map(|(.., subject)| subject).collect::<Vec<_>>()
    };
    assert_eq!(subjects(judged(&[0, 1], &["eth0", "eth1"])), ["cron/cache:8080", "web/db:8080"]);
    assert_eq!(subjects(judged(&[0], &["eth0"])), ["web/db:8080"]);
    // Cables of pods have no name.
    assert_eq!(subjects(judged(&[0, 1], &[""])), ["cron/cache:8080", "web/db:8080"]);
    assert!(judged(&[], &["eth0"]).is_empty());
}

#[test]
fn what_was_sent_in_vain_over_a_dead_path_is_no_loss_after_it() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut syns = dead(false);
    again(&mut syns, RetransmitKind::Syn, 6);
    node.windows(4, &[(Arc::clone(&bad), syns)]);
    assert_eq!(node.active(), [("dead_path", Confidence::High, "web/db:8080".to_owned())]);
    let mut repeats = healthy();
    (repeats.tcp.sent_segments, repeats.tcp.received_segments) = (500, 500);
    again(&mut repeats, RetransmitKind::Timeout, 40);
    node.windows(2, &[(Arc::clone(&bad), repeats)]);
    // Large requests among them.
    let mut large = dead(true);
    (large.tcp.opened, large.tcp.received_segments) = (3, 30);
    node.windows(2, &[(Arc::clone(&bad), large)]);
    assert_eq!(began(&node), ["dead_path"]);
    // A path that loses ever since is said to when the other finding has ended.
    node.windows(12, &[(bad, repeats)]);
    assert_eq!(began(&node), ["dead_path", "path_loss"]);
}

#[test]
fn acknowledgements_that_come_late_are_not_lost_as_well() {
    let late = edge("web", "db");
    let other = other_end(&late);
    let mut node = Node::with_past(&[Arc::clone(&late), Arc::clone(&other)]);
    let mut spurious = healthy();
    again(&mut spurious, RetransmitKind::Timeout, 20);
    (spurious.tcp.timeouts, spurious.tcp.spurious_retransmits) = ([20, 0, 0], 20);
    let on_time = spurious;
    // The round trips of one end alone are longer.
    spurious.tcp.rtt.sum *= 400;
    node.windows(3, &[(Arc::clone(&late), spurious), (Arc::clone(&other), healthy())]);
    assert_eq!(began(&node), ["spurious_timeout"]);
    node.windows(3, &[(late, spurious), (other, on_time)]);
    assert_eq!(began(&node), ["spurious_timeout"]);
}

#[test]
fn what_a_full_accept_queue_drops_is_no_smaller_mtu() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    for number in 1..=6 {
        node.drops_handshakes("db", 40 * number);
        let mut repeats = dead(true);
        (repeats.tcp.opened, repeats.tcp.received_segments) = (3, 30);
        node.window(&[(Arc::clone(&bad), repeats)]);
    }
    assert_eq!(node.causes(), ["accept_queue_overflow"]);
}

#[test]
fn requests_of_full_size_behind_a_rule_are_no_smaller_mtu() {
    let bad = edge("web", "db");
    let other = Arc::new(Edge { port: Some(9090), ..Edge::clone(&bad) });
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&other)]);
    let mut syns = Totals::ZERO;
    again(&mut syns, RetransmitKind::Syn, 6);
    syns.tcp.sent_segments = 6;
    syns.tcp.connect_failures[ConnectFailure::TimedOut as usize] = 3;
    node.windows(4, &[(Arc::clone(&bad), syns), (Arc::clone(&other), healthy())]);
    assert_eq!(node.causes(), ["policy_drop"]);
    node.windows(4, &[(bad, dead(true)), (other, healthy())]);
    assert_eq!(began(&node), ["policy_drop"]);
}
