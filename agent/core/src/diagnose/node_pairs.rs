//! Another node: where all that is bad goes to pods of one node, and pods of the others are fine, it is said of that node and not of
//! each pair of workloads.
//!
//! Pairs of workloads say nothing of nodes: the pods of one workload are on many. What was counted with each node says which one it
//! is, so the pairs are not assigned to nodes but explained by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use netcause_common::flow::{RetransmitKind, TcpCounters};

use super::arbiter::sum;
use super::cause::{Cause, Confidence};
use super::draft::Draft;
use super::finding::{Signal, Subject};
use super::statistics::{share, share_at_least};
use super::symptoms::{data_retransmits, local, peer, percent};
use crate::aggregate::peer_nodes::Row;
use crate::aggregate::windows::Recent;
use crate::diagnose::{LATELY, RECENTLY};

/// Pairs of different workloads with one fault, before it is said of a node.
const SEVERAL: usize = 2;
/// From so many on it is sure.
const MANY: usize = 4;
/// A share of segments sent again below this is harmless.
const HARMLESS: f64 = 0.002;
/// Other nodes have to be so many times better.
const BETTER: f64 = 4.0;

/// What was counted with one other node, in the span that is judged and in its last part.
struct Counted {
    row: Arc<Row>,
    lately: TcpCounters,
    recent: TcpCounters,
}

/// Says of a node what it explains of the drafts; the rest stays as it is.
pub fn explained(drafts: Vec<Draft>, windows: &Recent<Row, TcpCounters>) -> Vec<Draft> {
    let mut drafts = drafts;
    if drafts.len() < SEVERAL {
        return drafts;
    }
    let nodes = counted(windows);
    for (causes, found) in [
        (&[Cause::PathLoss][..], lossy(&nodes)),
        (&[Cause::DeadPath, Cause::HalfOpenPeer, Cause::PolicyDrop][..], silent(&nodes)),
    ] {
        if let Some((node, signals)) = found {
            drafts = folded(drafts, causes, node, signals);
        }
    }
    drafts
}

fn counted(windows: &Recent<Row, TcpCounters>) -> Vec<Counted> {
    let mut nodes: Vec<Counted> = Vec::new();
    windows.each(LATELY, |row, counted| {
        let recent = TcpCounters::ZERO;
        nodes.push(Counted { row: Arc::clone(row), lately: *counted, recent });
    });
    windows.each(RECENTLY, |row, counted| {
        if let Some(node) = nodes.iter_mut().find(|node| Arc::ptr_eq(&node.row, row)) {
            node.recent = *counted;
        }
    });
    nodes
}

/// The only node that this holds for.
fn only(nodes: &[Counted], is_bad: impl Fn(&Counted) -> bool) -> Option<&Counted> {
    let mut bad = nodes.iter().filter(|node| is_bad(node));
    let first = bad.next()?;
    (bad.next().is_none() && matches!(*first.row, Row::Node { .. })).then_some(first)
}

/// The one node whose pods lose segments, and what says so.
fn lossy(nodes: &[Counted]) -> Option<(&Counted, [Signal; 2])> {
    let again = |counted: &TcpCounters| (data_retransmits(counted), counted.sent_segments);
    let node = only(nodes, |node| {
        let (repeated, sent) = again(&node.lately);
        share_at_least(repeated, sent) > HARMLESS
    })?;
    let (repeated, sent) = again(&node.lately);
    let (others, of) = nodes.iter().filter(|other| !Arc::ptr_eq(&other.row, &node.row)).fold(
        (0, 0),
        |(repeated, sent), other| {
            let (more, of) = again(&other.lately);
            (repeated + more, sent + of)
        },
    );
    if of == 0 || share(others, of) * BETTER > share(repeated, sent) {
        return None;
    }
    let says = |part: u64, of: u64, whom: &str| {
        format!(
            "{} of the segments to pods of {whom} were sent again ({part} of {of})",
            percent(share(part, of))
        )
    };
    let signal = |part, of, whom: &str| {
        Signal::part("peer_node_retransmitted_segments", part, of, "segments", says(part, of, whom))
    };
    Some((node, [signal(repeated, sent, "that node"), signal(others, of, "all other nodes")]))
}

/// The one node that nothing comes from any more though segments are sent there, while others answer.
fn silent(nodes: &[Counted]) -> Option<(&Counted, [Signal; 2])> {
    let node = only(nodes, |node| {
        let TcpCounters { timeouts, retransmitted_segments, received_segments, .. } = &node.recent;
        let syns = retransmitted_segments[RetransmitKind::Syn as usize];
        *received_segments == 0 && timeouts.iter().sum::<u64>() + syns > 0
    })?;
    let others = nodes.iter().filter(|other| !Arc::ptr_eq(&other.row, &node.row));
    let received: u64 = others.map(|other| other.recent.received_segments).sum();
    let repeated: u64 = node.recent.retransmitted_segments.iter().sum();
    let says = format!("nothing came from pods of that node, and {repeated} segments were sent again");
    let here = Signal::value("peer_node_received_segments", 0.0, "segments", says);
    let says = format!("{received} segments came from pods of other nodes");
    let there = Signal::value("peer_node_received_segments", received as f64, "segments", says);
    (received > 0).then_some((node, [here, there]))
}

/// Folds the drafts of these causes into one of the node, if they are of several pairs of workloads.
fn folded(drafts: Vec<Draft>, causes: &[Cause], node: &Counted, signals: [Signal; 2]) -> Vec<Draft> {
    let is_of_pair = |draft: &Draft| {
        matches!(draft.finding.subject, Subject::Edge(_)) && causes.contains(&draft.finding.cause)
    };
    let (pairs, mut rest): (Vec<_>, Vec<_>) = drafts.into_iter().partition(is_of_pair);
    let edges = pairs.iter().filter_map(|draft| draft.finding.affected.first());
    let different = edges.map(|edge| (local(edge), peer(edge))).collect::<BTreeSet<_>>().len();
    if different < SEVERAL {
        rest.extend(pairs);
        return rest;
    }
    let Some(mut draft) = pairs.into_iter().reduce(sum) else { return rest };
    let name = node.row.name();
    let finding = &mut draft.finding;
    (finding.cause, finding.side) = (causes[0], causes[0].side());
    finding.owner = finding.side.owner();
    finding.subject = Subject::NodePair(name.to_owned());
    finding.confidence = if different >= MANY { Confidence::High } else { Confidence::Medium };
    finding.summary = match causes[0] {
        Cause::DeadPath => format!(
            "Nothing comes from node {name} any more, over {different} pairs of workloads; other nodes answer. The node is down, or the way to it."
        ),
        _ => format!(
            "The network between this node and {name} loses packets, over {different} pairs of workloads; other nodes are reached without loss."
        ),
    };
    finding.evidence = signals.into();
    draft.is_plain |= different >= MANY;
    rest.push(draft);
    rest
}
