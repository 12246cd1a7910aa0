//! TCP by the node at the other end: what connections with the pods of each node counted, whoever they are.
//!
//! A difference belongs to the node of who held the remote address when it was counted, and stays there: rows only grow. There are
//! as many as are allowed; when all are taken, a node that counts more than the smallest takes its place, and that one counts
//! for `other` from then on.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::{FlowKey, TcpCounters};
use serde::{Deserialize, Serialize};

use super::packed::Packed;
use super::totals::{self, Counters as _};
use super::windows::{self, Windows};
use crate::enrich::directory::{Mark, Span};
use crate::enrich::{Names, PeerNode};

/// What a node counted loses half of its weight in this time, for the question which nodes are the smallest.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// A node has to weigh so many times as much as another one to take its place: two that are equal do not take turns.
const MARGIN: u64 = 2;

/// Bytes of the steps of [`PeerNodes::windows`].
const WINDOWS_BYTES: usize = 1 << 20;

/// The name of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Row {
    /// A node.
    Node {
        /// Its name.
        name: Box<str>,
        /// Its zone; empty when unknown.
        zone: Box<str>,
    },
    /// The other end is in the cluster, and it is not known on which node.
    Unknown,
    /// Nodes without a row of their own.
    Other,
}

/// What was counted with each node lately.
pub type PeerNodeWindows = Windows<Arc<Row>, Row, TcpCounters>;

impl windows::Name for Row {
    fn other(&self) -> Self {
        Self::Other
    }
}

/// A node with a row of its own.
#[derive(Debug)]
struct Known {
    row: Arc<Row>,
    totals: TcpCounters,
    weight: u64,
}

/// All rows.
#[derive(Debug)]
pub struct PeerNodes {
    limit: usize,
    rows: HashMap<Box<str>, Known>,
    unknown: Rest,
    other: Rest,
    /// Weights of nodes without a row of their own; no more than there are rows.
    candidates: HashMap<Box<str>, u64>,
    /// What was counted at addresses that have or had several holders, until the reading ends.
    contested: HashMap<FlowKey, Packed<TcpCounters>>,
    last: Option<Mark>,
    halved: Duration,
    folded: u64,
    windows: PeerNodeWindows,
}

/// A row that stands for several nodes.
type Rest = (Arc<Row>, TcpCounters);

impl PeerNodes {
    /// Without rows; there will be no more nodes than this.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            rows: HashMap::new(),
            unknown: (Arc::new(Row::Unknown), TcpCounters::ZERO),
            other: (Arc::new(Row::Other), TcpCounters::ZERO),
            candidates: HashMap::new(),
            contested: HashMap::new(),
            last: None,
            halved: Duration::ZERO,
            folded: 0,
            windows: Windows::new(WINDOWS_BYTES),
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
            PeerNode::Unknown => {
                totals::add(&mut self.unknown.1, counted);
                return self.windows.count(Arc::clone(&self.unknown.0), &self.unknown.0, counted);
            }
            PeerNode::Known(node) => node,
        };
        let (zone, weight) = (node.zone.unwrap_or_default(), counted.weight().max(1));
        let has_place = self.rows.len() < self.limit;
        if let Some(row) = self.rows.get_mut(node.name) {
            if row.row.zone() != zone {
                // Other labels: another row, which has counted nothing as yet.
                self.windows.ended(&row.row);
                *row = Known { totals: TcpCounters::ZERO, ..Known::new(node.name, zone, row.weight) };
            }
            totals::add(&mut row.totals, counted);
            row.weight = row.weight.saturating_add(weight);
            self.windows.count(Arc::clone(&row.row), &row.row, counted);
        } else if has_place {
            let row = Known { totals: *counted, ..Known::new(node.name, zone, weight) };
            self.windows.count(Arc::clone(&row.row), &row.row, counted);
            self.rows.insert(node.name.into(), row);
        } else {
            totals::add(&mut self.other.1, counted);
            self.windows.count(Arc::clone(&self.other.0), &self.other.0, counted);
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
        self.windows.end_reading(now);
        let halvings = now.saturating_sub(self.halved).as_secs() / HALF_LIFE.as_secs();
        if halvings == 0 {
            return;
        }
        self.halved = now;
        let lighter = |weight: u64| weight.checked_shr(halvings.try_into().unwrap_or(u32::MAX)).unwrap_or(0);
        // A node that counts nothing any more ends.
        let windows = &mut self.windows;
        self.rows.retain(|_, row| {
            row.weight = lighter(row.weight);
            if row.weight == 0 {
                windows.ended(&row.row);
            }
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
                if let Some(row) = self.rows.remove(&smallest) {
                    self.windows.ended(&row.row);
                }
                self.candidates.insert(smallest, least);
                self.folded += 1;
            }
            // Its zone comes with what it counts next.
            let row = Known::new(&name, "", weight);
            self.rows.insert(name, row);
        }
    }

    /// Everything that has counted anything, nodes in the order of their names.
    #[must_use]
    pub fn rows(&self) -> Vec<(&Row, &TcpCounters)> {
        let nodes = self.rows.values().map(|row| (&*row.row, &row.totals));
        let rest = [&self.unknown, &self.other].map(|(row, totals)| (&**row, totals));
        let mut rows: Vec<_> =
            nodes.chain(rest).filter(|(_, totals)| **totals != TcpCounters::ZERO).collect();
        rows.sort_unstable_by_key(|(row, _)| *row);
        rows
    }

    /// What was counted lately.
    #[must_use]
    pub fn windows(&self) -> &PeerNodeWindows {
        &self.windows
    }

    /// How often a node has lost its row to another one.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded
    }
}

impl Known {
    fn new(name: &str, zone: &str, weight: u64) -> Self {
        let row = Arc::new(Row::Node { name: name.into(), zone: zone.into() });
        Self { row, totals: TcpCounters::ZERO, weight }
    }
}

impl Row {
    /// The node's name, or what stands for several.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Node { name, .. } => name,
            Self::Unknown => "unknown",
            Self::Other => "other",
        }
    }

    /// The node's zone; empty when unknown.
    #[must_use]
    pub fn zone(&self) -> &str {
        match self {
            Self::Node { zone, .. } => zone,
            Self::Unknown | Self::Other => "",
        }
    }
}

#[cfg(test)]
mod tests;
