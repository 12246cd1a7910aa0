//! What a rule on this node drops of a pair whose server runs here.
//!
//! The client's end sees silence alone. This end sees nothing of the connections that do not come to be, but the kernel says what it
//! dropped, and that a rule did it. Rules drop all the time what nobody misses: so the pair must have talked before, over a port
//! that is silent now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::drops::DropCause;

use super::places::{LEAST, Places};
use crate::aggregate::places::Place;
use crate::aggregate::{Edge, Reporter};
use crate::diagnose::around::Around;
use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Impact, Signal, name};
use crate::diagnose::past::Pasts;
use crate::enrich::Workload;

/// A port that has been silent for longer before anything was dropped was given up.
const GIVEN_UP: Duration = Duration::from_mins(1);

/// What rules drop that was served here.
pub fn judge(
    places: &Places,
    pasts: &Pasts,
    around: &Around,
    has_it: impl Fn(&Arc<Edge>) -> bool,
    now: Duration,
) -> Vec<Draft> {
    let dropped = dropped(places);
    if dropped.is_empty() {
        return Vec::new();
    }
    let known = pasts.all().filter(|(edge, _)| edge.reporter == Reporter::Destination);
    let mut drafts: Vec<_> = known
        .filter_map(|(edge, past)| {
            // A packet that no socket was found for counts for its sender.
            let (one, other) = (&edge.source, &edge.destination);
            let packets: u64 = [(one, other), (other, one)].iter().filter_map(|ends| dropped.get(ends)).sum();
            if packets == 0 {
                return None;
            }
            let is_new = now.saturating_sub(past.last()) <= GIVEN_UP || has_it(edge);
            (is_new && !around.has_heard(edge)).then(|| of_port(edge, packets, places.seconds))
        })
        .collect();
    drafts.sort_by(|one, other| one.finding.subject.cmp(&other.finding.subject));
    drafts
}

/// Packets that rules drop between two workloads, and go on to.
fn dropped(places: &Places) -> HashMap<(&Workload, &Workload), u64> {
    let rule = DropCause::Policy as usize;
    let rows = places.rows.iter().filter_map(|(place, (lately, recent))| match (place, recent) {
        (Place::Drops(workload, peer), Some(recent))
            if lately.counters[rule] >= LEAST && recent.counters[rule] > 0 =>
        {
            Some(((workload, peer), lately.counters[rule]))
        }
        _ => None,
    });
    rows.collect()
}

fn of_port(edge: &Arc<Edge>, packets: u64, seconds: f64) -> Draft {
    let (client, server) =
        (name(&edge.source), crate::diagnose::finding::server(&edge.destination, edge.port));
    let summary = format!(
        "{client} → {server}: a rule on this node drops packets between them ({packets}), and nothing comes to this port any more."
    );
    let says = format!("this node dropped {packets} packets between them because of a rule");
    let drops = Signal::value("packet_drops", packets as f64, "packets", says);
    let heard = "no segment has come from it to this port since".to_owned();
    Draft::of_edge(Cause::PolicyDrop, edge, Confidence::Medium, summary)
        .weighs(packets as f64, false)
        .hurts(Impact { failed_connections_per_second: packets as f64 / seconds.max(1.0), ..Impact::default() })
        .because(drops)
        .because(Signal::value("tcp_received_segments", 0.0, "segments", heard))
        .not(Cause::DeadPath, "packets arrive at this node")
        .not(Cause::ConnectionRefused, "what is dropped is not answered")
        .without("port", "the kernel's drops are counted by pair: which port the packets went to is taken from what is silent")
        .then(
            "See which rule counts them, on this node and in the pod's network namespace.",
            "nft list ruleset | grep -B2 -A2 drop".to_owned(),
        )
}
