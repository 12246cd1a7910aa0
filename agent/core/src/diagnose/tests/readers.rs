//! Applications that read late, or not at all.

use super::*;

/// Data waits for the peer to read, and so much of it was taken in five seconds.
fn waiting(sent: u64) -> Totals {
    let mut totals = Totals::ZERO;
    totals.tcp.sent_segments = 100;
    totals.tcp.received_segments = 100;
    totals.tcp.sent_bytes = sent;
    totals.waits.waited_us[On::PeerWindow as usize] = 5_000_000;
    totals
}

#[test]
fn a_client_that_stops_reading_stalls_and_one_that_reads_late_is_slow() {
    for (sent, expected) in
        [(0, ("receiver_stalled", Confidence::High)), (1_000_000, ("slow_client", Confidence::Medium))]
    {
        let answers = other_end(&edge("app", "server"));
        let mut node = Node::with_past(&[Arc::clone(&answers)]);
        node.windows(4, &[(answers, waiting(sent))]);
        let findings = node.diagnosis.findings();
        let [Dated { finding, .. }] = &findings[..] else { panic!("{findings:#?}") };
        assert_eq!((finding.cause.label(), finding.confidence), expected);
        assert_eq!(finding.side, Side::Client);
    }
}

#[test]
fn who_always_takes_data_as_it_can_is_not_slow() {
    let answers = other_end(&edge("player", "server"));
    let mut node = Node::with_past(&[Arc::clone(&answers)]);
    node.windows(120, &[(answers, waiting(1_000_000))]);
    let sure = node.active().into_iter().filter(|(_, confidence, _)| *confidence != Confidence::Low);
    assert!(sure.count() <= 1, "{:?}", node.active());
}

#[test]
fn a_server_that_answers_has_read_what_it_answers() {
    for (sent, expected) in [(0, &["receiver_stalled"][..]), (500, &[])] {
        let answers = other_end(&edge("app", "server"));
        let mut node = Node::with_past(&[Arc::clone(&answers)]);
        let mut unread = Totals::ZERO;
        unread.tcp.received_segments = 10;
        unread.tcp.received_bytes = 500;
        unread.tcp.sent_bytes = sent;
        unread.waits.waited_us[On::LocalReader as usize] = 5_000_000;
        // The healthy windows before are still in the span that is judged.
        node.windows(6, &[(answers, unread)]);
        assert_eq!(node.causes(), expected);
    }
}

/// Downloads of three connections: so much of their time with unread data, in percent, and so many bytes in five seconds.
fn download(unread: u64, bytes: u64) -> Totals {
    let mut totals = Totals::ZERO;
    (totals.tcp.received_bytes, totals.tcp.received_segments) = (bytes, bytes / 1400);
    totals.tcp.sent_segments = bytes / 2800;
    totals.waits.waited_us[On::LocalReader as usize] = unread * 150_000;
    totals.waits.waited_us[On::Idle as usize] = (100 - unread) * 150_000;
    totals
}

#[test]
fn a_client_whose_buffer_holds_all_that_it_reads_late_is_slow() {
    let slow = [("slow_client", Confidence::Medium, "app/server:8080".to_owned())];
    for (usual, now, bytes, expected) in [
        (60, 100, 500_000, &slow[..]),
        // It was so before; it gets as much as before; it is not held up by itself alone.
        (90, 100, 500_000, &[]),
        (60, 100, 9_000_000, &[]),
        (60, 80, 500_000, &[]),
    ] {
        let answers = edge("app", "server");
        let mut node = Node::with_past_of(&[(Arc::clone(&answers), download(usual, 10_000_000))]);
        node.windows(3, &[(Arc::clone(&answers), download(now, bytes))]);
        assert_eq!(node.active(), expected, "{usual} {now} {bytes}");
        // Nothing arrives while the buffer is read out.
        node.windows(4, &[(answers, download(now, 0))]);
        let stalled = node.causes().contains(&"receiver_stalled");
        assert_eq!(stalled, expected.is_empty(), "{usual} {now} {bytes}");
    }
}

#[test]
fn a_server_that_stops_reading_is_found_beside_another_one_that_is_not_reached() {
    let (dead_pair, stalled) = (edge("app", "gone"), edge("app", "server"));
    let both = [&dead_pair, &stalled].map(|edge| other_end(edge));
    let mut node = Node::with_past(&[&[dead_pair, stalled][..], &both].concat());
    let mut unread = Totals::ZERO;
    unread.waits.waited_us[On::LocalReader as usize] = 20_000_000;
    let [at_gone, at_server] = both;
    node.windows(4, &[(at_gone, dead(false)), (at_server, unread)]);
    let mut causes = node.causes();
    causes.sort_unstable();
    assert_eq!(causes, ["dead_path", "receiver_stalled"]);
}

#[test]
fn a_client_that_has_stopped_reading_does_not_read_late() {
    let answers = edge("app", "server");
    let mut node = Node::with_past_of(&[(Arc::clone(&answers), download(60, 10_000_000))]);
    node.windows(4, &[(Arc::clone(&answers), download(100, 0))]);
    assert_eq!(node.causes(), ["receiver_stalled"]);
    // What moves is read in vain, or by another connection.
    node.windows(3, &[(answers, download(100, 500_000))]);
    assert_eq!(node.causes(), ["receiver_stalled"]);
}
