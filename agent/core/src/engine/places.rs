//! What is counted beside edges, as readings of places.

use netcause_common::probe::open_sockets::QueueKey;

use super::{Engine, listeners};
use crate::aggregate::dns::Searched;
use crate::aggregate::places::{Found, Place, Readings};
use crate::aggregate::windows::Statistics;
use crate::node::growth::Counts;
use crate::node::{Owner, View};

/// Bytes of the windows of listening ports, and of those of the node.
const WINDOWS_BYTES: usize = 1 << 20;

/// What listening ports and the node have counted lately.
#[derive(Debug)]
pub struct Places {
    /// Listening ports, by their sweeps.
    pub listeners: Readings<QueueKey>,
    /// What the readers of the node find.
    pub node: Readings<Place>,
}

impl Default for Places {
    fn default() -> Self {
        Self { listeners: Readings::new(WINDOWS_BYTES), node: Readings::new(WINDOWS_BYTES) }
    }
}

impl Engine {
    /// What listening ports and the node have counted lately.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// How much is kept of each kind of window, by what it is of.
    #[must_use]
    pub fn windows(&self) -> [(&'static str, Statistics); 4] {
        [
            ("edges", self.model.windows().statistics()),
            ("peer_nodes", self.peer_nodes.windows().statistics()),
            ("listeners", self.places.listeners.statistics()),
            ("node", self.places.node.statistics()),
        ]
    }

    /// Takes the listening ports that the last sweep has found, and what was dropped where no port is left.
    pub(super) fn read_listeners(&mut self) {
        let Self { names, queues, listeners, places, .. } = self;
        let place = |key: &QueueKey| {
            Place::Listener(names.server(key.local, key.port), (key.port != 0).then_some(key.port))
        };
        let found: Vec<_> = listeners::ports(queues, listeners)
            .map(|(key, queue, dropped)| {
                // One that is closed has no queue.
                let levels = (queue.sweep != 0).then(|| [queue.length, queue.limit].map(u64::from));
                (key, listeners::counters(&queue, &dropped), levels)
            })
            .collect();
        places.listeners.read(found.iter().map(|(key, totals, levels)| Found {
            id: *key,
            place: place(key),
            totals,
            levels: levels.as_ref().map_or(&[], |levels| levels),
        }));
    }

    /// Takes what the readers of the node have found.
    pub(super) fn read_places(&mut self) {
        let view = self.node.view();
        let mut found = Vec::new();
        let mut add = |place: Place, totals: &[u64], levels: &[u64]| {
            found.push((place, totals.to_vec(), levels.to_vec()));
        };
        for (device, counts) in &view.links {
            let state = view.devices.iter().find(|state| state.device == *device);
            let up = state.map(|state| [u64::from(state.is_up)]);
            add(Place::Device(device.clone()), &counts.total, up.as_ref().map_or(&[], |up| up));
        }
        for ((device, kind), counts) in &view.qdiscs {
            let waiting = view.queues.iter().filter(|queue| queue.device == *device && queue.kind == *kind);
            let waiting = waiting
                .fold([0; 2], |[packets, bytes], queue| [packets + queue.packets, bytes + queue.bytes]);
            add(Place::Qdisc(device.clone(), kind.clone()), &counts.total, &waiting);
        }
        if let Some(counts) = &view.softnet {
            add(Place::Softnet, &counts.total, view.softnet_backlog.as_slice());
        }
        if let Some(counts) = &view.cpu_waiting_nanoseconds {
            add(Place::Cpu, &counts.total, &[]);
        }
        for (owner, counts) in &view.netstat {
            add(Place::Protocols(owner.clone()), &counts.total, &[]);
        }
        for (owner, counts) in &view.conntrack {
            add(Place::Conntrack(owner.clone()), &counts.total, &tracked(&view, owner));
        }
        for (table, counts) in &view.neighbour_tables {
            let size = view.neighbour_sizes.iter().find(|size| size.name == *table);
            let size = size.map(|size| [size.entries, size.thresholds[2]]);
            add(Place::NeighbourTable(table.clone()), &counts.total, size.as_ref().map_or(&[], |size| size));
        }
        if let Some(moves) = view.neighbour_moves {
            add(Place::Neighbours, &[moves, view.neighbour_flaps], &[]);
        }
        if let Some(Counts { total, .. }) = &view.changes {
            add(Place::Configuration, total, &[]);
        }
        for ((workload, peer), counts) in self.drops.by_cause() {
            add(Place::Drops(workload.clone(), peer.clone()), &counts, &[]);
        }
        for (workload, searched) in self.details.searched() {
            let Searched { waste, queries } = searched;
            add(Place::Search(workload.clone()), &[waste.expansions, waste.queries, queries], &[]);
        }
        self.places.node.read(found.iter().map(|(place, totals, levels)| Found {
            id: place.clone(),
            place: place.clone(),
            totals,
            levels,
        }));
    }

    pub(super) fn end_places(&mut self) {
        self.places.listeners.end_reading(self.time.monotonic);
        self.places.node.end_reading(self.time.monotonic);
    }
}

/// Tracked connections of an owner's network namespaces, and how many there may be where that is known. Nothing where none are.
fn tracked(view: &View, owner: &Owner) -> Vec<u64> {
    let entries: Vec<u64> =
        view.conntrack_entries.iter().filter(|(of, _)| of == owner).map(|(_, entries)| *entries).collect();
    if entries.is_empty() {
        return Vec::new();
    }
    let limit = view.conntrack_limit.filter(|_| owner.is_none());
    [entries.iter().sum()].into_iter().chain(limit).collect()
}
