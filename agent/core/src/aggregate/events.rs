//! The last TCP failure events of each edge, with their time and their connection.
//!
//! No count depends on them: they say when exactly something failed, and to which connection. Bounded by edge and over all;
//! what is over is dropped, the oldest first.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::Edge;
use crate::enrich::policy::Label;
use crate::ingest::TcpEvent;

/// Events that are kept of one edge.
pub const MAX_OF_EDGE: usize = 8;
/// Edges whose events are kept: those with the latest events.
pub const MAX_EDGES: usize = 1024;

/// An event, and what its ends were called when it happened.
#[derive(Clone, Debug)]
pub struct EdgeEvent {
    /// The edge.
    pub edge: Arc<Edge>,
    /// The remote address.
    pub peer: IpAddr,
    /// The name that the local workload resolved that address from.
    pub peer_name: Option<Label>,
    /// What happened, and when.
    pub event: TcpEvent,
}

/// The last events of each edge.
#[derive(Debug, Default)]
pub struct RecentEvents {
    by_edge: HashMap<Arc<Edge>, Events>,
    /// The edge of each event, by the event's number; the first of an edge's last events shows which edge is the oldest.
    order: VecDeque<(u64, Arc<Edge>)>,
    received: u64,
}

#[derive(Debug, Default)]
struct Events {
    /// Oldest first.
    events: VecDeque<Arc<EdgeEvent>>,
    /// The number of the last one among all that were received.
    last: u64,
}

impl RecentEvents {
    /// Keeps one.
    pub fn push(&mut self, event: Arc<EdgeEvent>) {
        self.received += 1;
        let of_edge = self.by_edge.entry(Arc::clone(&event.edge)).or_default();
        of_edge.last = self.received;
        if of_edge.events.len() >= MAX_OF_EDGE {
            of_edge.events.pop_front();
        }
        self.order.push_back((self.received, Arc::clone(&event.edge)));
        of_edge.events.push_back(event);
        self.drop_oldest();
    }

    /// Drops the edges with the oldest events while there are too many.
    fn drop_oldest(&mut self) {
        while self.by_edge.len() > MAX_EDGES
            && let Some((number, edge)) = self.order.pop_front()
        {
            if self.by_edge.get(&edge).is_some_and(|events| events.last == number) {
                self.by_edge.remove(&edge);
            }
        }
        // Of an edge with many events only the last one counts.
        if self.order.len() > 4 * MAX_EDGES {
            let by_edge = &self.by_edge;
            self.order
                .retain(|(number, edge)| by_edge.get(edge).is_some_and(|events| events.last == *number));
        }
    }

    /// All that are kept, latest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<EdgeEvent>> {
        let mut all: Vec<_> =
            self.by_edge.values().flat_map(|events| events.events.iter().map(Arc::clone)).collect();
        all.sort_by_key(|event| std::cmp::Reverse(event.event.at));
        all
    }

    /// Events received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netcause_common::flow::{FlowKey, ResetDirection};

    use super::*;
    use crate::aggregate::{Reporter, Via};
    use crate::enrich::Workload;
    use crate::ingest::TcpEventKind;

    fn event(source: u64, at: u64) -> Arc<EdgeEvent> {
        let edge =
            Edge { source: Workload::Namespace(source), via: Via::Direct, ..Edge::other(Reporter::Source) };
        let kind = TcpEventKind::Reset { direction: ResetDirection::Sent };
        let event = TcpEvent { at: Duration::from_secs(at), flow: FlowKey::default(), client_port: 0, kind };
        Arc::new(EdgeEvent { edge: Arc::new(edge), peer: [10, 0, 0, 1].into(), peer_name: None, event })
    }

    #[test]
    fn the_last_events_of_an_edge_and_the_last_edges_are_kept() {
        let mut recent = RecentEvents::default();
        for at in 0..20 {
            recent.push(event(0, at));
        }
        let seconds = |recent: &RecentEvents| -> Vec<_> {
            recent.all().iter().map(|event| event.event.at.as_secs()).collect()
        };
        assert_eq!(seconds(&recent), [19, 18, 17, 16, 15, 14, 13, 12]);
        for source in 1..=MAX_EDGES as u64 {
            recent.push(event(source, 100 + source));
        }
        assert_eq!((seconds(&recent).len(), recent.received()), (MAX_EDGES, 20 + MAX_EDGES as u64));
        assert!(!seconds(&recent).contains(&19), "the edge with the oldest events made room");
        for at in 0..10 * MAX_EDGES as u64 {
            recent.push(event(1, 10_000 + at));
        }
        assert!(recent.order.len() <= 4 * MAX_EDGES && recent.by_edge.len() == MAX_EDGES);
        recent.push(event(0, 90_000));
        assert_eq!(recent.by_edge.len(), MAX_EDGES);
        let lives = |source: u64| seconds(&recent).contains(&(100 + source));
        assert!(!lives(2) && lives(3), "the second edge was the oldest by now");
    }
}
