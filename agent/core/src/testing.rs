//! A node to test with: tables as the kernel has them, what reads them, and what is shown.

pub(crate) mod scrapers;

use std::collections::BTreeMap;
use std::time::Duration;

use netcause_common::dns::{DnsCounters, PROTOCOL_DNS};
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, TcpCounters, UdpCounters,
};

use crate::aggregate::delta::Deltas;
use crate::aggregate::model::{Change, Model};
use crate::aggregate::totals::Totals;
use crate::aggregate::windows::KEPT;
use crate::aggregate::{Edge, Reporter, Via};
use crate::enrich::{Names, Options, Workload};
use crate::expose::budget::{Budget, Shown};
use crate::seen::{Moment, Seen};

/// When flows may go, in these tests.
pub(crate) const IDLE: Duration = Duration::from_secs(600);
/// A table of the kernel.
pub(crate) const MAIN: usize = 0;
/// Its overflow table.
pub(crate) const OVERFLOW: usize = 1;

/// The kernel's tables and all that reads them.
pub(crate) struct Node {
    pub model: Model,
    pub budget: Budget,
    pub names: Names,
    pub now: Duration,
    pub tables: [BTreeMap<FlowKey, Totals>; 2],
    deltas: [Readers; 2],
    pub shown: Vec<Shown>,
    /// What scrapers have got.
    pub seen: Seen,
    /// What edges had that have ended.
    ended: Totals,
}

#[derive(Default)]
struct Readers {
    tcp: Deltas<TcpCounters>,
    udp: Deltas<UdpCounters>,
    dns: Deltas<DnsCounters>,
}

impl Readers {
    fn update(&mut self, key: &FlowKey, totals: &Totals) -> Option<Totals> {
        match key.protocol {
            PROTOCOL_TCP => self.tcp.update(key, &totals.tcp),
            PROTOCOL_DNS => self.dns.update(key, &totals.dns),
            _ => self.udp.update(key, &totals.udp),
        }
    }

    fn forget(&mut self, key: &FlowKey) {
        self.tcp.forget(key);
        self.udp.forget(key);
        self.dns.forget(key);
    }
}

impl Node {
    pub fn new(max_series: usize) -> Self {
        let mut node = Self {
            model: Model::new(IDLE),
            budget: Budget::new(max_series),
            names: Names::new(local()),
            now: Duration::ZERO,
            tables: [BTreeMap::new(), BTreeMap::new()],
            deltas: <[Readers; 2]>::default(),
            shown: Vec::new(),
            seen: Seen::default(),
            ended: Totals::ZERO,
        };
        // Windows begin with the first reading.
        node.model.end_reading(node.now, &mut node.names);
        node
    }

    /// What a table has of a flow, to count on.
    pub fn count(&mut self, table: usize, key: FlowKey) -> &mut Totals {
        self.tables[table].entry(key).or_insert(Totals::ZERO)
    }

    /// Sends on a flow.
    pub fn send(&mut self, key: FlowKey, packets: u64) {
        let totals = self.count(MAIN, key);
        if key.protocol == PROTOCOL_TCP {
            totals.tcp.sent_segments += packets;
        } else {
            totals.udp.sent_datagrams += packets;
        }
    }

    /// Opens connections of a flow; closes them when below zero.
    pub fn open(&mut self, key: FlowKey, connections: i64) {
        let tcp = &mut self.count(MAIN, key).tcp;
        *if connections < 0 { &mut tcp.closed[0] } else { &mut tcp.opened } += connections.unsigned_abs();
        tcp.open += connections;
    }

    /// Reads the tables a second later; returns the idle flows.
    pub fn read(&mut self) -> Vec<FlowKey> {
        self.now += Duration::from_secs(1);
        self.read_some(usize::MAX).unwrap()
    }

    /// Reads so many entries, and does not end the reading when there are more.
    pub fn read_some(&mut self, limit: usize) -> Option<Vec<FlowKey>> {
        let mut entries = 0;
        for (table, deltas) in self.tables.iter().zip(&mut self.deltas) {
            for (key, totals) in table {
                if entries == limit {
                    return None;
                }
                entries += 1;
                if let Some(delta) = deltas.update(key, totals) {
                    self.model.count(key, &delta, self.now, self.names.is_contested(key));
                }
            }
        }
        let idle = self.model.end_reading(self.now, &mut self.names);
        let changes = self.model.take_changes();
        for change in &changes {
            if let Change::Ended { totals, .. } = change {
                self.ended.add(&totals.unpack());
            }
        }
        self.check_windows();
        let moment = Moment { now: self.now, seen: self.seen };
        self.budget.follow(changes, &moment);
        self.shown = self.budget.share_out(&self.model, &moment, series);
        Some(idle)
    }

    /// As long as windows reach back to the beginning, they have what the totals have: of each edge while none has ended, else
    /// in sum.
    fn check_windows(&self) {
        if self.now >= KEPT {
            return;
        }
        let has_ended = counters(&self.ended).iter().any(|count| *count != 0);
        let key = |edge: &Edge| if has_ended { Edge::other(Reporter::Source) } else { edge.clone() };
        let mut expected: BTreeMap<Edge, Totals> = BTreeMap::new();
        let mut add = |edge: &Edge, totals: &Totals| {
            let totals = Totals { tcp: TcpCounters { open: 0, ..totals.tcp }, ..*totals };
            if totals != Totals::ZERO {
                expected.entry(key(edge)).or_insert(Totals::ZERO).add(&totals);
            }
        };
        for (_, entry) in self.model.edges() {
            add(entry.edge(), &entry.totals().unpack());
        }
        for reporter in [Reporter::Source, Reporter::Destination] {
            add(&Edge::other(reporter), &self.model.overflow(reporter));
        }
        add(&Edge::other(Reporter::Source), &self.ended);
        let mut counted: BTreeMap<Edge, Totals> = BTreeMap::new();
        self.model.windows().recent().each(KEPT, |edge, totals| {
            counted.entry(key(edge)).or_insert(Totals::ZERO).add(totals);
        });
        assert_eq!(counted, expected, "windows and totals differ");
    }

    /// Removes a flow from a table.
    pub fn remove(&mut self, table: usize, key: FlowKey) {
        if self.tables[table].remove(&key).is_some() {
            self.deltas[table].forget(&key);
            if !self.tables.iter().any(|table| table.contains_key(&key)) {
                self.model.remove(&key);
            }
        }
    }

    /// What is shown.
    pub fn shown(&self) -> BTreeMap<Edge, Totals> {
        let map: BTreeMap<_, _> =
            self.shown.iter().map(|shown| (Edge::clone(&shown.edge), shown.totals)).collect();
        assert_eq!(map.len(), self.shown.len(), "an edge is shown twice");
        map
    }

    /// What is shown, in words.
    pub fn words(&self) -> Vec<String> {
        let words = |(edge, Totals { tcp, udp, .. }): (&Edge, &Totals)| {
            let packets = tcp.sent_segments + udp.sent_datagrams;
            format!("{} {}: {packets} packets, {} open", edge.source, edge.destination, tcp.open)
        };
        self.shown().iter().map(words).collect()
    }
}

/// A client's flow from a namespace to 10.0.0.1.
pub(crate) fn tcp(namespace: u64) -> FlowKey {
    FlowKey {
        local: LOCAL_IS_NAMESPACE | namespace,
        remote: Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, 1])),
        service_port: 53,
        protocol: PROTOCOL_TCP,
        role: ROLE_CLIENT,
        reserved: 0,
    }
}

/// The same over UDP.
pub(crate) fn udp(namespace: u64) -> FlowKey {
    FlowKey { protocol: PROTOCOL_UDP, ..tcp(namespace) }
}

/// The same from a cgroup.
pub(crate) fn of_cgroup(id: u64) -> FlowKey {
    FlowKey { local: id, ..tcp(0) }
}

/// The edge of those from a namespace.
pub(crate) fn edge_of(namespace: u64) -> Edge {
    Edge {
        reporter: Reporter::Source,
        source: Workload::Namespace(namespace),
        destination: Workload::Address([10, 0, 0, 1].into()),
        service: None,
        port: Some(53),
        via: Via::Direct,
    }
}

/// Names of a node that shows every address.
pub(crate) fn local() -> Options {
    Options { known_networks: vec!["0.0.0.0/0".parse().unwrap()], ..Options::default() }
}

/// As many series as there are counters above zero.
pub(crate) fn series(_: &Edge, totals: &Totals) -> usize {
    counters(totals).iter().filter(|count| **count != 0).count() + usize::from(totals.tcp.open != 0)
}

/// All counters, without the open connections.
pub(crate) fn counters(totals: &Totals) -> Vec<u64> {
    let totals = Totals { tcp: TcpCounters { open: 0, ..totals.tcp }, ..*totals };
    bytemuck::cast_slice(std::slice::from_ref(&totals)).to_vec()
}
