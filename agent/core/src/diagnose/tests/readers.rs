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
