//! A port that is silent.

use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Signal, name};
use crate::diagnose::symptoms::{Case, time};

/// Nothing comes back from one port of a peer whose other ports answer.
pub(super) fn of_port(case: &Case<'_>, timeouts: u64, repeated: u64) -> Draft {
    let others = case.received_between();
    let summary = format!(
        "{}: nothing comes back from this port any more, and {} answers at others: a rule drops what goes there, or its answers.",
        case.ends(),
        name(case.peer()),
    );
    let says = format!("{timeouts} retransmission timeouts, {repeated} of them the third in a row or later");
    Draft::of_edge(Cause::PolicyDrop, case.edge, Confidence::Medium, summary)
        .weighs(timeouts as f64, false)
        .hurts(case.impact())
        .because(Signal::value("tcp_timeouts", timeouts as f64, "timeouts", says))
        .because(Signal::value(
            "tcp_received_segments",
            others as f64,
            "segments",
            format!("{others} segments came from its other ports within {}", time(case.recent_seconds)),
        ))
        .not(Cause::DeadPath, "other ports of it answer")
        .without(
            "path",
            "one of several parallel links that is dead (dead_path) can look the same from this end",
        )
        .then(
            "Look for rules on this port: network policies, security groups, nftables.",
            "nft list ruleset | grep -B2 -A2 drop".to_owned(),
        )
}
