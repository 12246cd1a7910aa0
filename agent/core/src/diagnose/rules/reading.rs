//! It is not the network: an application does not read what has arrived, or late.

use crate::aggregate::totals::Totals;
use crate::aggregate::turn::On;
use crate::diagnose::cause::{Cause, Confidence, Owner, Side};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Signal, name};
use crate::diagnose::symptoms::{Case, time};

/// So many times what is usual is another state.
const WORSE: f64 = 3.0;
/// Connections that wait on average: below that nobody is held up.
const HELD_UP: f64 = 0.3;
/// Fewer bytes in the last part of the span are window probes and the rest of a buffer: nobody reads.
const MOVING: u64 = 10_000;
/// The share of their time in which connections have unread data where their reader is what limits them.
const ALL_THE_TIME: f64 = 0.9;
/// The same where it is not.
const AT_TIMES: f64 = 0.7;

/// Data waits for an application that does not read it, or late.
pub(super) fn judge(case: &Case<'_>) -> Option<Draft> {
    let [(peer, peer_recently), (here, here_recently)] =
        [On::PeerWindow, On::LocalReader].map(|on| (case.waited(on), case.waited_recently(on)));
    let is_peer = peer >= here;
    let (waiting, recently) = if is_peer { (peer, peer_recently) } else { (here, here_recently) };
    // Two sweeps at least: data that has just come is unread for a moment. Who goes on to answer, or to ask, reads.
    let now = &case.recent.tcp;
    let reads_late = !is_peer && case.is_client() && reads_late(case);
    let goes_on_reading = !is_peer && !reads_late && (now.received_bytes > 1 << 16 || now.sent_bytes > 0);
    if waiting < HELD_UP || recently < HELD_UP || goes_on_reading {
        return None;
    }
    let reader = if is_peer { case.peer() } else { case.local() };
    let at_server = case.is_client() == is_peer;
    let (side, owner) = if at_server { (Side::Server, Owner::Server) } else { (Side::Client, Owner::Client) };
    // Who takes data as it can process it keeps its window closed, too: that is another state only where it was not so before.
    let [moves, moves_now] = [case.recent, case.now]
        .map(|totals| if is_peer { totals.tcp.sent_bytes } else { totals.tcp.received_bytes });
    let usual = case.past.waited_for_reader().filter(|_| is_peer);
    // What moved before the last window may have been all: it shows in the next one.
    let has_stopped = moves_now < MOVING && !case.has(Cause::SlowClient);
    let is_moving = reads_late || moves >= MOVING && !has_stopped;
    let confidence = match is_moving {
        false if moves < MOVING => Confidence::High,
        true if reads_late || usual.is_some_and(|usual| waiting > WORSE * usual + HELD_UP) => {
            Confidence::Medium
        }
        _ => Confidence::Low,
    };
    let cause = if is_moving && !at_server { Cause::SlowClient } else { Cause::ReceiverStalled };
    let summary = format!(
        "{}: {} {}. {}; the network is fine.",
        case.ends(),
        name(reader),
        if is_moving { "reads late what it is sent" } else { "does not read what it was sent" },
        if is_peer { "Data waits at its closed window" } else { "Data waits in its receive buffer" }
    );
    let says = format!("{waiting:.1} connections wait for it to read");
    let signal = if is_peer {
        "tcp_waiting_connections{on=\"peer_window\"}"
    } else {
        "tcp_waiting_connections{on=\"local_reader\"}"
    };
    let mut draft = Draft::of_edge(cause, case.edge, confidence, summary)
        .at(side, owner)
        .weighs(waiting * case.seconds, false)
        .hurts(case.impact())
        .because(Signal::value(signal, waiting, "connections", says).usually(usual))
        .because_of(is_moving.then(|| {
            let says = format!("{moves} bytes were read in the last {}", time(case.recent_seconds));
            Signal::value(
                if is_peer { "tcp_sent_bytes" } else { "tcp_received_bytes" },
                moves as f64,
                "bytes",
                says,
            )
        }))
        .not(Cause::PathLoss, "what was sent has arrived")
        .then("See the unread bytes (Recv-Q) at the reader, and what its threads do.", case.sockets());
    draft.finding.counter_evidence = case.healthy_path();
    Some(draft)
}

/// The application here reads, and data has piled up in front of it ever since less arrives: it is not the sender that is slower.
fn reads_late(case: &Case<'_>) -> bool {
    // A large buffer takes in more than is read in seconds, and then nothing.
    if case.has(Cause::SlowClient) {
        return case.lately.tcp.received_bytes >= MOVING;
    }
    let unread = |totals: &Totals| {
        let waited = &totals.waits.waited_us;
        waited[On::LocalReader as usize] as f64 >= ALL_THE_TIME * waited.iter().sum::<u64>() as f64
    };
    let received = case.recent.tcp.received_bytes as f64 / case.recent_seconds.max(1.0);
    // Who does not read at all is known to.
    !case.has(Cause::ReceiverStalled)
        && case.recent.tcp.received_bytes >= MOVING
        && case.past.is_known()
        && [case.recent, case.now].into_iter().all(unread)
        && case.past.unread().is_some_and(|usual| usual < AT_TIMES)
        && case.past.received().is_some_and(|usual| usual > WORSE * received)
}
