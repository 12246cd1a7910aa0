//! A node to test with: tables as the kernel has them, a ledger that reads them, and what it shows.

use std::collections::BTreeMap;
use std::time::Duration;

use netcause_common::dns::PROTOCOL_DNS;
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, TcpCounters,
};

use super::super::totals::Totals;
use super::super::{Edge, Reporter, Via};
use super::{Ledger, Limits};
use crate::enrich::cgroup::Cgroups;
use crate::enrich::{Names, Options, Workload};

/// When flows may go, in these tests.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// A table of the kernel.
pub(super) const MAIN: usize = 0;
/// The one for what the main one refuses.
pub(super) const SPARE: usize = 1;

/// See above.
pub(super) struct Node {
    pub ledger: Ledger,
    pub names: Names,
    pub now: Duration,
    pub tables: [BTreeMap<FlowKey, Totals>; 2],
}

impl Node {
    pub fn new(max_series: usize) -> Self {
        Self {
            ledger: Ledger::new(Limits { max_series, idle: IDLE }),
            names: Names::new(Cgroups::below(None), local()),
            now: Duration::ZERO,
            tables: [BTreeMap::new(), BTreeMap::new()],
        }
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
        *if connections < 0 { &mut tcp.closed } else { &mut tcp.opened } += connections.unsigned_abs();
        tcp.open += connections;
    }

    /// Reads the tables a second later; returns the idle flows.
    pub fn read(&mut self) -> Vec<FlowKey> {
        self.now += Duration::from_secs(1);
        self.read_some(usize::MAX).unwrap()
    }

    /// Reads so many entries and drops the reading when there are more.
    pub fn read_some(&mut self, limit: usize) -> Option<Vec<FlowKey>> {
        let mut reading = self.ledger.read(self.now, &mut self.names);
        for (count, (key, totals)) in self.tables.iter().flatten().enumerate() {
            if count == limit {
                return None;
            }
            match key.protocol {
                PROTOCOL_TCP => reading.flow(key, &totals.tcp),
                PROTOCOL_DNS => reading.flow(key, &totals.dns),
                _ => reading.flow(key, &totals.udp),
            }
        }
        Some(reading.finish(series))
    }

    /// Removes a flow from a table, and tells the ledger.
    pub fn remove(&mut self, table: usize, key: FlowKey) {
        let Some(totals) = self.tables[table].remove(&key) else { return };
        match key.protocol {
            PROTOCOL_TCP => self.ledger.retire(&key, &totals.tcp),
            PROTOCOL_DNS => self.ledger.retire(&key, &totals.dns),
            _ => self.ledger.retire(&key, &totals.udp),
        }
    }

    /// What is shown.
    pub fn shown(&self) -> BTreeMap<Edge, Totals> {
        let shown: Vec<_> = self.ledger.shown().map(|shown| (shown.edge.clone(), shown.totals)).collect();
        let map: BTreeMap<_, _> = shown.iter().cloned().collect();
        assert_eq!(map.len(), shown.len(), "an edge is shown twice");
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
pub(super) fn tcp(namespace: u64) -> FlowKey {
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
pub(super) fn udp(namespace: u64) -> FlowKey {
    FlowKey { protocol: PROTOCOL_UDP, ..tcp(namespace) }
}

/// The edge of those.
pub(super) fn edge_of(namespace: u64) -> Edge {
    Edge {
        reporter: Reporter::Source,
        source: Workload::Namespace(namespace),
        destination: Workload::Address([10, 0, 0, 1].into()),
        service: None,
        port: Some(53),
        via: Via::Direct,
    }
}

/// Names of a node whose addresses are all told apart.
pub(super) fn local() -> Options {
    Options { known_networks: vec!["0.0.0.0/0".parse().unwrap()], ..Options::default() }
}

/// As many series as there are counters above zero.
pub(super) fn series(_: &Edge, totals: &Totals) -> usize {
    counters(totals).iter().filter(|count| **count != 0).count() + usize::from(totals.tcp.open != 0)
}

/// All counters, without the open connections.
pub(super) fn counters(totals: &Totals) -> Vec<u64> {
    let totals = Totals { tcp: TcpCounters { open: 0, ..totals.tcp }, ..*totals };
    bytemuck::cast_slice(std::slice::from_ref(&totals)).to_vec()
}
