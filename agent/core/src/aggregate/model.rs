//! Every edge and what was counted of it, over the lives of the flows and the names that they had.
//!
//! A difference ([`super::delta`]) is added to the edge that its flow belongs to. So what a flow counted under one name
//! stays there when it gets another, and sums over all edges are what was counted. Two things move a past, and are
//! reported to whoever shows totals ([`Change`]): a name that comes late was right all the time, and so was a sidecar's leg that
//! was not known as one ([`naming`]).
//!
//! Open connections are a gauge: an edge has those of its flows. A flow may have less than none, when the kernel's table had
//! no room for it while they were opened: [`Model::overflow`] has these.

mod handover;
mod naming;
mod remotes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::{FlowKey, TcpCounters};
use slab::Slab;

use handover::Handovers;

use super::packed::Packed;
use super::totals::Totals;
use super::windows::{self, Windows};
use super::{Edge, Reporter, edge};
use crate::enrich::Names;
use crate::enrich::objects::Seconds;
use crate::ingest::{ip, role};

pub use remotes::Remotes;

/// The number of an edge; used again after [`Change::Merged`] and [`Change::Ended`].
pub type EdgeId = usize;

/// Bytes of the steps of [`Model::windows`].
pub const WINDOWS_BYTES: usize = 6 << 20;

/// What windows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counting {
    /// An edge.
    Edge(EdgeId),
    /// What the kernel's full tables have no room for.
    Overflow(Reporter),
}

/// What edges have counted lately.
pub type EdgeWindows = Windows<Counting, Edge, Totals>;

impl windows::Name for Edge {
    fn other(&self) -> Self {
        Self::other(self.reporter)
    }
}

/// All flows and edges.
#[derive(Debug)]
pub struct Model {
    /// A flow without traffic and without an open connection may be removed from the kernel's table after this.
    idle: Duration,
    flows: HashMap<FlowKey, Flow>,
    edges: Slab<Entry>,
    by_edge: BTreeMap<Arc<Edge>, EdgeId>,
    /// Flows without an edge as yet: they are named at the end of the reading.
    unnamed: Vec<FlowKey>,
    /// Flows whose ends may have other names by now.
    unsure: HashSet<FlowKey>,
    handovers: Handovers,
    overflow: [Totals; 2],
    changes: Vec<Change>,
    windows: EdgeWindows,
    others: [Arc<Edge>; 2],
}

/// A flow in one of the kernel's tables.
#[derive(Debug)]
struct Flow {
    edge: Option<EdgeId>,
    /// Its open connections; may be below zero.
    open: i64,
    /// When it was last seen to have counted anything.
    quiet_since: Duration,
    /// What it has counted for its present edge, without open connections.
    counted: Packed<Totals>,
}

/// An edge of the model.
#[derive(Debug)]
pub struct Entry {
    edge: Arc<Edge>,
    totals: Arc<Packed<Totals>>,
    flows: usize,
    /// When it began, as [`Names::now`] has it.
    began: Seconds,
    /// When the last flow moved to an edge of another name.
    left: Option<Duration>,
}

impl Entry {
    /// Who talks to whom.
    #[must_use]
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// What was counted, and the connections that are open now.
    #[must_use]
    pub fn totals(&self) -> &Arc<Packed<Totals>> {
        &self.totals
    }

    fn add(&mut self, delta: &Totals) {
        // A view that is still read keeps its own copy.
        Arc::make_mut(&mut self.totals).add(delta);
    }
}

/// What has happened to edges, beside counting.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A part of what one edge had counted belongs to another one now; open connections are not in it.
    Moved {
        /// Where it was.
        from: EdgeId,
        /// Where it is now.
        to: EdgeId,
        /// What.
        past: Box<Totals>,
    },
    /// An edge is a part of another one now, with all that it had counted. Its number may be used again.
    Merged {
        /// The edge that is no more.
        from: EdgeId,
        /// The one that it is a part of.
        into: EdgeId,
        /// What it had counted, without open connections.
        past: Box<Totals>,
        /// What the other one had counted itself.
        own: Arc<Packed<Totals>>,
    },
    /// An edge is no more, and these were its totals. Its number may be used again.
    Ended {
        /// Its number.
        edge: EdgeId,
        /// What it had counted.
        totals: Arc<Packed<Totals>>,
    },
}

impl Model {
    /// Without edges. A flow without traffic and without an open connection may be removed after `idle`.
    #[must_use]
    pub fn new(idle: Duration) -> Self {
        Self {
            idle,
            flows: HashMap::new(),
            edges: Slab::new(),
            by_edge: BTreeMap::new(),
            unnamed: Vec::new(),
            unsure: HashSet::new(),
            handovers: Handovers::default(),
            overflow: [Totals::ZERO; 2],
            changes: Vec::new(),
            windows: Windows::new(WINDOWS_BYTES),
            others: [Reporter::Source, Reporter::Destination].map(|reporter| Arc::new(Edge::other(reporter))),
        }
    }

    /// Adds what a flow has counted since the last time. Whose it is at a contested address ([`Names::is_contested`]) is decided
    /// when the reading ends.
    pub fn count(&mut self, key: &FlowKey, delta: &Totals, now: Duration, is_contested: bool) {
        let Some(role) = role(key) else { return };
        let reporter = Reporter::from(role);
        let overflow = &mut self.overflow[reporter as usize];
        if key.is_other() {
            overflow.add(delta);
            let other = &self.others[reporter as usize];
            self.windows.count(Counting::Overflow(reporter), other, &without_open(delta));
            return;
        }
        let flow = self.flows.entry(*key).or_insert_with(|| {
            self.unnamed.push(*key);
            Flow { edge: None, open: 0, quiet_since: now, counted: Packed::default() }
        });
        if *delta != Totals::ZERO {
            flow.quiet_since = now;
        }
        let mut counted = without_open(delta);
        if is_contested {
            self.handovers.count(key, &counted);
            counted = Totals::ZERO;
        }
        flow.counted.add(&counted);
        let before = flow.open;
        flow.open = before.saturating_add(delta.tcp.open);
        overflow.tcp.open += flow.open.min(0) - before.min(0);
        if let Some(id) = flow.edge
            && let Some(entry) = self.edges.get_mut(id)
        {
            self.windows.count(Counting::Edge(id), &entry.edge, &counted);
            counted.tcp.open = flow.open.max(0) - before.max(0);
            entry.add(&counted);
        }
    }

    /// An entry was removed from the kernel's table; what it had counted stays.
    pub fn remove(&mut self, key: &FlowKey) {
        let Some(flow) = self.flows.remove(key) else { return };
        if let Some(entry) = flow.edge.and_then(|edge| self.edges.get_mut(edge)) {
            entry.flows -= 1;
            entry.add(&with_open(&Totals::ZERO, -flow.open.max(0)));
        }
        // Connections that were opened in `overflow` and closed here stay closed.
    }

    /// Ends a reading of the kernel's tables: names what is new, drops edges without flows, moves what has other names by now.
    /// Returns the flows that may be removed from the kernel's tables ([`Self::remove`]).
    pub fn end_reading(&mut self, now: Duration, names: &mut Names) -> Vec<FlowKey> {
        self.name_flows(names);
        names.settle_legs();
        self.settle(now, names);
        self.drop_edges(now);
        self.name_edges(names);
        self.begin_reading(names);
        self.move_flows(now, names);
        self.windows.end_reading(now);
        let is_idle = |flow: &Flow| flow.open <= 0 && now.saturating_sub(flow.quiet_since) >= self.idle;
        self.flows.iter().filter(|(_, flow)| is_idle(flow)).map(|(key, _)| *key).collect()
    }

    /// What has happened since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// All edges with their numbers, in the order of the edges.
    pub fn edges(&self) -> impl Iterator<Item = (EdgeId, &Entry)> {
        self.by_edge.values().filter_map(|id| Some((*id, self.edges.get(*id)?)))
    }

    /// An edge by its number.
    #[must_use]
    pub fn entry(&self, id: EdgeId) -> Option<&Entry> {
        self.edges.get(id)
    }

    /// What the kernel's full tables had no room for, at one end.
    #[must_use]
    pub fn overflow(&self, reporter: Reporter) -> Totals {
        let overflow = self.overflow[reporter as usize];
        with_open(&without_open(&overflow), overflow.tcp.open.max(0))
    }

    /// What edges have counted lately.
    #[must_use]
    pub fn windows(&self) -> &EdgeWindows {
        &self.windows
    }

    /// Whether the kernel's tables have a flow.
    #[must_use]
    pub fn knows(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// The flow that the kernel's tables count a connection's flow for: one that they do not have is folded into another.
    #[must_use]
    pub fn counting_for(&self, flow: &FlowKey) -> FlowKey {
        let known = [*flow, flow.others_of()].into_iter().find(|flow| self.flows.contains_key(flow));
        known.unwrap_or_else(|| FlowKey::other(flow.protocol, flow.role))
    }

    /// The edge that a flow counts for; `None` until the end of the reading that finds it.
    #[must_use]
    pub fn edge_of(&self, key: &FlowKey) -> Option<&Arc<Edge>> {
        let id = self.flows.get(key)?.edge?;
        self.edges.get(id).map(Entry::edge)
    }

    /// The local ends that have flows of a protocol.
    #[must_use]
    pub fn locals_of(&self, protocol: u8) -> HashSet<u64> {
        self.flows.keys().filter(|flow| flow.protocol == protocol).map(|flow| flow.local).collect()
    }

    /// The local ends that have flows.
    #[must_use]
    pub fn locals(&self) -> HashSet<u64> {
        self.flows.keys().map(|flow| flow.local).collect()
    }

    /// The remote ends that have flows.
    #[must_use]
    pub fn remotes(&self) -> HashSet<IpAddr> {
        self.flows.keys().map(|flow| ip(flow.remote)).collect()
    }

    fn name_flows(&mut self, names: &mut Names) {
        for key in std::mem::take(&mut self.unnamed) {
            names.observe(&key);
            self.name_flow(&key, names);
        }
    }

    fn name_flow(&mut self, key: &FlowKey, names: &Names) {
        let Some(named) = edge(key, names) else { return };
        let id = self.edge_id(named.edge, names.now());
        let (Some(flow), Some(entry)) = (self.flows.get_mut(key), self.edges.get_mut(id)) else { return };
        flow.edge = Some(id);
        entry.flows += 1;
        let counted = flow.counted.unpack();
        self.windows.count(Counting::Edge(id), &entry.edge, &counted);
        entry.add(&with_open(&counted, flow.open.max(0)));
    }

    /// Drops the edges without flows; those that flows have left for another name stay as long as a flow that is idle.
    fn drop_edges(&mut self, now: Duration) {
        let Self { idle, edges, by_edge, .. } = self;
        let mut ended = Vec::new();
        by_edge.retain(|_, id| {
            let lives = edges.get(*id).is_some_and(|entry| {
                entry.flows > 0 || entry.left.is_some_and(|left| now.saturating_sub(left) < *idle)
            });
            if !lives {
                ended.push(*id);
            }
            lives
        });
        for id in ended {
            if let Some(entry) = self.edges.try_remove(id) {
                self.windows.ended(&Counting::Edge(id));
                self.changes.push(Change::Ended { edge: id, totals: entry.totals });
            }
        }
        self.handovers.retain(|id| self.edges.contains(id));
    }

    /// The number of an edge, which is new when the edge is.
    fn edge_id(&mut self, edge: Edge, began: Seconds) -> EdgeId {
        if let Some(id) = self.by_edge.get(&edge) {
            return *id;
        }
        let edge = Arc::new(edge);
        let entry = Entry { edge: Arc::clone(&edge), totals: Arc::default(), flows: 0, began, left: None };
        let id = self.edges.insert(entry);
        self.by_edge.insert(edge, id);
        id
    }
}

fn with_open(totals: &Totals, open: i64) -> Totals {
    Totals { tcp: TcpCounters { open, ..totals.tcp }, ..*totals }
}

fn without_open(totals: &Totals) -> Totals {
    with_open(totals, 0)
}

#[cfg(test)]
mod tests;
