//! It is not the network: an application does not answer, ends, or resets.

use netcause_common::flow::{CloseReason, ResetReason, TcpCounters};

use crate::aggregate::turn::{On, Waits};
use crate::diagnose::cause::{Cause, Confidence, Owner, Side};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Signal, name};
use crate::diagnose::rules::{reading, sidecar};
use crate::diagnose::statistics::share;
use crate::diagnose::symptoms::{Case, data_retransmits, responses, round_trips, time, unanswered};

/// Answers that take less are nobody's complaint.
const SLOW: f64 = 0.3;
/// So many times what is usual is another state.
const WORSE: f64 = 3.0;
/// Connections that wait on average: below that nobody is held up.
const HELD_UP: f64 = 0.3;
/// Bytes in a segment, on average, from which on it is one of many of a large request.
const LARGE: u64 = 1000;
/// Fewer resets may be anything.
const RESETS: u64 = 5;

/// What is wrong, if anything.
pub fn judge(case: &Case<'_>) -> Option<Draft> {
    reading::judge(case)
        .or_else(|| gone(case))
        .or_else(|| slow(case))
        .or_else(|| aborts(case))
        .or_else(|| aborted(case))
}

/// Connections end because the peer does not answer any more.
fn gone(case: &Case<'_>) -> Option<Draft> {
    let (tcp, recent) = (&case.lately.tcp, &case.recent.tcp);
    let ended = |counters: &[u64], reason: CloseReason| counters[reason as usize];
    let silent = ended(&tcp.closed, CloseReason::TimedOut) + ended(&tcp.closed, CloseReason::KeepAlive);
    if silent > 0 && recent.received_segments == 0 {
        let summary = format!(
            "{}: {} is gone without a word: connections ended because it did not answer any more.",
            case.ends(),
            name(case.peer())
        );
        let (side, owner) = far_end(case);
        return Some(
            Draft::of_edge(Cause::HalfOpenPeer, case.edge, Confidence::Medium, summary)
                .at(side, owner)
                .weighs(silent as f64, silent >= 5)
                .hurts(case.impact())
                .because(Signal::value(
                    "tcp_connections_closed",
                    silent as f64,
                    "connections",
                    format!("{silent} connections timed out"),
                ))
                .without(
                    "path",
                    "a NAT or firewall (nat_idle_timeout) that has forgotten the connections looks the same from this end",
                )
                .then("See whether its node is up.", case.sockets()),
        );
    }
    let reset = ended(&tcp.closed, CloseReason::ResetReceived);
    let closed = tcp.closed();
    let at_once = ended(&recent.closed, CloseReason::ResetReceived);
    // All of them, together, and nothing of the kind before.
    let usual = case.past.resets_received(closed);
    let is_unusual = usual.is_some_and(|usual| usual < 0.1);
    // Clients that give up reset connections that this end had not answered.
    let owed = case.waited(On::LocalReader) + case.waited(On::LocalApplication);
    let is_given_up = !case.is_client() && owed >= HELD_UP;
    if at_once < RESETS
        || !is_unusual
        || is_given_up
        || share(reset, closed) < 0.9
        || share(reset, reset + tcp.open()) < 0.8
        || tcp.opened >= reset
    {
        return None;
    }
    let summary = format!(
        "{}: {} reset {reset} established connections together: it crashed, was killed or restarted.",
        case.ends(),
        name(case.peer())
    );
    let says = format!("{reset} of {closed} connections that ended were reset by it");
    let (side, owner) = far_end(case);
    Some(
        Draft::of_edge(Cause::PeerCrash, case.edge, Confidence::Medium, summary)
            .at(side, owner)
            .weighs(reset as f64, false)
            .hurts(case.impact())
            .because(
                Signal::part("tcp_connections_closed", reset, closed, "connections", says).usually(usual),
            )
            .not(Cause::PathLoss, "resets arrived")
            .then("See when the peer's processes started.", case.sockets()),
    )
}

/// The other end of the edge is at fault.
fn far_end(case: &Case<'_>) -> (Side, Owner) {
    if case.is_client() { (Side::Server, Owner::Server) } else { (Side::Client, Owner::Client) }
}

/// The server's application takes long to answer.
fn slow(case: &Case<'_>) -> Option<Draft> {
    let on = if case.is_client() { On::PeerApplication } else { On::LocalApplication };
    // As it is now, where there is enough of it: what has been is among what is usual already.
    let (sum, count) = of_several(responses, case);
    let waiting = case.waited(on);
    let usual_wait = if case.is_client() { case.past.waited_for_peer() } else { case.past.waited_here() };
    let usual = case.past.response();
    let answer = if count > 0 { sum / count as f64 } else { 0.0 };
    let (ages, asked) = of_several(unanswered, case);
    let age = if asked > 0 { ages / asked as f64 } else { 0.0 };
    let worse = |now: f64, usual: Option<f64>| now > SLOW && usual.is_some_and(|usual| now > WORSE * usual);
    // Answers take longer than they did, or have been waited for so long: connections that close after one answer, or get none, show
    // their age alone.
    // Who waits for the server alone is found, on average, in the middle of it: where requests are found much younger, it is the
    // answers' data that takes the time to arrive.
    let is_transfer = asked >= 3 && age < answer / 5.0;
    let is_slow = count >= 3 && worse(answer, usual) && !is_transfer;
    let is_late = asked >= 3 && worse(age, case.past.unanswered().or(usual));
    // A server that was never waited for had no ages.
    let is_silent = asked >= 3
        && age > SLOW
        && case.past.is_known()
        && case.past.unanswered().is_none()
        && usual.is_none_or(|usual| usual < SLOW)
        && usual_wait.is_some_and(|usual| waiting > WORSE * usual + 0.5);
    if !(is_slow || is_late || is_silent) || waiting < HELD_UP || case.waited_recently(on) == 0.0 {
        return None;
    }
    // A path that is bad as well explains late answers: it loses, or takes a good part of what they take longer.
    let (rtt, observed) = round_trips(&case.lately.tcp.rtt);
    let rtt = if observed > 0 { rtt / observed as f64 } else { 0.0 };
    let longer = if is_slow { answer } else { age } - usual.unwrap_or(0.0);
    let (recent, observed_recently) = round_trips(&case.recent.tcp.rtt);
    let now = if observed_recently > 0 { recent / observed_recently as f64 } else { 0.0 };
    let usual_rtt = case.past.round_trip().unwrap_or(0.0);
    let is_late_path = rtt.max(now) - usual_rtt > longer / 4.0;
    // A large request takes many round trips: its server has a part of it and waits for the rest.
    let is_queued = !case.is_client() && rtt.max(now) > (5.0 * usual_rtt).max(usual_rtt + 0.05);
    let loses = share(data_retransmits(&case.lately.tcp), case.lately.tcp.sent_segments) > 0.01;
    if is_late_path || is_queued || loses {
        return None;
    }
    // So does an answer, or the rest of a request, that the other end has sent and that is not acknowledged.
    if case.around.is_other_end_stuck(case.edge) {
        return None;
    }
    // Answers that do not come at all may be lost on the way back, and of a large request the rest on the way there: only those that
    // come late show that they are not, or the other end.
    let server = case.around.servers.get(&(case.edge.destination.clone(), case.edge.port));
    let is_shown = is_slow
        || if case.is_client() {
            server.is_some_and(|server| server.listens)
        } else {
            has_small_requests(case)
        };
    let confidence = if is_shown { Confidence::High } else { Confidence::Medium };
    let took = if is_slow {
        format!("takes {} to answer", time(answer))
    } else {
        format!("has kept requests waiting for {}", time(age))
    };
    let before = usual.map_or_else(String::new, |usual| format!("; {} before", time(usual)));
    let acknowledged = match observed {
        0 => "are acknowledged".to_owned(),
        _ => format!("are acknowledged within {}", time(rtt)),
    };
    let summary = format!(
        "{}: the server's application {took}{before}. It is not the network: requests {acknowledged}.",
        case.ends(),
    );
    let draft = match sidecar::holds_requests(case) {
        Some(signal) => {
            let summary = format!(
                "{}: the server's own sidecar {took}{before}: its application has no request that it owes an answer to.",
                case.ends()
            );
            Draft::of_edge(Cause::SidecarFault, case.edge, Confidence::Medium, summary)
                .at(Side::Server, Owner::Platform)
                .because(signal)
                .not(Cause::SlowServer, "the application has answered what it got")
        }
        None => Draft::of_edge(Cause::SlowServer, case.edge, confidence, summary),
    };
    let mut draft = draft
        .weighs(waiting * case.seconds, false)
        .hurts(case.impact())
        .because_of((count > 0).then(|| {
            Signal::value(
                "tcp_response_seconds",
                answer,
                "seconds",
                format!("{count} answers took {} on average{before}", time(answer)),
            )
            .usually(usual)
        }))
        .because_of((asked > 0).then(|| {
            Signal::value(
                "tcp_unanswered_age_seconds",
                age,
                "seconds",
                format!("requests had waited {} for an answer when sweeps found them", time(age)),
            )
            .usually(case.past.unanswered())
        }))
        .because(
            Signal::value(
                "tcp_waiting_connections",
                waiting,
                "connections",
                format!("{waiting:.1} connections wait for the server's application"),
            )
            .usually(usual_wait),
        )
        .not(Cause::PathLoss, "all that was sent is acknowledged")
        .not(Cause::ReceiverStalled, "the server has read the requests")
        .then("Look into the server: its threads, its locks, and what it waits for itself.", case.sockets());
    draft.finding.counter_evidence = case.healthy_path();
    draft.finding.impact.stalled_connections = waiting;
    draft = match case.is_client() {
        _ if is_shown => draft,
        true => draft.without(
            "server",
            "whether answers are sent and lost on the way back (mtu_black_hole, path_loss) is seen on the server's node alone",
        ),
        false => draft.without(
            "client",
            "whether the rest of a large request is lost on the way (mtu_black_hole, path_loss) is seen on the client's node alone",
        ),
    };
    Some(draft)
}

/// Requests come in segments that are not full: each has arrived as a whole with its first segments.
fn has_small_requests(case: &Case<'_>) -> bool {
    let tcp = &case.lately.tcp;
    tcp.received_segments > 0 && tcp.received_bytes / tcp.received_segments < LARGE
}

/// Times of the last part of the span, or of all of it where there are few.
fn of_several(times: fn(&Waits) -> (f64, u64), case: &Case<'_>) -> (f64, u64) {
    let recent = times(&case.recent.waits);
    if recent.1 >= 3 { recent } else { times(&case.lately.waits) }
}

/// The local application resets connections.
fn aborts(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    let [unread, aborted] =
        [ResetReason::UnreadData, ResetReason::Aborted].map(|reason| tcp.resets_sent[reason as usize]);
    let recent = case.recent.tcp.resets_sent[..2].iter().sum::<u64>();
    let (resets, closed) = (unread + aborted, tcp.closed());
    let now = &case.now.tcp;
    let usual = case.past.resets_sent(now.closed());
    // Health checks that connect and reset do so always: without a past they are not told apart.
    // As it is in the last window, if enough have ended in it: what was before is what is usual.
    let share_now = match now.closed() {
        closed if closed >= RESETS => share(now.resets_sent[..2].iter().sum(), closed),
        _ => share(resets, closed),
    };
    let is_unusual = usual.is_some_and(|usual| share_now > WORSE * usual + 0.1);
    // Once found it goes on while resets come.
    let is_unusual = is_unusual || case.has(Cause::ApplicationAbort);
    if resets < RESETS || recent == 0 || !is_unusual || tcp.received_bytes + tcp.sent_bytes == 0 {
        return None;
    }
    let (side, owner) =
        if case.is_client() { (Side::Client, Owner::Client) } else { (Side::Server, Owner::Server) };
    let how = if unread > aborted {
        "closes them with data that it has not read"
    } else {
        "asks for it (SO_LINGER of 0)"
    };
    let summary = format!("{}: {} resets its connections: it {how}.", case.ends(), name(case.local()));
    let says = format!(
        "{resets} of {closed} connections that ended were reset by {}: {unread} with unread data, {aborted} on request",
        name(case.local())
    );
    Some(
        Draft::of_edge(Cause::ApplicationAbort, case.edge, Confidence::High, summary)
            .at(side, owner)
            .weighs(resets as f64, false)
            .hurts(case.impact())
            .because(Signal::part("tcp_resets_sent", resets, closed, "connections", says).usually(usual))
            .not(Cause::PeerCrash, "the resets were sent by this end")
            .then(
                "Look for an early close in the application: timeouts, limits on size, exceptions.",
                case.sockets(),
            ),
    )
}

/// The application at the other end resets connections.
fn aborted(case: &Case<'_>) -> Option<Draft> {
    let reset = |tcp: &TcpCounters| tcp.closed[CloseReason::ResetReceived as usize];
    let (tcp, now) = (&case.lately.tcp, &case.now.tcp);
    let resets = reset(tcp);
    let usual = case.past.resets_received(now.closed());
    let is_unusual = usual.is_some_and(|usual| share(reset(now), now.closed()) > WORSE * usual + 0.1);
    // A server that ends resets its connections once: this goes on for three windows.
    let lasts = resets > reset(&case.recent.tcp) && reset(&case.recent.tcp) > reset(now) && reset(now) > 0;
    let goes_on = case.has(Cause::ApplicationAbort) && reset(&case.recent.tcp) > 0;
    if resets < RESETS || !((lasts && is_unusual) || goes_on) || tcp.received_bytes + tcp.sent_bytes == 0 {
        return None;
    }
    let (side, owner) = far_end(case);
    let peer = name(case.peer());
    let summary = format!("{}: {peer} resets connections that it had accepted.", case.ends());
    let says = format!("{resets} of {} connections that ended were reset by {peer}", tcp.closed());
    Some(
        Draft::of_edge(Cause::ApplicationAbort, case.edge, Confidence::Medium, summary)
            .at(side, owner)
            .weighs(resets as f64, false)
            .hurts(case.impact())
            .because(
                Signal::part("tcp_connections_closed", resets, tcp.closed(), "connections", says)
                    .usually(usual),
            )
            .not(Cause::PeerCrash, "resets go on, and new connections are accepted meanwhile")
            .not(Cause::ConnectionRefused, "the connections were established")
            .without(
                "reset_reason",
                "a proxy or firewall on the way that resets looks the same from this end",
            )
            .then(
                "Look at the other end for an early close: timeouts, limits on size, exceptions.",
                case.sockets(),
            ),
    )
}
