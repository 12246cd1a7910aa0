//! What the fault lab has shown to be called wrongly, or not at all.

use super::*;

/// Kept connections: none is opened, none ends.
fn kept() -> Totals {
    let mut kept = healthy();
    kept.tcp.opened = 0;
    kept
}

#[test]
fn clients_that_give_up_have_not_crashed() {
    let bad = other_end(&edge("web", "db"));
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), kept())]);
    let mut given_up = Totals::ZERO;
    given_up.tcp.received_segments = 50;
    given_up.tcp.closed[2] = 12;
    given_up.waits.waited_us[On::LocalReader as usize] = 40_000_000;
    node.windows(2, &[(Arc::clone(&bad), given_up)]);
    assert!(!node.causes().contains(&"peer_crash"), "{:?}", node.active());
    given_up.waits = Waits::ZERO;
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), kept())]);
    node.windows(2, &[(bad, given_up)]);
    assert_eq!(node.causes(), ["peer_crash"]);
}

#[test]
fn reordering_that_tcp_learns_is_seen_in_its_first_seconds() {
    let bad = edge("web", "db");
    let mut large = healthy();
    (large.tcp.sent_segments, large.tcp.sent_bytes) = (5000, 7_000_000);
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), large)]);
    let mut reordered = large;
    again(&mut reordered, RetransmitKind::Fast, 42);
    (reordered.tcp.full_size_retransmits, reordered.tcp.spurious_retransmits) = (42, 42);
    node.window(&[(Arc::clone(&bad), reordered)]);
    node.windows(2, &[(bad, large)]);
    assert_eq!(node.causes(), ["reordering"]);
}

#[test]
fn reordering_that_tcp_has_learned_is_seen_though_nothing_is_sent_again() {
    let bad = edge("web", "db");
    let mut large = healthy();
    (large.tcp.sent_segments, large.tcp.sent_bytes) = (5000, 7_000_000);
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), large)]);
    large.tcp.reordering_events = 5;
    node.windows(4, &[(Arc::clone(&bad), large)]);
    assert!(node.causes().is_empty(), "a tenth of a percent harms nobody: {:?}", node.active());
    let mut closed = large;
    (closed.tcp.sent_segments, closed.tcp.reordering_events) = (100_000, 5000);
    node.window(&[(Arc::clone(&bad), closed)]);
    large.tcp.reordering_events = 0;
    node.windows(3, &[(Arc::clone(&bad), large)]);
    assert!(node.causes().is_empty(), "a connection that was old has ended: {:?}", node.active());
    large.tcp.reordering_events = 150;
    node.windows(2, &[(Arc::clone(&bad), large)]);
    assert_eq!(node.active(), [("reordering", Confidence::Medium, "web/db:8080".to_owned())]);
    // What is lost besides is more, and worse.
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), healthy())]);
    again(&mut large, RetransmitKind::Fast, 200);
    node.windows(4, &[(bad, large)]);
    assert_eq!(node.causes(), ["path_loss"]);
}

/// An upload of four connections that always have more.
fn upload(bytes: u64, again_segments: u64, round_trip_ms: u64) -> Totals {
    let mut upload = Totals::ZERO;
    (upload.tcp.sent_bytes, upload.tcp.sent_segments) = (bytes, bytes / 1400 + again_segments);
    upload.tcp.received_segments = bytes / 2800;
    again(&mut upload, RetransmitKind::Fast, again_segments);
    (upload.tcp.rtt.buckets[4], upload.tcp.rtt.sum) = (8, 8 * round_trip_ms * 1000);
    (upload.tcp.min_rtt.buckets[4], upload.tcp.min_rtt.sum) = (8, 8 * 20_000);
    let queueing = round_trip_ms.saturating_sub(20) * 1000;
    (upload.waits.queueing.buckets[4], upload.waits.queueing.sum) = (8, 8 * queueing);
    upload.waits.waited_us[On::CongestionWindow as usize] = 15_000_000;
    upload
}

#[test]
fn a_short_queue_that_transfers_overrun_is_no_lossy_path() {
    let full = edge("backup", "store");
    let mut node = Node::with_past(&[Arc::clone(&full)]);
    node.windows(6, &[(Arc::clone(&full), upload(7_000_000, 900, 48))]);
    let sure: Vec<_> =
        node.active().into_iter().filter(|found| found.1 as u8 >= Confidence::Medium as u8).collect();
    assert!(sure.is_empty(), "{sure:?}");
    // The same in a queue that is shorter still.
    let mut node = Node::with_past(&[Arc::clone(&full)]);
    node.windows(6, &[(Arc::clone(&full), upload(20_000_000, 200, 26))]);
    assert_eq!(node.causes(), ["bottleneck_full"]);
    // As much is lost, and hardly anything gets through: it is lost by chance.
    let mut node = Node::with_past(&[Arc::clone(&full)]);
    node.windows(6, &[(full, upload(700_000, 100, 48))]);
    assert_eq!(node.causes(), ["path_loss"]);
}

#[test]
fn what_a_deep_queue_drops_when_it_is_full_is_no_loss_of_its_own() {
    let full = edge("backup", "store");
    let mut node = Node::with_past(&[Arc::clone(&full)]);
    node.windows(4, &[(full, upload(700_000, 15, 640))]);
    assert_eq!(node.causes(), ["bufferbloat"]);
}

#[test]
fn round_trips_of_acknowledgements_that_are_lost_are_no_queue() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut lost = upload(0, 0, 200);
    lost.waits.waited_us = Waits::ZERO.waited_us;
    (lost.tcp.sent_segments, lost.tcp.received_segments) = (120, 70);
    again(&mut lost, RetransmitKind::TailLossProbe, 3);
    node.windows(2, &[(bad, lost)]);
    assert!(node.causes().is_empty(), "{:?}", node.active());
}

#[test]
fn answers_that_take_long_to_arrive_are_not_the_servers() {
    let large = edge("web", "db");
    let answers = |took_ms: u64, age_ms: u64| {
        let mut answers = healthy();
        (answers.waits.responses.buckets[6], answers.waits.responses.sum) = (10, 10 * took_ms);
        (answers.waits.unanswered.buckets[3], answers.waits.unanswered.sum) = (3, 3 * age_ms);
        answers.waits.waited_us[On::PeerApplication as usize] = 3_000_000;
        answers
    };
    let mut node = Node::with_past_of(&[(Arc::clone(&large), answers(79, 30))]);
    node.windows(4, &[(Arc::clone(&large), answers(365, 20))]);
    assert!(node.causes().is_empty(), "{:?}", node.active());
    node.windows(4, &[(large, answers(900, 450))]);
    assert_eq!(node.causes(), ["slow_server"]);
}

#[test]
fn a_rule_here_that_drops_without_tcp_being_asked_again_is_no_dead_path() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let place = Place::Drops(Workload::plain("db"), Workload::plain("web"));
    let mut dropped = [0; DropCause::COUNT];
    node.read(&place, &dropped);
    for _ in 0..3 {
        dropped[DropCause::Policy as usize] += 30;
        node.read(&place, &dropped);
        node.window(&[(Arc::clone(&bad), dead(false))]);
    }
    assert_eq!(node.active(), [("policy_drop", Confidence::High, "web/db:8080".to_owned())]);
}

#[test]
fn a_rule_drops_less_and_less_of_connections_that_back_off() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let place = Place::Drops(Workload::plain("db"), Workload::plain("web"));
    let mut dropped = [0; DropCause::COUNT];
    node.read(&place, &dropped);
    let mut late = dead(false);
    late.tcp.timeouts = [0, 0, 1];
    // Four at first, of connections that have repeated their data twelve times by then.
    for (count, counted) in [(4, dead(false)), (2, late), (2, late), (2, late)] {
        dropped[DropCause::Policy as usize] += count;
        node.read(&place, &dropped);
        node.window(&[(Arc::clone(&bad), counted)]);
    }
    assert!(node.causes().contains(&"policy_drop"), "{:?}", node.active());
}

#[test]
fn connects_that_a_rule_here_prohibits_have_a_route() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let place = Place::Drops(Workload::plain("web"), Workload::plain("db"));
    let mut unreachable = Totals::ZERO;
    unreachable.tcp.connect_failures[ConnectFailure::Unreachable as usize] = 30;
    let mut dropped = [0; DropCause::COUNT];
    node.read(&place, &dropped);
    for _ in 0..3 {
        dropped[DropCause::Policy as usize] += 30;
        node.read(&place, &dropped);
        node.window(&[(Arc::clone(&bad), unreachable)]);
    }
    assert_eq!(node.causes(), ["policy_reject"]);
}

#[test]
fn a_rule_that_rejects_is_not_another_one_that_drops() {
    let bad = edge("web", "db");
    let server = other_end(&bad);
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&server)]);
    let place = Place::Drops(Workload::plain("web"), Workload::plain("db"));
    let mut unreachable = Totals::ZERO;
    unreachable.tcp.connect_failures[ConnectFailure::Unreachable as usize] = 30;
    let mut dropped = [0; DropCause::COUNT];
    node.read(&place, &dropped);
    for _ in 0..10 {
        dropped[DropCause::Policy as usize] += 30;
        node.read(&place, &dropped);
        node.window(&[(Arc::clone(&bad), unreachable), (Arc::clone(&server), Totals::ZERO)]);
        assert!(!node.causes().contains(&"policy_drop"), "{:?}", node.active());
    }
    assert_eq!(node.causes(), ["policy_reject"]);
}

#[test]
fn refusals_are_not_usual_where_connections_were_kept() {
    let bad = edge("web", "db");
    let mut kept = healthy();
    (kept.tcp.opened, kept.tcp.closed) = (0, TcpCounters::ZERO.closed);
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), kept)]);
    // The server is gone, and its clients try again at once: hundreds fail before it is judged.
    let mut gone = Totals::ZERO;
    gone.tcp.connect_failures[ConnectFailure::Refused as usize] = 900;
    (gone.tcp.sent_segments, gone.tcp.received_segments, gone.tcp.resets[1]) = (900, 900, 900);
    node.windows(5, &[(bad, gone)]);
    assert_eq!(node.causes(), ["connection_refused"]);
}

#[test]
fn a_rule_that_rejects_drops_what_it_answers() {
    for reason in [ConnectFailure::Refused, ConnectFailure::Denied, ConnectFailure::Unreachable] {
        let bad = edge("web", "db");
        let mut node = Node::with_past(&[Arc::clone(&bad)]);
        let mut rejected = Totals::ZERO;
        rejected.tcp.connect_failures[reason as usize] = 20;
        rejected.tcp.sent_segments = 52;
        rejected.tcp.retransmitted_segments[RetransmitKind::Other as usize] = 20;
        rejected.tcp.retransmitted_after_drop[DropCause::Policy as usize] = 20;
        node.window(&[(Arc::clone(&bad), rejected)]);
        node.window(&[(bad, rejected)]);
        assert_eq!(node.causes(), ["policy_reject"], "{reason:?}: {:?}", node.active());
    }
}

#[test]
fn a_client_that_its_server_knows_by_address_has_one_fault() {
    let bad = edge("web", "db");
    let server = Arc::new(Edge {
        source: Workload::Address("10.0.0.7".parse().unwrap()),
        ..Edge::clone(&other_end(&bad))
    });
    // The server waits for the rest of a request that cannot arrive, or repeats answers of full size.
    let mut waits = Totals::ZERO;
    waits.waits.waited_us[On::LocalApplication as usize] = 10_000_000;
    (waits.waits.unanswered.buckets[8], waits.waits.unanswered.sum) = (4, 16_000);
    let mut repeats = dead(true);
    (repeats.tcp.opened, repeats.tcp.received_segments) = (3, 20);
    for (other, count) in [(waits, 6), (repeats, 6)] {
        let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&server)]);
        node.windows(count, &[(Arc::clone(&bad), dead(false)), (Arc::clone(&server), other)]);
        assert_eq!(node.causes(), ["dead_path"]);
    }
    // What a rule drops is said once, as the client's end has it.
    let mut node = Node::with_past(&[Arc::clone(&bad), Arc::clone(&server)]);
    let place = Place::Drops(server.destination.clone(), server.source.clone());
    let mut dropped = dead(false);
    dropped.tcp.retransmitted_after_drop[DropCause::Policy as usize] = 12;
    for total in 0..6 {
        node.read(&place, &[30 * total]);
        node.window(&[(Arc::clone(&bad), dropped), (Arc::clone(&server), Totals::ZERO)]);
    }
    assert_eq!(node.active(), [("policy_drop", Confidence::High, "web/db:8080".to_owned())]);
}

#[test]
fn a_server_that_waits_for_the_rest_of_a_request_in_a_queue_is_not_slow() {
    let queued = other_end(&edge("web", "db"));
    let waits = |round_trip_ms: u64| {
        let mut waits = healthy();
        waits.tcp.rtt.sum = waits.tcp.rtt.buckets[4] * round_trip_ms * 1000;
        (waits.waits.responses.buckets[3], waits.waits.responses.sum) = (10, 200);
        waits
    };
    let late = |round_trip_ms: u64| {
        let mut late = waits(round_trip_ms);
        (late.waits.unanswered.buckets[8], late.waits.unanswered.sum) = (4, 5600);
        late.waits.waited_us[On::LocalApplication as usize] = 10_000_000;
        late
    };
    let mut node = Node::with_past_of(&[(Arc::clone(&queued), waits(16))]);
    node.windows(3, &[(Arc::clone(&queued), late(133))]);
    assert!(node.causes().is_empty(), "{:?}", node.active());
    let mut node = Node::with_past_of(&[(Arc::clone(&queued), waits(16))]);
    node.windows(3, &[(queued, late(20))]);
    assert_eq!(node.causes(), ["slow_server"]);
}

#[test]
fn loss_is_sure_when_it_goes_on() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut lossy = healthy();
    again(&mut lossy, RetransmitKind::Fast, 60);
    // A tail loss probe before is nothing.
    let mut probed = healthy();
    again(&mut probed, RetransmitKind::TailLossProbe, 1);
    node.window(&[(Arc::clone(&bad), probed)]);
    let sure = |node: &Node| node.active().iter().map(|(_, confidence, _)| *confidence).collect::<Vec<_>>();
    node.window(&[(Arc::clone(&bad), lossy)]);
    assert!([vec![], vec![Confidence::Low]].contains(&sure(&node)), "{:?}", node.active());
    node.window(&[(Arc::clone(&bad), lossy)]);
    assert_eq!(sure(&node), [Confidence::High], "{:?}", node.active());
    // Whoever waits for findings that are sure hears of it, once.
    node.window(&[(bad, lossy)]);
    let heard: Vec<_> = node
        .turns
        .iter()
        .map(|turn| match turn {
            Turn::Began(dated) => ("began", dated.finding.confidence),
            Turn::Surer(dated) => ("surer", dated.finding.confidence),
            Turn::Ended(dated, _) => ("ended", dated.finding.confidence),
        })
        .collect();
    assert_eq!(heard, [("began", Confidence::Low), ("surer", Confidence::High)]);
}

#[test]
fn a_port_that_answers_nobody_while_others_answer_is_behind_a_rule() {
    let pair = |client: &str, port| Arc::new(Edge { port: Some(port), ..Edge::clone(&edge(client, "db")) });
    let (large, small, others) = (pair("web", 8080), pair("cron", 8080), pair("web", 8081));
    let all = [(Arc::clone(&large), dead(true)), (Arc::clone(&small), dead(false)), (others, healthy())];
    let mut node = Node::with_past_of(&all.each_ref().map(|(edge, _)| (Arc::clone(edge), healthy())));
    node.windows(3, &all);
    assert_eq!(node.causes(), ["policy_drop"], "{:?}", node.active());
    // Without the one that sends what is small, a smaller MTU is as likely, and a rule is not proved.
    let mut node = Node::with_past_of(&all.each_ref().map(|(edge, _)| (Arc::clone(edge), healthy())));
    node.windows(3, &[all[0].clone(), all[2].clone()]);
    assert!(!node.causes().contains(&"policy_drop"), "{:?}", node.active());
}

#[test]
fn a_few_resets_at_the_begin_are_not_what_is_usual() {
    let bad = edge("web", "db");
    let reset = |count: u64| {
        let mut reset = kept();
        (reset.tcp.closed[1], reset.tcp.resets_sent[0]) = (count, count);
        reset
    };
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), kept())]);
    node.window(&[(Arc::clone(&bad), reset(4))]);
    node.windows(4, &[(Arc::clone(&bad), reset(60))]);
    assert_eq!(node.causes(), ["application_abort"]);
    // One that always does so may do more of it.
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), reset(4))]);
    node.windows(4, &[(bad, reset(40))]);
    assert!(node.causes().is_empty(), "{:?}", node.active());
}

#[test]
fn a_queue_here_is_named_before_all_that_it_dropped_is_matched() {
    let bad = edge("web", "db");
    let mut node = Node::with_past(&[Arc::clone(&bad)]);
    let mut queued = healthy();
    (queued.tcp.sent_segments, queued.tcp.sent_bytes) = (13_000, 18_000_000);
    again(&mut queued, RetransmitKind::Fast, 400);
    queued.tcp.full_size_retransmits = 400;
    queued.tcp.retransmitted_after_drop[DropCause::Queue as usize] = 168;
    node.windows(2, &[(bad, queued)]);
    assert_eq!(node.causes(), ["shaper_drop"]);
}

#[test]
fn half_of_the_acknowledgements_of_new_connections_are_lost() {
    let bad = edge("web", "db");
    let mut past = healthy();
    (past.tcp.opened, past.tcp.closed[0]) = (130, 130);
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), past)]);
    let mut lossy = Totals::ZERO;
    lossy.tcp.opened = 6;
    (lossy.tcp.sent_segments, lossy.tcp.received_segments) = (60, 30);
    (lossy.tcp.sent_bytes, lossy.tcp.received_bytes) = (15_000, 120);
    again(&mut lossy, RetransmitKind::Syn, 6);
    again(&mut lossy, RetransmitKind::Timeout, 3);
    again(&mut lossy, RetransmitKind::TailLossProbe, 3);
    lossy.tcp.timeouts = [2, 1, 0];
    lossy.waits.waited_us[On::Network as usize] = 7_000_000;
    node.windows(4, &[(bad, lossy)]);
    assert_eq!(node.causes(), ["path_loss"]);
}

#[test]
fn a_server_that_its_client_knows_by_address_has_one_fault() {
    let known = edge("web", "db");
    let address = Workload::Address("10.0.0.9".parse().unwrap());
    let client = Arc::new(Edge { destination: address.clone(), ..Edge::clone(&known) });
    let server = other_end(&known);
    let mut node = Node::with_past(&[Arc::clone(&client), Arc::clone(&server)]);
    let place = Place::Drops(Workload::plain("web"), address);
    let mut unreachable = Totals::ZERO;
    unreachable.tcp.connect_failures[ConnectFailure::Unreachable as usize] = 30;
    let mut repeats = dead(true);
    repeats.tcp.received_segments = 1;
    let mut dropped = [0; DropCause::COUNT];
    node.read(&place, &dropped);
    for _ in 0..4 {
        dropped[DropCause::Policy as usize] += 30;
        node.read(&place, &dropped);
        node.window(&[(Arc::clone(&client), unreachable), (Arc::clone(&server), repeats)]);
    }
    assert_eq!(node.causes(), ["policy_reject"]);
}

/// What the server's end of uploads counts whose rest does not come: requests that have waited for so long.
fn part_of_an_upload(seconds: u64) -> Totals {
    let mut part = Totals::ZERO;
    (part.tcp.received_segments, part.tcp.received_bytes) = (240, 330_000);
    (part.waits.unanswered.buckets[7], part.waits.unanswered.sum) = (3, 3000 * seconds);
    part.waits.waited_us[On::LocalApplication as usize] = 10_000_000;
    part
}

#[test]
fn an_upload_whose_rest_is_lost_is_no_slow_server() {
    let client = edge("web", "db");
    let server = other_end(&client);
    let uploads = |end: &Arc<Edge>| {
        let mut usual = healthy();
        (usual.waits.responses.buckets[1], usual.waits.responses.sum) = (10, 10);
        usual.tcp.received_bytes = 1_350_000;
        (Arc::clone(end), usual)
    };
    let mut node = Node::with_past_of(&[uploads(&client), uploads(&server)]);
    let mut stuck = Totals::ZERO;
    stuck.tcp.sent_segments = 9;
    again(&mut stuck, RetransmitKind::Timeout, 9);
    stuck.tcp.full_size_retransmits = 9;
    // No path that is dead as yet.
    stuck.tcp.timeouts = [1, 1, 0];
    stuck.waits.waited_us[On::Network as usize] = 8_000_000;
    for seconds in [4, 9] {
        node.window(&[(Arc::clone(&client), stuck), (Arc::clone(&server), part_of_an_upload(seconds))]);
        assert!(!node.causes().contains(&"slow_server"), "{:?}", node.active());
    }
    // Without the client's end it may be, and is not sure.
    let mut node = Node::with_past_of(&[uploads(&server)]);
    for seconds in [4, 9, 14] {
        node.window(&[(Arc::clone(&server), part_of_an_upload(seconds))]);
    }
    assert_eq!(node.active(), [("slow_server", Confidence::Medium, "web/db:8080".to_owned())]);
}

#[test]
fn a_server_that_refuses_most_connects_answers() {
    let bad = edge("web", "db");
    let mut node = Node::with_past_of(&[(Arc::clone(&bad), kept())]);
    let mut killed = Totals::ZERO;
    killed.tcp.connect_failures[ConnectFailure::Refused as usize] = 1500;
    (killed.tcp.sent_segments, killed.tcp.received_segments) = (1500, 1500);
    again(&mut killed, RetransmitKind::Syn, 4);
    node.windows(2, &[(bad, killed)]);
    assert!(!node.causes().contains(&"policy_drop"), "{:?}", node.active());
}

#[test]
fn a_peer_that_repeats_what_it_sends_does_not_answer() {
    // The path there is dead: the server does not get acknowledgements, and sends its answers again and again.
    for syns in [0, 8] {
        let bad = edge("web", "db");
        let mut node = Node::with_past(&[Arc::clone(&bad)]);
        let mut dead = dead(false);
        dead.tcp.received_segments = 3;
        again(&mut dead, RetransmitKind::Syn, syns);
        dead.tcp.connect_failures[ConnectFailure::TimedOut as usize] = syns / 2;
        node.windows(4, &[(Arc::clone(&bad), dead)]);
        assert_eq!(node.active(), [("dead_path", Confidence::Medium, "web/db:8080".to_owned())]);
    }
}
