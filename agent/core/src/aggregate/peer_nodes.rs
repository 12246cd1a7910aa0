//! TCP by the node at the other end: what connections with the pods of each node counted, whoever they are.
//!
//! A difference belongs to the node of who held the remote address when it was counted, and stays there: rows only grow. There are
//! as many as are allowed; when all are taken, a node that counts more than the smallest takes its place, and that one counts
//! for `other` from then on.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use netcause_common::flow::{FlowKey, TcpCounters};

use super::packed::Packed;
use super::totals::{self, Counters as _};
use crate::enrich::directory::{Mark, Span};
use crate::enrich::{Names, PeerNode};

/// What a node counted loses half of its weight in this time, for the question which nodes are the smallest.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// A node has to weigh so many times as much as another one to take its place: two that are equal do not take turns.
const MARGIN: u64 = 2;

/// The name of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// A node.
    Node {
        /// Its name.
        name: &'a str,
        /// Its zone; empty when unknown.
        zone: &'a str,
    },
    /// The other end is in the cluster, and it is not known on which node.
    Unknown,
    /// Nodes without a row of their own.
    Other,
}

/// A node with a row of its own.
#[derive(Debug)]
struct Known {
    zone: Box<str>,
    totals: TcpCounters,
    weight: u64,
}

/// All rows.
#[derive(Debug)]
pub struct PeerNodes {
    limit: usize,
    rows: HashMap<Box<str>, Known>,
    unknown: TcpCounters,
    other: TcpCounters,
    /// Weights of nodes without a row of their own; no more than there are rows.
    candidates: HashMap<Box<str>, u64>,
    /// What was counted at addresses that have or had several holders, until the reading ends.
    contested: HashMap<FlowKey, Packed<TcpCounters>>,
    last: Option<Mark>,
    halved: Duration,
    folded: u64,
}

impl PeerNodes {
    /// Without rows; there will be no more nodes than this.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            rows: HashMap::new(),
            unknown: TcpCounters::ZERO,
            other: TcpCounters::ZERO,
            candidates: HashMap::new(),
            contested: HashMap::new(),
            last: None,
            halved: Duration::ZERO,
            folded: 0,
        }
    }

    /// Takes what a flow has counted since the last time.
    pub fn count(&mut self, flow: &FlowKey, delta: &TcpCounters, names: &Names) {
        // A gauge of flows, which may move from one node to another.
        let counted = TcpCounters { open: 0, ..*delta };
        if counted == TcpCounters::ZERO {
            return;
        }
        if names.is_contested(flow) {
            self.contested.entry(*flow).or_default().add(&counted);
        } else {
            self.add(names.peer_node(flow), &counted);
        }
    }

    fn add(&mut self, node: PeerNode<'_>, counted: &TcpCounters) {
        let node = match node {
            PeerNode::Outside => return,
            PeerNode::Unknown => return totals::add(&mut self.unknown, counted),
            PeerNode::Known(node) => node,
        };
        let (zone, weight) = (node.zone.unwrap_or_default(), counted.weight().max(1));
        if let Some(row) = self.rows.get_mut(node.name) {
            if *row.zone != *zone {
                // Other labels: another row, which has counted nothing as yet.
                *row = Known { zone: zone.into(), totals: TcpCounters::ZERO, weight: row.weight };
            }
            totals::add(&mut row.totals, counted);
            row.weight = row.weight.saturating_add(weight);
        } else if self.rows.len() < self.limit {
            self.rows.insert(node.name.into(), Known { zone: zone.into(), totals: *counted, weight });
        } else {
            totals::add(&mut self.other, counted);
            if let Some(candidate) = self.candidates.get_mut(node.name) {
                *candidate = candidate.saturating_add(weight);
            } else if self.candidates.len() < self.limit {
                self.candidates.insert(node.name.into(), weight);
            }
        }
    }

    /// Ends a reading of the kernel's tables, before names change.
    pub fn end_reading(&mut self, now: Duration, names: &Names) {
        let until = names.mark();
        let span = Span { from: self.last.unwrap_or(until), until };
        self.last = Some(until);
        for (flow, counted) in mem::take(&mut self.contested) {
            self.add(names.peer_node_during(&flow, &span), &counted.unpack());
        }
        self.give_places();
        let halvings = now.saturating_sub(self.halved).as_secs() / HALF_LIFE.as_secs();
        if halvings == 0 {
            return;
        }
        self.halved = now;
        let lighter = |weight: u64| weight.checked_shr(halvings.try_into().unwrap_or(u32::MAX)).unwrap_or(0);
        // A node that counts nothing any more ends.
        self.rows.retain(|_, row| {
            row.weight = lighter(row.weight);
            row.weight > 0
        });
        self.candidates.retain(|_, weight| {
            *weight = lighter(*weight);
            *weight > 0
        });
    }

    /// Gives the places of the smallest rows to larger nodes without one.
    fn give_places(&mut self) {
        let mut candidates: Vec<_> = self.candidates.drain().collect();
        candidates.sort_unstable_by(|(_, one), (_, other)| other.cmp(one));
        for (name, weight) in candidates {
            let smallest = self.rows.iter().min_by_key(|(_, row)| row.weight);
            let Some((smallest, least)) = smallest.map(|(name, row)| (name.clone(), row.weight)) else {
                break;
            };
            if self.rows.len() >= self.limit && weight / MARGIN <= least {
                self.candidates.insert(name, weight);
                continue;
            }
            if self.rows.len() >= self.limit {
                self.rows.remove(&smallest);
                self.candidates.insert(smallest, least);
                self.folded += 1;
            }
            // Its zone comes with what it counts next.
            self.rows.insert(name, Known { zone: Box::default(), totals: TcpCounters::ZERO, weight });
        }
    }

    /// Everything that has counted anything, nodes in the order of their names.
    #[must_use]
    pub fn rows(&self) -> Vec<(Row<'_>, &TcpCounters)> {
        let nodes = self.rows.iter().filter(|(_, row)| row.totals != TcpCounters::ZERO);
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort_unstable_by_key(|(name, _)| *name);
        let nodes = nodes.into_iter().map(|(name, row)| (Row::Node { name, zone: &row.zone }, &row.totals));
        let rest = [(Row::Unknown, &self.unknown), (Row::Other, &self.other)];
        nodes.chain(rest.into_iter().filter(|(_, totals)| **totals != TcpCounters::ZERO)).collect()
    }

    /// How often a node has lost its row to another one.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded
    }
}

#[cfg(test)]
mod tests;
