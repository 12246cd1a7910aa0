//! What is kept of the node.

use std::hash::Hash;
use std::time::Duration;

use super::growth::{Counts, Growth, Width};
use super::links::{DeviceState, Links, QdiscRows, Queue};
use super::namespaces::{ByOwner, owner};
use super::neighbours::{LinkAddresses, Neighbour, arp};
use super::{
    Failure, Found, Namespaces, Owner, Reader, Reading, changes, conntrack, links, neighbours, netstat,
    softnet,
};
use crate::enrich::Workload;
use crate::seen::Moment;

/// What the readers have found so far.
#[derive(Debug)]
pub struct Node {
    /// By [`Reader`]; `None` before the first reading.
    readers: Option<[Option<Failure>; Reader::COUNT]>,
    softnet: Growth<u64, (), { softnet::Counter::COUNT }>,
    backlog: Option<u64>,
    cpu_waiting: Growth<(), (), 1>,
    netstat: ByOwner<{ netstat::COUNTERS.len() }>,
    conntrack: ByOwner<{ conntrack::Counter::COUNT }>,
    conntrack_entries: Vec<(Owner, u64)>,
    conntrack_limit: Option<u64>,
    links: Links,
    tables: Growth<String, String, { neighbours::Counter::COUNT }>,
    table_sizes: Vec<neighbours::Table>,
    link_addresses: LinkAddresses<u32>,
    arp: arp::State,
    moves: u64,
    flaps: u64,
    neighbours_left_out: u64,
    changes: Growth<(), (), { changes::Change::COUNT }>,
}

/// What is shown of the node. Counters begin with zero at the first reading; what a reader that is down has counted stays,
/// and what is now is absent meanwhile.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The readers, and why one does not work.
    pub readers: Vec<(Reader, Option<Failure>)>,
    /// What CPUs have done with packets, by [`softnet::Counter`].
    pub softnet: Option<Counts<{ softnet::Counter::COUNT }>>,
    /// Packets that wait for a CPU now.
    pub softnet_backlog: Option<u64>,
    /// Nanoseconds that some task has waited for a CPU.
    pub cpu_waiting_nanoseconds: Option<Counts<1>>,
    /// Counters of the protocols by network namespace, by [`netstat::COUNTERS`].
    pub netstat: Vec<(Owner, Counts<{ netstat::COUNTERS.len() }>)>,
    /// What connection tracking counted by network namespace, by [`conntrack::Counter`].
    pub conntrack: Vec<(Owner, Counts<{ conntrack::Counter::COUNT }>)>,
    /// Tracked connections now, of each network namespace that has any.
    pub conntrack_entries: Vec<(Owner, u64)>,
    /// How many may be tracked in the node's own network namespace.
    pub conntrack_limit: Option<u64>,
    /// What network devices counted, by [`links::Counter`]; without a name, cables of pods and devices above the limit.
    pub links: Vec<(String, Counts<{ links::Counter::COUNT }>)>,
    /// How network devices are.
    pub devices: Vec<DeviceState>,
    /// What queueing disciplines counted by device and kind, by [`links::QdiscCounter`].
    pub qdiscs: QdiscRows,
    /// What waits in queueing disciplines; several of one device and kind are to be added up.
    pub queues: Vec<Queue>,
    /// What the tables of neighbours counted, by [`neighbours::Counter`].
    pub neighbour_tables: Vec<(String, Counts<{ neighbours::Counter::COUNT }>)>,
    /// How full these tables are.
    pub neighbour_sizes: Vec<neighbours::Table>,
    /// How often a neighbour had another link address than before; `None` before the first reading.
    pub neighbour_moves: Option<u64>,
    /// How often one of these went back and forth between two.
    pub neighbour_flaps: u64,
    /// IPv4 neighbours by network namespace, of each pod that has any.
    pub arp_entries: Vec<(Owner, arp::Entries)>,
    /// How often one of a pod had another link address than before, by network namespace.
    pub arp_changes: Vec<(Owner, Counts<1>)>,
    /// Changes of routes and addresses, by [`changes::Change`].
    pub changes: Option<Counts<{ changes::Change::COUNT }>>,
    /// How many of each kind were not read, for a limit or because nothing reads them.
    pub left_out: Vec<(&'static str, u64)>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            readers: None,
            softnet: Growth::new(Width::Bits32),
            backlog: None,
            cpu_waiting: Growth::new(Width::Bits64),
            netstat: ByOwner::new(Width::Bits64),
            conntrack: ByOwner::new(Width::Bits32),
            conntrack_entries: Vec::new(),
            conntrack_limit: None,
            links: Links::new(),
            tables: Growth::new(Width::Bits64),
            table_sizes: Vec::new(),
            link_addresses: LinkAddresses::default(),
            arp: arp::State::default(),
            moves: 0,
            flaps: 0,
            neighbours_left_out: 0,
            changes: Growth::new(Width::Bits64),
        }
    }
}

impl Node {
    /// The time of the readings from here on, and what scrapers have got by then.
    pub fn at(&mut self, moment: Moment) {
        self.netstat.rows.at(moment);
        self.conntrack.rows.at(moment);
        self.arp.changed.rows.at(moment);
        self.links.at(moment);
    }

    /// Takes a reading; `name` is that of a cgroup.
    pub fn update(&mut self, reading: Reading, name: impl Fn(u64) -> Workload) {
        let mut failures = [const { None }; Reader::COUNT];
        for (reader, failure) in reading.failures() {
            failures[reader as usize] = Some(failure.clone());
        }
        self.readers = Some(failures);
        self.take_softnet(reading.softnet);
        if let Ok(waiting) = reading.cpu_waiting {
            self.cpu_waiting.read([((), (), [nanoseconds(waiting)])], true);
        }
        if let Ok(namespaces) = reading.netstat {
            self.netstat.read(&namespaces, |counters| *counters, &name);
        }
        self.take_conntrack(reading.conntrack, &name);
        self.take_links(reading.links, reading.qdiscs);
        self.take_neighbours(reading.neighbours);
        match reading.arp {
            Ok(namespaces) => self.arp.read(&namespaces, &name),
            Err(_) => self.arp.entries.clear(),
        }
        if let Ok(changes) = reading.changes {
            self.changes.read([((), (), changes)], true);
        }
    }

    fn take_links(&mut self, links: Found<Vec<links::Link>>, qdiscs: Found<Vec<links::Qdisc>>) {
        self.links.states.clear();
        self.links.queues.clear();
        let Ok(links) = links else { return };
        self.links.read(links);
        if let Ok(qdiscs) = qdiscs {
            self.links.read_qdiscs(qdiscs);
        }
    }

    fn take_neighbours(&mut self, found: Found<(Vec<neighbours::Table>, Vec<Neighbour>)>) {
        self.table_sizes.clear();
        let Ok((tables, neighbours)) = found else { return };
        self.tables
            .read(tables.iter().map(|table| (table.name.clone(), table.name.clone(), table.counters)), true);
        self.table_sizes = tables;
        let neighbours = neighbours.into_iter();
        let neighbours =
            neighbours.map(|neighbour| (neighbour.index, neighbour.address, neighbour.link_address));
        let (moved, left_out) = self.link_addresses.read(neighbours);
        self.neighbours_left_out = left_out;
        self.moves += moved.len() as u64;
        self.flaps += moved.iter().filter(|moved| moved.flaps).count() as u64;
    }

    fn take_conntrack(&mut self, found: Found<Namespaces<conntrack::Table>>, name: impl Fn(u64) -> Workload) {
        (self.conntrack_entries, self.conntrack_limit) = (Vec::new(), None);
        let Ok(namespaces) = found else { return };
        self.conntrack.read(&namespaces, |table| table.counters, &name);
        self.conntrack_limit = namespaces.own.limit;
        self.conntrack_entries.push((None, namespaces.own.entries));
        let with_entries = namespaces.pods.iter().filter(|namespace| namespace.counters.entries != 0);
        let entries = with_entries
            .map(|namespace| (Some(owner(&namespace.cgroups, &name)), namespace.counters.entries));
        self.conntrack_entries.extend(entries);
    }

    fn take_softnet(&mut self, softnet: Found<Vec<softnet::Cpu>>) {
        self.backlog = None;
        let Ok(cpus) = softnet else { return };
        self.backlog = cpus.iter().map(|cpu| cpu.backlog).sum();
        self.softnet.read(cpus.into_iter().map(|cpu| (cpu.cpu, (), cpu.counters)), true);
    }

    /// What is shown now.
    #[must_use]
    pub fn view(&self) -> View {
        let readers = self.readers.iter().flat_map(|failures| Reader::ALL.into_iter().zip(failures.clone()));
        View {
            readers: readers.collect(),
            softnet: only(&self.softnet),
            softnet_backlog: self.backlog,
            cpu_waiting_nanoseconds: only(&self.cpu_waiting),
            netstat: rows(&self.netstat.rows),
            conntrack: rows(&self.conntrack.rows),
            conntrack_entries: self.conntrack_entries.clone(),
            conntrack_limit: self.conntrack_limit,
            links: self.links.rows(),
            devices: self.links.states.clone(),
            qdiscs: self.links.qdisc_rows(),
            queues: self.links.queues.clone(),
            neighbour_tables: rows(&self.tables),
            neighbour_sizes: self.table_sizes.clone(),
            neighbour_moves: self.readers.is_some().then_some(self.moves),
            neighbour_flaps: self.flaps,
            arp_entries: self.arp.entries.clone(),
            arp_changes: rows(&self.arp.changed.rows),
            changes: only(&self.changes),
            left_out: self.left_out(),
        }
    }

    fn left_out(&self) -> Vec<(&'static str, u64)> {
        if self.readers.is_none() {
            return Vec::new();
        }
        vec![
            ("netstat_namespaces", self.netstat.left_out),
            ("conntrack_namespaces", self.conntrack.left_out),
            ("devices", self.links.folded),
            ("neighbours", self.neighbours_left_out + self.arp.left_out),
        ]
    }
}

fn rows<Part: Eq + Hash, Row: Clone + Ord, const N: usize>(
    rows: &Growth<Part, Row, N>,
) -> Vec<(Row, Counts<N>)> {
    rows.rows().map(|(row, counts)| (row.clone(), *counts)).collect()
}

/// The one row, if it was read.
fn only<Part: Eq + Hash, const N: usize>(rows: &Growth<Part, (), N>) -> Option<Counts<N>> {
    rows.rows().next().map(|((), counts)| *counts)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Namespace, Reason};

    fn reading(softnet: Found<Vec<softnet::Cpu>>, waited: u64) -> Reading {
        let netstat = Ok(Namespaces { own: [0; netstat::COUNTERS.len()], pods: Vec::new(), left_out: 0 });
        let conntrack = Err(Failure::new(Reason::NotPermitted, "no"));
        Reading {
            took: Duration::ZERO,
            softnet,
            cpu_waiting: Ok(Duration::from_secs(waited)),
            netstat,
            conntrack,
            links: Ok(Vec::new()),
            qdiscs: Ok(Vec::new()),
            neighbours: Ok((Vec::new(), Vec::new())),
            arp: Ok(Namespaces { own: Vec::new(), pods: Vec::new(), left_out: 0 }),
            changes: Ok([0; changes::Change::COUNT]),
        }
    }

    fn cpu(cpu: u64, dropped: u64) -> softnet::Cpu {
        softnet::Cpu { cpu, counters: [100, dropped, 0, 0], backlog: Some(cpu) }
    }

    #[test]
    fn a_reader_fails_alone_and_its_counters_stay() {
        let mut node = Node::default();
        assert!(node.view().readers.is_empty() && node.view().softnet.is_none());
        node.update(reading(Ok(vec![cpu(0, 5), cpu(1, 6)]), 10), Workload::Cgroup);
        node.update(reading(Ok(vec![cpu(0, 7), cpu(1, 9)]), 12), Workload::Cgroup);
        let view = node.view();
        assert_eq!((view.softnet.unwrap().total, view.softnet_backlog), ([0, 5, 0, 0], Some(1)));
        assert_eq!(view.cpu_waiting_nanoseconds.unwrap().total, [2_000_000_000]);
        node.update(reading(Err(Failure::new(Reason::Malformed, "odd")), 13), Workload::Cgroup);
        let view = node.view();
        assert_eq!((view.softnet.unwrap().total, view.softnet_backlog), ([0, 5, 0, 0], None));
        assert_eq!(view.cpu_waiting_nanoseconds.unwrap().total, [3_000_000_000]);
        let failure = Failure::new(Reason::Malformed, "odd");
        assert_eq!(view.readers[..2], [(Reader::Softnet, Some(failure)), (Reader::Pressure, None)]);
        // CPU 1 goes offline: nothing goes back.
        node.update(reading(Ok(vec![cpu(0, 8)]), 13), Workload::Cgroup);
        assert_eq!(node.view().softnet.unwrap().total, [0, 6, 0, 0]);
    }

    #[test]
    fn a_pod_that_restarts_loses_no_count_of_its_workload() {
        let mut node = Node::default();
        let pod = |id, overflows| {
            let mut counters = [0; netstat::COUNTERS.len()];
            counters[0] = overflows;
            Namespace { id, cgroups: vec![id], counters }
        };
        let table =
            |entries, drops| conntrack::Table { entries, limit: Some(9), counters: [0, 0, drops, 0, 0] };
        let mut read = |pods: Vec<_>, own| {
            let tables = pods.iter().map(|pod: &Namespace<_>| Namespace {
                id: pod.id,
                cgroups: vec![pod.id],
                counters: table(pod.id, 0),
            });
            let conntrack = Namespaces { own, pods: tables.collect(), left_out: 1 };
            let netstat = Namespaces { own: [0; netstat::COUNTERS.len()], pods, left_out: 0 };
            let reading =
                Reading { netstat: Ok(netstat), conntrack: Ok(conntrack), ..reading(Ok(Vec::new()), 0) };
            assert!(reading.cgroups().count() >= 2);
            node.update(reading, |cgroup| Workload::plain(if cgroup < 10 { "shop" } else { "cart" }));
            node.view()
        };
        read(vec![pod(1, 100), pod(2, 200), pod(11, 5)], table(4, 0));
        let view = read(vec![pod(1, 103), pod(2, 204), pod(11, 5)], table(5, 2));
        let overflows = |view: &View| -> Vec<_> {
            view.netstat.iter().map(|(owner, counts)| (owner.clone(), counts.total[0])).collect()
        };
        let [shop, cart] = ["shop", "cart"].map(|name| Some(Workload::plain(name)));
        assert_eq!(overflows(&view), [(None, 0), (cart.clone(), 0), (shop.clone(), 7)]);
        assert_eq!(view.conntrack[0].1.total, [0, 0, 2, 0, 0]);
        assert_eq!((view.conntrack_entries[0].clone(), view.conntrack_limit), ((None, 5), Some(9)));
        assert_eq!(view.left_out[..2], [("netstat_namespaces", 0), ("conntrack_namespaces", 1)]);
        // Another pod in place of one: it is new, and counts in full.
        let view = read(vec![pod(1, 104), pod(3, 2), pod(11, 5)], table(5, 2));
        assert_eq!(overflows(&view), [(None, 0), (cart, 0), (shop, 10)]);
    }
}
