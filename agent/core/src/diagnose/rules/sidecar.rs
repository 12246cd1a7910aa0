//! The leg between an application and its own sidecar: whether the sidecar holds things up, or what is behind it.
//!
//! The leg alone shows only that the application waits. What the sidecar's connections to the outside wait for meanwhile tells the
//! rest: a sidecar that waits itself passes a wait on, one that nobody owes anything holds it up.

use netcause_common::flow::ConnectFailure;

use crate::aggregate::Reporter;
use crate::aggregate::turn::On;
use crate::diagnose::around::Beyond;
use crate::diagnose::cause::{Cause, Confidence, Owner, Side};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Signal, name};
use crate::diagnose::symptoms::{Case, responses, time, unanswered};
use crate::enrich::sidecar::{Direction, Via};

/// Connections that wait on average: below that nobody is held up.
const HELD_UP: f64 = 0.3;
/// Answers that take less are nobody's complaint, in seconds.
const SLOW: f64 = 0.3;
/// So many times what is usual is another state.
const WORSE: f64 = 3.0;
/// Fewer connects that fail may be a restart.
const LEAST: u64 = 3;

/// What is wrong with the leg, if anything.
pub fn judge(case: &Case<'_>) -> Option<Draft> {
    match case.edge.via {
        Via::OwnSidecar(Direction::Outbound) if case.is_client() => {
            not_accepting(case).or_else(|| outbound(case))
        }
        _ => None,
    }
}

/// The answer of an edge through the sidecar is late, at the server: whether its application has the request at all.
pub fn holds_requests(case: &Case<'_>) -> Option<Signal> {
    let is_server = case.edge.via == Via::Sidecar && case.edge.reporter == Reporter::Destination;
    let leg = case.around.legs.get(case.local()).filter(|_| is_server)?;
    let waiting = case.waited_recently(On::LocalApplication);
    let is_idle = leg.inbound_received > 0 && leg.inbound_waited < waiting / 4.0;
    is_idle.then(|| {
        let says = format!(
            "{:.1} connections from its sidecar wait for the application, {waiting:.1} wait for the sidecar",
            leg.inbound_waited
        );
        Signal::value("tcp_waiting_connections", leg.inbound_waited, "connections", says)
    })
}

/// The sidecar does not take connections.
fn not_accepting(case: &Case<'_>) -> Option<Draft> {
    let reasons = [ConnectFailure::Refused, ConnectFailure::TimedOut];
    let count = |failures: &[u64]| reasons.iter().map(|reason| failures[*reason as usize]).sum::<u64>();
    let failed = count(&case.lately.tcp.connect_failures);
    if failed < LEAST || count(&case.recent.tcp.connect_failures) == 0 || case.lately.tcp.opened > failed {
        return None;
    }
    let summary = format!(
        "{}: its own sidecar does not accept connections. Nothing leaves the pod; the network is not involved.",
        name(case.local())
    );
    let all = failed + case.lately.tcp.opened;
    let says = format!("{failed} of {all} connects to the sidecar failed");
    Some(
        fault(case, Confidence::High, summary)
            .weighs(failed as f64, failed >= 10)
            .whatever_the_time(true)
            .because(Signal::part("sidecar_connect_failures", failed, all, "connections", says))
            .not(Cause::ConnectionRefused, "the connects do not leave the pod"),
    )
}

/// Answers of the sidecar are late.
fn outbound(case: &Case<'_>) -> Option<Draft> {
    let waiting = case.waited_recently(On::PeerApplication);
    let (sum, count) = responses(&case.lately.waits);
    let (ages, asked) = unanswered(&case.lately.waits);
    let mean = |sum: f64, count: u64| if count > 0 { sum / count as f64 } else { 0.0 };
    let (answer, age) = (mean(sum, count), mean(ages, asked));
    let usual = case.past.response();
    let late = answer.max(age);
    if waiting < HELD_UP || late < SLOW || usual.is_none_or(|usual| late < WORSE * usual) {
        return None;
    }
    let says = format!("{waiting:.1} connections wait for the sidecar, for {} on average", time(late));
    let leg = Signal::value("sidecar_waiting_connections", waiting, "connections", says).usually(usual);
    let beyond = case.around.legs.get(case.local()).copied().unwrap_or_default();
    let Beyond { owed, unknown, failed, received, sent_bytes, unread, queued, .. } = beyond;
    let passes_on = owed >= waiting / 2.0;
    // Nothing at all comes out of it, in either direction.
    let is_still = !passes_on && case.recent.tcp.received_bytes + sent_bytes == 0;
    // What the sidecar has not even read, it has not passed on; nor what it has not accepted, unless all its places are taken by what is
    // owed to it.
    let is_deaf = !passes_on && queued >= waiting / 2.0;
    let reads_nothing = unread >= waiting / 2.0 || is_deaf || (is_still && unread >= HELD_UP);
    if !reads_nothing && (passes_on || failed > 0) {
        let summary = format!(
            "{}: it waits for its sidecar because what is behind the sidecar does not answer.",
            name(case.local())
        );
        let says = format!("{owed:.1} of the sidecar's own connections wait, and {failed} connects failed");
        return Some(
            Draft::of_edge(Cause::UpstreamOfSidecar, case.edge, Confidence::Low, summary)
                .weighs(waiting * case.seconds, false)
                .hurts(case.impact())
                .because(leg)
                .because(Signal::value("tcp_waiting_connections", owed, "connections", says))
                .not(Cause::SidecarFault, "the sidecar waits itself")
                .then("See the findings of the workload's other pairs.", "netcause why".to_owned()),
        );
    }
    // Whether answers are owed on connections that several requests share is not known.
    let is_sure = reads_nothing || (received > 0 && unknown < waiting / 4.0);
    let summary = format!(
        "{}: its own sidecar holds requests up: nothing that the sidecar waits for explains it.",
        name(case.local())
    );
    let says = format!("{owed:.1} of the sidecar's own connections wait for an answer");
    let draft = fault(case, if is_sure { Confidence::Medium } else { Confidence::Low }, summary)
        .weighs(waiting * case.seconds, false)
        .whatever_the_time(is_still && reads_nothing)
        .because(leg)
        .because(Signal::value("tcp_waiting_connections", owed, "connections", says))
        .because_of(is_still.then(|| {
            let says = format!("it has sent nothing for {}, in either direction", time(case.recent_seconds));
            Signal::value("tcp_sent_bytes", 0.0, "bytes", says)
        }))
        .because_of(is_deaf.then(|| {
            let says = format!("{queued:.1} connections wait for the sidecar to accept them");
            Signal::value("tcp_accept_queue_length", queued, "connections", says)
        }))
        .because_of((reads_nothing && unread > 0.0).then(|| {
            let says = format!("{unread:.1} connections wait for the sidecar to read what was sent to it");
            Signal::value("sidecar_waiting_connections", unread, "connections", says)
        }))
        .not(Cause::UpstreamOfSidecar, "no answer is owed to the sidecar");
    Some(if is_sure {
        draft
    } else {
        draft.without("tcp_waiting_connections", "whether answers are owed to the sidecar cannot be decided")
    })
}

fn fault(case: &Case<'_>, confidence: Confidence, summary: String) -> Draft {
    Draft::of_edge(Cause::SidecarFault, case.edge, confidence, summary)
        .at(Side::Client, Owner::Platform)
        .hurts(case.impact())
        .then(
            "See whether the sidecar is ready, its CPU limit, and its own log.",
            "curl -s localhost:15000/server_info; curl -s localhost:15000/clusters".to_owned(),
        )
}
