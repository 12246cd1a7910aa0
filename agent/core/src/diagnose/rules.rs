//! The rules: a file for each family of causes. A rule looks at one edge, or at what the node counts, and names one cause at most.

mod application;
mod arrived;
mod blocked;
mod connect;
mod dns;
mod listener;
mod loss;
mod node;
mod places;
mod queueing;
mod reading;
mod sidecar;
mod silence;

use super::cause::{Cause, Family};
use super::draft::Draft;
use super::finding::{Insufficient, Missing, Pair, Subject};
use super::statistics::share_at_least;
use super::symptoms::{Case, data_retransmits, failed_connects};
use crate::enrich::sidecar::Via;

pub use blocked::judge as judge_blocked;
pub use places::{Places, judge as judge_places, level};

/// What is wrong with an edge, at most one cause of each family.
#[must_use]
pub fn judge(case: &Case<'_>) -> Vec<Draft> {
    if matches!(case.edge.via, Via::OwnSidecar(_)) {
        return sidecar::judge(case).into_iter().collect();
    }
    let rules = [loss::judge, connect::judge, application::judge, dns::judge];
    let mut found: Vec<Draft> = rules.into_iter().filter_map(|rule| rule(case)).collect();
    // What its connects lack is that.
    if found.iter().any(|draft| draft.finding.cause == Cause::DnsTcpFallbackBlocked) {
        found.retain(|draft| draft.finding.cause.family() == Family::Dns);
    }
    found
}

/// A symptom that hurts, of an edge without a cause that can be named.
#[must_use]
pub fn unexplained(case: &Case<'_>) -> Option<Insufficient> {
    let (tcp, recent) = (&case.lately.tcp, &case.recent.tcp);
    let failed = failed_connects(tcp);
    let is_failing =
        failed >= 3 && failed_connects(recent) > 0 && share_at_least(failed, failed + tcp.opened) > 0.05;
    let again = data_retransmits(tcp);
    let is_repeating =
        again >= 5 && data_retransmits(recent) > 0 && share_at_least(again, tcp.sent_segments) > 0.01;
    let symptom = if is_failing {
        format!("{}: {failed} of {} connects failed", case.ends(), failed + tcp.opened)
    } else if is_repeating {
        format!("{}: {}", case.ends(), case.retransmitted().says)
    } else {
        return None;
    };
    let missing = case.around.missing.iter().map(|(signal, why)| Missing { signal, why: why.clone() });
    Some(Insufficient { subject: Subject::Edge(Pair::of(case.edge)), symptom, missing: missing.collect() })
}
