//! Segments that arrived: late, in another order, or unknown to the sender, because the acknowledgement was lost.

use netcause_common::flow::RetransmitKind;

use super::loss::{HARMLESS, LEAST, MANY, not_arrived};
use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::Signal;
use crate::diagnose::statistics::{share, share_at_least};
use crate::diagnose::symptoms::{Case, data_retransmits, percent, round_trips, time};

/// Reordering of so many segments that TCP has to wait for what is late, though it sends nothing again.
const REORDERED: f64 = 0.005;

/// What was sent again had arrived.
pub(super) fn needless(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    // A tail loss probe that was not needed costs nothing.
    let probes = tcp.retransmitted_segments[RetransmitKind::TailLossProbe as usize];
    let again = data_retransmits(tcp).saturating_sub(probes);
    let duplicates = tcp.needless_retransmits().saturating_sub(probes);
    let timeouts: u64 = tcp.timeouts.iter().sum();
    let recent = data_retransmits(&case.recent.tcp);
    // TCP learns to wait for what comes late, so that there are many in the first seconds and hardly any later.
    let of_recent = if recent >= MANY { share_at_least(recent, case.recent.tcp.sent_segments) } else { 0.0 };
    if again < LEAST
        || recent == 0
        || share(duplicates, again) < 0.7
        || share_at_least(again, tcp.sent_segments).max(of_recent) < HARMLESS
    {
        return None;
    }
    let (sum, count) = round_trips(&tcp.rtt);
    let now = if count > 0 { sum / count as f64 } else { 0.0 };
    let usual = case.past.round_trip();
    let is_later = usual.is_some_and(|usual| now > 2.0 * usual && now > 0.02);
    let fast = tcp.retransmitted_segments[RetransmitKind::Fast as usize];
    let (cause, summary) = if fast > again / 2 {
        (
            Cause::Reordering,
            format!(
                "{}: segments overtake each other on the way. They arrive, but TCP takes them for lost and slows down.",
                case.ends()
            ),
        )
    } else if is_later || timeouts == 0 {
        (
            Cause::SpuriousTimeout,
            format!(
                "{}: acknowledgements come later than TCP waits for them. Nothing is lost; round trips take {}.",
                case.ends(),
                time(now)
            ),
        )
    } else {
        (
            Cause::AckLoss,
            format!("{}: data arrives, but the acknowledgements on the way back are lost.", case.ends()),
        )
    };
    let says = format!(
        "the peer had {duplicates} of the {again} segments sent again already ({})",
        percent(share(duplicates, again))
    );
    Some(
        Draft::of_edge(cause, case.edge, Confidence::Medium, summary)
            .weighs(again as f64, again >= 50)
            .hurts(case.impact())
            .because(Signal::part("tcp_spurious_retransmits", duplicates, again, "segments", says))
            .because(case.retransmitted())
            .because_of(case.round_trip())
            .not(Cause::PathLoss, "the segments had arrived")
            .then(
                "See the connections (reordering, rtt), and compare both directions of the path.",
                case.sockets(),
            ),
    )
}

/// Segments overtake each other, and TCP has adapted to it: hardly anything is sent again.
///
/// What the kernel counts is no loss: a segment that was sent once, and that the peer had later than those behind it. It has to go on for
/// two windows: a connection that is older than the agent counts all that it ever had when it ends.
pub(super) fn in_another_order(case: &Case<'_>) -> Option<Draft> {
    let (tcp, now) = (&case.lately.tcp, &case.now.tcp);
    let events = tcp.reordering_events;
    let before = events.saturating_sub(now.reordering_events);
    if events < MANY
        || events < 2 * not_arrived(tcp)
        || share_at_least(now.reordering_events, now.sent_segments) < REORDERED
        || share_at_least(before, tcp.sent_segments.saturating_sub(now.sent_segments)) < REORDERED
    {
        return None;
    }
    let summary = format!(
        "{}: segments overtake each other on the way. They arrive, and TCP has learned to wait for those that are late, so that it \
         notices losses later.",
        case.ends()
    );
    let says = format!(
        "{events} acknowledgements showed that segments had arrived in another order, while {} were sent",
        tcp.sent_segments
    );
    Some(
        Draft::of_edge(Cause::Reordering, case.edge, Confidence::Medium, summary)
            .weighs(events as f64, events >= 50)
            .hurts(case.impact())
            .because(Signal::part("tcp_reordering_events", events, tcp.sent_segments, "acknowledgements", says))
            .because(case.retransmitted())
            .because_of(case.round_trip())
            .not(Cause::PathLoss, "the segments arrived, each after being sent once")
            .then("See the connections (reordering, reord_seen), and what on the way spreads one flow over several paths.", case.sockets()),
    )
}
