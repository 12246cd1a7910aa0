//! A port that is silent.

use netcause_common::drops::DropCause;
use netcause_common::flow::RetransmitKind;

use crate::aggregate::turn::On;
use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Signal, name};
use crate::diagnose::symptoms::{Case, responses, time};

/// Fewer packets that a rule has dropped are others'.
const DROPPED: u64 = 3;
/// So many times what is usual is another state.
const WORSE: f64 = 3.0;
/// When a path dies while requests are being answered, fewer connections than this are left that wait for the answer.
const HELD_UP: f64 = 1.5;

/// Nothing comes back, and a rule on this node has dropped packets between both ends.
pub(super) fn by_rule(case: &Case<'_>, repeated: u64) -> Option<Draft> {
    let dropped = case.dropped_here(DropCause::Policy);
    if dropped < DROPPED || dropped * 2 < repeated {
        return None;
    }
    let summary =
        format!("{}: nothing comes back: a rule on this node drops packets between them.", case.ends());
    let says = format!(
        "a rule on this node dropped {dropped} packets between them within {}",
        time(case.recent_seconds)
    );
    Some(
        Draft::of_edge(Cause::PolicyDrop, case.edge, Confidence::High, summary)
            .weighs(dropped as f64, false)
            .hurts(case.impact())
            .because(Signal::value("packet_drops", dropped as f64, "packets", says))
            .not(Cause::DeadPath, "packets are dropped on this node, and not on the way")
            .then(
                "See which rule counts them, on the node and in the pod's network namespace.",
                "nft list ruleset | grep -B2 -A2 drop".to_owned(),
            ),
    )
}

/// Nothing comes back from one port of a peer whose other ports answer, or that answers DNS queries.
pub(super) fn of_port(case: &Case<'_>, timeouts: u64, repeated: u64) -> Draft {
    let others = match case.received_between_others() {
        0 => case.received_from_others(),
        between => between,
    };
    let summary = format!(
        "{}: nothing comes back from this port any more, and {} answers {}: a rule drops what goes there, or its answers.",
        case.ends(),
        name(case.peer()),
        if others > 0 { "at others" } else { "DNS queries" },
    );
    let says = format!("{timeouts} retransmission timeouts, {repeated} of them the third in a row or later");
    Draft::of_edge(Cause::PolicyDrop, case.edge, Confidence::Medium, summary)
        .weighs(timeouts as f64, false)
        .hurts(case.impact())
        .because(Signal::value("tcp_timeouts", timeouts as f64, "timeouts", says))
        .because_of((others > 0).then(|| {
            let says =
                format!("{others} segments came from its other ports within {}", time(case.recent_seconds));
            Signal::value("tcp_received_segments", others as f64, "segments", says)
        }))
        .because_of(case.dns_answers())
        .not(Cause::DeadPath, "it answers otherwise")
        .without(
            "path",
            "one of several parallel links that is dead (dead_path) can look the same from this end",
        )
        .then(
            "Look for rules on this port: network policies, security groups, nftables.",
            "nft list ruleset | grep -B2 -A2 drop".to_owned(),
        )
}

/// Connections were accepted by the server's kernel alone: their requests are acknowledged and get no answer, while further
/// connections get none at all. Its application accepts nothing, and its accept queue is full.
pub(super) fn of_application(case: &Case<'_>) -> Option<Draft> {
    let (lately, recent) = (&case.lately.tcp, &case.recent.tcp);
    let syns = recent.retransmitted_segments[RetransmitKind::Syn as usize];
    let timeouts: u64 = recent.timeouts.iter().sum();
    let (_, answers) = responses(&case.recent.waits);
    let has_it = case.has(Cause::AcceptQueueOverflow);
    let goes_on = syns + timeouts > 0 || (has_it && case.is_stuck());
    let usual = case.past.waited_for_peer().unwrap_or(0.0);
    let waiting = case.waited_recently(On::PeerApplication);
    if !case.is_client() || !goes_on || answers > 0 || waiting < WORSE * usual + HELD_UP {
        return None;
    }
    let timed_out = lately.timeouts.iter().sum::<u64>();
    let repeated = lately.retransmitted_segments[RetransmitKind::Syn as usize];
    let summary = format!(
        "{}: {} does not accept connections. {waiting:.1} that its kernel completed wait for an answer to requests that were acknowledged, and others get none at all.",
        case.ends(),
        case.server(),
    );
    let says = format!("{waiting:.1} connections wait for its application");
    let waits = Signal::value("tcp_waiting_connections", waiting, "connections", says).usually(Some(usual));
    let says = format!("{repeated} SYNs were repeated, and {timed_out} timeouts of other data");
    Some(
        Draft::of_edge(Cause::AcceptQueueOverflow, case.edge, Confidence::Medium, summary)
            .weighs(waiting * case.seconds, false)
            .hurts(case.impact())
            .because(waits)
            .because(Signal::value("tcp_timeouts", (repeated + timed_out) as f64, "timeouts", says))
            .not(Cause::DeadPath, "requests of other connections to this port are acknowledged")
            .not(Cause::PolicyDrop, "requests of other connections to this port are acknowledged")
            .without("listener", "the accept queue itself is seen on the server's node alone")
            .then(
                "See the queue (Recv-Q) against its limit (Send-Q) at the server, and what its threads do.",
                case.listeners(),
            ),
    )
}
