//! Names that come later than the flow, and names that change.
//!
//! - A name that comes **late** was right all the time: all that the nameless edge has counted goes to the named one.
//! - A name that **changes**, because an address has another holder now, was right up to then: the past stays, and what is
//!   counted from now on goes to the edge of the new name.
//! - A **leg** of a sidecar's connection that is known late was one all the time: the flow takes its own past along. So it does
//!   when the port is known late that a client had connected to before its connection was redirected.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::FlowKey;

use super::super::edge::name_again;
use super::super::{Edge, Named, Reporter, Via, edge};
use super::{Change, Counting, EdgeId, Entry, Flow, Model, Totals, with_open, without_open};
use crate::enrich::objects::Seconds;
use crate::enrich::{Names, Workload};

/// The clocks of two nodes differ by no more than this, most of the time.
const SKEW: Seconds = 5;

impl Model {
    /// True when an end of a flow that has a name may have another one by now. The kernel's tables should be read soon: what
    /// is counted up to the end of that reading belongs to the old name.
    #[must_use]
    pub fn is_renamed(&self, names: &Names) -> bool {
        let changes = names.changes();
        // A backend that is not known yet is another one after the change, too.
        let has_name = |end: &Workload| !end.is_nameless() || *end == Workload::Backend;
        let has_lost = |key: &FlowKey, id: EdgeId| {
            let Some(Edge { reporter, source, destination, .. }) =
                self.edges.get(id).map(|entry| &*entry.edge)
            else {
                return false;
            };
            let (local, remote) = match reporter {
                Reporter::Source => (source, destination),
                Reporter::Destination => (destination, source),
            };
            changes.concern_local(key) && has_name(local) || changes.concern_remote(key) && has_name(remote)
        };
        let is_renamed = |key: &FlowKey, flow: &Flow| {
            changes.concern(key) && (flow.edge.is_some_and(|id| has_lost(key, id)) || names.is_contested(key))
        };
        !changes.is_empty()
            && (self.flows.iter().any(|(key, flow)| is_renamed(key, flow))
                || self.is_announced_renamed(names))
    }

    /// Moves the flows whose ends have other names by now.
    pub(super) fn move_flows(&mut self, now: Duration, names: &mut Names) {
        let changes = names.take_changes();
        if !changes.is_empty() {
            self.unsure.extend(self.flows.keys().filter(|flow| changes.concern(flow)));
        }
        for key in std::mem::take(&mut self.unsure) {
            let Some(from) = self.flows.get(&key).and_then(|flow| flow.edge) else { continue };
            names.observe(&key);
            let (Some(named), Some(entry)) = (edge(&key, names), self.edges.get(from)) else { continue };
            let old = Arc::clone(&entry.edge);
            // What is late is named with its edge, unless that may have a past of several.
            let is_late = || is_late(&old, entry.began, &named) && !names.is_contested(&key);
            // A flow that has a socket here at its other end is named by that alone, others of the edge are not.
            let has_peer = names.has_peer(&key);
            if named.edge == *old || !has_peer && is_late() {
                continue;
            }
            let is_late_port = old.port == Some(key.service_port) && named.edge.port != old.port;
            let is_late_peer = names.has_late_peer(&key);
            let takes_past_along =
                (named.edge.via != old.via || is_late_port || is_late_peer) && has_late_ends(&old, &named);
            let is_open = self.flows.get(&key).is_some_and(|flow| flow.open > 0);
            // The open connections were the old holder's; what comes after them belongs to no one as yet.
            if !takes_past_along && is_open && loses_a_name(&old, &named.edge) {
                self.unsure.insert(key);
                continue;
            }
            let to = self.edge_id(named.edge, names.now());
            self.move_flow(&key, from, to, takes_past_along, now);
        }
    }

    fn move_flow(&mut self, key: &FlowKey, from: EdgeId, to: EdgeId, with_past: bool, now: Duration) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        flow.edge = Some(to);
        let open = flow.open.max(0);
        let past = if with_past {
            flow.counted.unpack()
        } else {
            flow.counted = super::Packed::default();
            Totals::ZERO
        };
        if let Some(entry) = self.edges.get_mut(from) {
            entry.flows -= 1;
            entry.add(&with_open(&past, open).negative());
            // What never counted anything is not shown any longer.
            if !with_past && !entry.totals.is_zero() {
                entry.left = Some(now);
            }
        }
        if let Some(entry) = self.edges.get_mut(to) {
            entry.flows += 1;
            entry.add(&with_open(&past, open));
        }
        if past != Totals::ZERO {
            self.follow_past(from, to, &past);
            self.changes.push(Change::Moved { from, to, past: Box::new(past) });
        }
    }

    /// Windows have the past where it belongs.
    pub(super) fn follow_past(&mut self, from: EdgeId, to: EdgeId, past: &Totals) {
        if let Some(entry) = self.edges.get(to) {
            self.windows.moved(&Counting::Edge(from), Counting::Edge(to), &entry.edge, past);
        }
    }

    /// Asks again for the names of ends that had none. Such an edge becomes the named one, or a part of it.
    pub(super) fn name_edges(&mut self, names: &Names) {
        let mut renamed = Vec::new();
        for (old, id) in self.by_edge.iter().filter(|(edge, _)| is_nameless(edge)) {
            let (Some(named), Some(Entry { began, .. })) = (name_again(old, names), self.edges.get(*id))
            else {
                continue;
            };
            let is_late = |named: &Named| named.edge != **old && is_late(old, *began, named);
            // The remote end may have got a name that is not this edge's, while that of the local end is late.
            if let Some(named) = [named.clone(), with_old_remote(old, named)].into_iter().find(is_late) {
                renamed.push((Arc::clone(old), named.edge));
            }
        }
        let mut merged = HashMap::new();
        for (old, new) in renamed {
            let Some(from) = self.by_edge.remove(&old) else { continue };
            let new = Arc::new(new);
            let to = *self.by_edge.entry(Arc::clone(&new)).or_insert(from);
            if to != from {
                self.merge(from, to);
                merged.insert(from, to);
            } else if let Some(entry) = self.edges.get_mut(to) {
                self.windows.renamed(&Counting::Edge(to), &new);
                entry.edge = new;
            }
        }
        if merged.is_empty() {
            return;
        }
        self.handovers.merged(&merged);
        for flow in self.flows.values_mut() {
            // An edge may have been merged into one that was merged itself.
            while let Some(to) = flow.edge.and_then(|edge| merged.get(&edge)) {
                flow.edge = Some(*to);
            }
        }
    }

    fn merge(&mut self, from: EdgeId, to: EdgeId) {
        let (Some(old), Some(entry)) = (self.edges.try_remove(from), self.edges.get_mut(to)) else { return };
        let totals = old.totals.unpack();
        let own = Arc::clone(&entry.totals);
        entry.add(&totals);
        entry.flows += old.flows;
        self.windows.merged(&Counting::Edge(from), Counting::Edge(to), &entry.edge);
        entry.began = entry.began.min(old.began);
        entry.left = entry.left.max(old.left);
        self.changes.push(Change::Merged { from, into: to, past: Box::new(without_open(&totals)), own });
    }
}

/// The same with the remote end as it was.
fn with_old_remote(old: &Edge, named: Named) -> Named {
    let Edge { source, destination, .. } = named.edge;
    let (source, destination) = match old.reporter {
        Reporter::Source => (source, old.destination.clone()),
        Reporter::Destination => (old.source.clone(), destination),
    };
    Named { edge: Edge { source, destination, ..old.clone() }, since: None }
}

fn is_nameless(edge: &Edge) -> bool {
    edge.source.is_nameless() || edge.destination.is_nameless()
}

/// True when the names differ only where there was none, and were right already when the edge began.
fn is_late(edge: &Edge, began: Seconds, named: &Named) -> bool {
    // Where a service leads is known by this node's own clock.
    let skew = if edge.destination == Workload::Backend { 0 } else { SKEW };
    has_late_ends(edge, named)
        && edge.via == named.edge.via
        && edge.port == named.edge.port
        && (edge.service.is_none() || edge.service == named.edge.service)
        && is_nameless(edge)
        && named.since.is_none_or(|since| since <= began.saturating_add(skew))
}

/// True when both ends are called as before, or had no name. A leg to an own sidecar has no end but its own.
fn has_late_ends(edge: &Edge, named: &Named) -> bool {
    let is_same_or_late = |old: &Workload, new: &Workload| old == new || old.is_nameless();
    let new = &named.edge;
    let local = |edge: &Edge| match edge.reporter {
        Reporter::Source => edge.source.clone(),
        Reporter::Destination => edge.destination.clone(),
    };
    let is_leg = |edge: &Edge| matches!(edge.via, Via::OwnSidecar(_));
    if is_leg(edge) || is_leg(new) {
        return is_same_or_late(&local(edge), &local(new));
    }
    is_same_or_late(&edge.source, &new.source) && is_same_or_late(&edge.destination, &new.destination)
}

/// True when an end had a name and has none now. What a client resolved counts for a while only, and its connections last
/// longer.
fn loses_a_name(old: &Edge, new: &Edge) -> bool {
    let has_none = |new: &Workload| new.is_nameless() || *new == Workload::External;
    let loses = |old: &Workload, new: &Workload| !old.is_nameless() && has_none(new);
    loses(&old.source, &new.source) || loses(&old.destination, &new.destination)
}
