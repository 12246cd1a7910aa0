//! Connections that do not come to be: refused, unanswered, or not even begun.

use netcause_common::drops::DropCause;
use netcause_common::flow::{ConnectFailure, RetransmitKind, TcpCounters};

use crate::diagnose::around::ServerEnd;
use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Signal, name};
use crate::diagnose::rules::silence;
use crate::diagnose::statistics::{share, share_at_least};
use crate::diagnose::symptoms::{Case, data_retransmits, percent, rejected_connects, time};

/// Fewer failures may be a restart.
const LEAST: u64 = 3;
/// A smaller share of failed connects is not what hurts.
const SHARE: f64 = 0.05;
/// A path that loses more is bad for handshakes as well.
const LOSSY: f64 = 0.005;

/// What is wrong, if anything.
pub fn judge(case: &Case<'_>) -> Option<Draft> {
    if !case.is_client() {
        return None;
    }
    no_port(case).or_else(|| refused(case)).or_else(|| no_route(case)).or_else(|| unanswered(case))
}

fn failures(case: &Case<'_>, reason: ConnectFailure) -> (u64, u64) {
    (case.lately.tcp.connect_failures[reason as usize], case.recent.tcp.connect_failures[reason as usize])
}

/// The share of these failures in all connects, when it is one that hurts and is not usual.
fn hurting(case: &Case<'_>, failed: u64) -> Option<(u64, f64)> {
    let all = failed + case.lately.tcp.opened;
    let usual = case.past.failed_connects(all).unwrap_or(0.0);
    let least = share_at_least(failed, all);
    (failed >= LEAST && least > SHARE.max(1.5 * usual)).then(|| (all, share(failed, all)))
}

fn of_all(case: &Case<'_>, failed: u64, all: u64, how: &str) -> Signal {
    let usual = case.past.failed_connects(all);
    let before = usual.map_or_else(String::new, |usual| format!("; {} before", percent(usual)));
    let says = format!("{failed} of {all} connects {how} ({}){before}", percent(share(failed, all)));
    Signal::part("tcp_connect_failures", failed, all, "connections", says).usually(usual)
}

/// No free local port.
fn no_port(case: &Case<'_>) -> Option<Draft> {
    let (failed, recent) = failures(case, ConnectFailure::NoLocalPort);
    let (all, _) = hurting(case, failed).filter(|_| recent > 0)?;
    let summary = format!(
        "{}: {} has no free local port left for connections to {}; no SYN is sent. The network is not involved.",
        case.ends(),
        name(case.local()),
        case.server()
    );
    Some(
        Draft::of_edge(Cause::LocalPortsExhausted, case.edge, Confidence::High, summary)
            .weighs(failed as f64, failed >= 10)
            .hurts(case.impact())
            .because(of_all(case, failed, all, "found no local port (EADDRNOTAVAIL)"))
            .not(Cause::DeadPath, "no SYN was sent")
            .then(
                "Count the connections that hold ports, and use connections again instead of new ones.",
                "ss -s; sysctl net.ipv4.ip_local_port_range".to_owned(),
            ),
    )
}

/// True for refusals that are no restart, which is over after some seconds: three windows have some, or nothing was accepted and they
/// go on for longer than that.
fn lasts(case: &Case<'_>, failed: u64, recent: u64) -> bool {
    let refused = |tcp: &TcpCounters| {
        tcp.connect_failures[ConnectFailure::Refused as usize]
            + tcp.connect_failures[ConnectFailure::Denied as usize]
    };
    let now = refused(&case.now.tcp);
    let is_known = case.has(Cause::ConnectionRefused) || case.has(Cause::PolicyReject);
    is_known || (failed > recent && ((now > 0 && recent > now) || case.lately.tcp.opened == 0))
}

/// The connect was answered with a refusal.
fn refused(case: &Case<'_>) -> Option<Draft> {
    let refusals = [ConnectFailure::Refused, ConnectFailure::Denied].map(|reason| failures(case, reason));
    let [(refused, refused_recently), (denied, denied_recently)] = refusals;
    let (failed, recent) = (refused + denied, refused_recently + denied_recently);
    let (all, _) = hurting(case, failed).filter(|_| recent > 0)?;
    if !lasts(case, failed, recent) {
        return None;
    }
    let server = case.around.servers.get(&(case.edge.destination.clone(), case.edge.port)).copied();
    // Before it listened, its kernel refused at no port of its own.
    let elsewhere = case.around.servers.get(&(case.edge.destination.clone(), None));
    let has_refused = elsewhere.is_some_and(|server| server.no_socket > 0);
    let by_none = |server: ServerEnd| server.listens && server.no_socket == 0 && !has_refused;
    let is_by_rule = denied > refused || server.is_some_and(by_none);
    let resets = case.lately.tcp.resets[1];
    let draft = if is_by_rule {
        let summary = format!(
            "{}: a rule rejects connections. {}",
            case.ends(),
            if denied > refused {
                "The kernel says that they are not permitted."
            } else {
                "The server listens, and has refused nothing itself."
            }
        );
        // Another replica may have refused, and old kernels do not count resets without a socket.
        let confidence = if denied > refused { Confidence::High } else { Confidence::Medium };
        Draft::of_edge(Cause::PolicyReject, case.edge, confidence, summary)
            .because(of_all(case, failed, all, "were rejected"))
            .because_of(server.map(|server| listening(&server)))
            .not(Cause::ConnectionRefused, "the server's kernel has refused nothing")
            .then("See which rule rejects.", "nft list ruleset | grep -B2 -A2 reject".to_owned())
    } else {
        // A rejection by ICMP gives the same error; a reset is the server's kernel or a rule that imitates it.
        let is_sure = server.is_some_and(|server| server.no_socket > 0);
        let summary = format!(
            "{}: nobody listens at {}. The server's kernel refuses connections at once; the network delivers them.",
            case.ends(),
            case.server()
        );
        let confidence = if is_sure { Confidence::High } else { Confidence::Medium };
        let draft = Draft::of_edge(Cause::ConnectionRefused, case.edge, confidence, summary)
            .because(of_all(case, failed, all, "were refused (ECONNREFUSED)"))
            .because_of((resets > 0).then(|| {
                Signal::value("tcp_resets", resets as f64, "resets", format!("{resets} resets were received"))
            }))
            .because_of(server.filter(|server| server.no_socket > 0).map(|server| {
                let says = format!(
                    "the server's kernel answered {} segments with a reset because there is no socket",
                    server.no_socket
                );
                Signal::value("tcp_resets_sent", server.no_socket as f64, "resets", says)
            }))
            .then("See whether the server runs and listens.", case.listeners());
        if is_sure { draft.not(Cause::PolicyReject, "the server's kernel sent the refusals") } else { draft }
    };
    let draft = draft.weighs(failed as f64, failed >= 10).hurts(case.impact());
    Some(
        draft
            .not(Cause::DeadPath, "answers come back at once")
            .not(Cause::PolicyDrop, "connects are answered"),
    )
}

fn listening(server: &ServerEnd) -> Signal {
    let says = "the server's port is listening on this node and its kernel sent no refusal".to_owned();
    Signal::value("tcp_resets_sent", server.no_socket as f64, "resets", says)
}

/// There is no way there.
fn no_route(case: &Case<'_>) -> Option<Draft> {
    let (failed, recent) = failures(case, ConnectFailure::Unreachable);
    let (all, _) = hurting(case, failed).filter(|_| recent > 0)?;
    if let Some(rejected) = rejected_here(case, failed, recent, all) {
        return Some(rejected);
    }
    let summary = format!(
        "{}: the destination cannot be reached: a router, or this node's kernel, says that there is no way or no such host.",
        case.ends()
    );
    Some(
        Draft::of_edge(Cause::NoRoute, case.edge, Confidence::Medium, summary)
            .weighs(failed as f64, failed >= 10)
            .hurts(case.impact())
            .because(of_all(case, failed, all, "were unreachable (EHOSTUNREACH, ENETUNREACH)"))
            .not(Cause::DeadPath, "an answer came")
            .without(
                "icmp",
                "a rule that rejects with ICMP host prohibited (policy_reject) gives the same error",
            )
            .not(Cause::ConnectionRefused, "it was no refusal")
            .then(
                "Compare routes and neighbours with the addresses of the destination.",
                "ip route show table all; ip neigh show nud failed".to_owned(),
            ),
    )
}

/// A rule on this node says so (ICMP host or administratively prohibited), and drops what it answers.
fn rejected_here(case: &Case<'_>, failed: u64, recent: u64, all: u64) -> Option<Draft> {
    let again = case.lately.tcp.retransmitted_after_drop[DropCause::Policy as usize];
    let dropped = case.dropped_here(DropCause::Policy).max(again);
    if dropped < LEAST || dropped * 2 < recent {
        return None;
    }
    let summary = format!("{}: a rule on this node rejects connections as prohibited.", case.ends());
    let says = format!("a rule on this node dropped {dropped} packets between them");
    Some(
        Draft::of_edge(Cause::PolicyReject, case.edge, Confidence::High, summary)
            .weighs(failed as f64, failed >= 10)
            .hurts(case.impact())
            .because(of_all(case, failed, all, "were unreachable (EHOSTUNREACH, ENETUNREACH)"))
            .because(Signal::value("packet_drops", dropped as f64, "packets", says))
            .not(Cause::NoRoute, "a rule drops the packets, and no route or neighbour is missing")
            .then("See which rule rejects.", "nft list ruleset | grep -B2 -A2 reject".to_owned()),
    )
}

/// SYNs are repeated, and nothing answers.
fn unanswered(case: &Case<'_>) -> Option<Draft> {
    let tcp = &case.lately.tcp;
    let repeated = tcp.retransmitted_segments[RetransmitKind::Syn as usize];
    let recently = case.recent.tcp.retransmitted_segments[RetransmitKind::Syn as usize];
    let (failed, _) = failures(case, ConnectFailure::TimedOut);
    // What this node dropped itself is known already, and so is a server that accepts nothing.
    if tcp.retransmitted_after_drop.iter().sum::<u64>() * 2 >= repeated
        || silence::of_application(case).is_some()
    {
        return None;
    }
    // A refusal is an answer, too.
    let answered = tcp.opened + rejected_connects(tcp);
    let tried = answered + failed.max(1);
    // Each connect repeats its SYN several times: one alone may be bad luck.
    if repeated < LEAST
        || recently == 0
        || share_at_least(repeated.min(tried.max(repeated / 2)), tried.max(repeated / 2)) < SHARE
    {
        return None;
    }
    if answered > repeated {
        return None;
    }
    // Who has got through lately, and lost data as well, is on a path that loses; a rule lets nothing through.
    let again = data_retransmits(tcp);
    let is_lossy = again >= LEAST && share_at_least(again, tcp.sent_segments) > LOSSY;
    if case.recent.tcp.opened > 0 && is_lossy {
        return None;
    }
    if let Some(ruled) = silence::by_rule(case, recently) {
        return Some(ruled);
    }
    let server = case.around.servers.get(&(case.edge.destination.clone(), case.edge.port)).copied();
    let received = case.received_from_peer();
    let says = format!("{repeated} SYNs were repeated, {} connections opened, {failed} given up", tcp.opened);
    let evidence = Signal::value("tcp_retransmitted_segments", repeated as f64, "segments", says);
    if let Some(server) = server.filter(|server| server.accept_queue_full > 0) {
        let summary = format!(
            "{}: connects hang because {} does not accept connections fast enough: its accept queue is full.",
            case.ends(),
            case.server()
        );
        let full = server.accept_queue_full;
        return Some(
            Draft::of_edge(Cause::AcceptQueueOverflow, case.edge, Confidence::High, summary)
                .weighs(repeated as f64, true)
                .hurts(case.impact())
                .because(evidence)
                .because(Signal::value(
                    "tcp_dropped_handshakes",
                    full as f64,
                    "handshakes",
                    format!("{full} handshakes were dropped at the full accept queue"),
                ))
                .not(Cause::DeadPath, "SYNs arrive")
                .then("See the queue (Recv-Q) against its limit (Send-Q).", case.listeners()),
        );
    }
    let is_alive = received + case.answers_from_peer() > 0;
    // A dead path that carries something again recovers.
    if is_alive && case.has(Cause::DeadPath) {
        return None;
    }
    let (cause, summary) = if is_alive {
        (
            Cause::PolicyDrop,
            format!(
                "{}: connects get no answer although {} answers otherwise: a rule drops the SYNs, or their answers, without a word.",
                case.ends(),
                name(case.peer())
            ),
        )
    } else {
        (
            Cause::DeadPath,
            format!(
                "{}: connects get no answer at all, and nothing else comes from {} either.",
                case.ends(),
                name(case.peer())
            ),
        )
    };
    let draft = Draft::of_edge(cause, case.edge, Confidence::Medium, summary)
        // What was received lately may have come before the path died: whether it answers otherwise shows in the next judgement.
        .weighs(repeated as f64, repeated >= 6 && !is_alive)
        .hurts(case.impact())
        .because(evidence)
        .because(Signal::value(
            "tcp_received_segments",
            received as f64,
            "segments",
            format!(
                "{} segments came from it over all its ports within {}",
                received,
                time(case.recent_seconds)
            ),
        ))
        .because_of(case.dns_answers())
        .not(Cause::ConnectionRefused, "nothing refuses");
    Some(match cause {
        Cause::PolicyDrop => draft
            .without("listener", "a full accept queue on another node looks the same from this end")
            .then(
                "Look for rules on this port: network policies, security groups, nftables.",
                "nft list ruleset | grep -B2 -A2 drop".to_owned(),
            ),
        _ => draft
            .without(
                "packet_drops",
                "a rule on the way that drops everything (policy_drop) looks the same from this end",
            )
            .then(
                "See what is tried, and ping the addresses from this node.",
                "ss -tno state syn-sent".to_owned(),
            ),
    })
}
