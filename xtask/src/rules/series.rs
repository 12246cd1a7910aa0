//! Made-up series of a cluster, with the names and labels of the agent (`tests/golden/metrics.txt`), as OpenMetrics.
//!
//! One zone is bad: what its nodes exchange with those of other zones loses 3 %. So is one pair of nodes of other zones, in one direction. Pairs of
//! workloads of the bad zone lose 2 to 6 %; few pairs carry most of the traffic.

use std::{
    fs::File,
    io::{BufWriter, Result, Write},
    path::Path,
};

/// The cluster that is made up.
pub(super) struct Cluster {
    pub(super) nodes: u64,
    /// Other nodes that each exchanges segments with.
    pub(super) peers: u64,
    /// Pairs of workloads of each node.
    pub(super) edges: u64,
    pub(super) zones: u64,
    pub(super) with_histograms: bool,
    /// When the last sample is, in seconds since 1970.
    pub(super) end: u64,
}

/// Samples of six minutes, so that the rates of five have what they need.
const SAMPLES: u64 = 13;
const INTERVAL_SECONDS: u64 = 30;
/// Services of the cluster that connects lead to.
const DESTINATIONS: u64 = 5_000;
/// The pair of nodes that is bad: of the first zone and the second.
const BAD_PAIR: (u64, u64) = (0, 1);
/// Segments that a node sends to another one between two samples, and how many of them are lost where it is bad.
const SENT: u64 = 480;
const LOST: u64 = 15;

/// Upper bounds of round-trip times; of what takes an application, or a connect, there is one more of each.
const BOUNDS: [&str; 13] = [
    "0.00005", "0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.02", "0.05", "0.2", "1.0", "10.0",
    "+Inf",
];
const EDGE_HISTOGRAMS: [&str; 4] = [
    "netcause_tcp_rtt_seconds",
    "netcause_tcp_min_rtt_seconds",
    "netcause_tcp_response_duration_seconds",
    "netcause_tcp_connect_duration_seconds",
];
/// What each edge counts, and how fast.
const EDGE_COUNTERS: [(&str, u64); 7] = [
    ("netcause_tcp_connections_opened", 30),
    ("netcause_tcp_sent_segments", 2_400),
    ("netcause_tcp_received_segments", 2_100),
    ("netcause_tcp_sent_bytes", 3_000_000),
    ("netcause_tcp_received_bytes", 900_000),
    ("netcause_tcp_reordered_segments", 1),
    ("netcause_tcp_spurious_retransmits", 0),
];
/// What each node says of itself: a gauge, its further labels, its value.
const NODE_GAUGES: [(&str, &str, u64); 8] = [
    ("netcause_build_info", "", 1),
    ("netcause_node_network_up", ",device=\"eth0\"", 1),
    ("netcause_node_network_mtu_bytes", ",device=\"eth0\"", 1_500),
    ("netcause_node_nf_conntrack_entries", ",workload=\"\",namespace=\"\"", 52_000),
    ("netcause_node_nf_conntrack_entries_limit", "", 262_144),
    ("netcause_node_neighbour_entries", ",table=\"ipv4\"", 180),
    ("netcause_node_neighbour_limit", ",table=\"ipv4\"", 1_024),
    ("netcause_series", "", 6_000),
];

/// Writes all samples. Returns how many series they are.
pub(super) fn write(path: &Path, cluster: &Cluster) -> Result<u64> {
    let mut to = Text { to: BufWriter::new(File::create(path)?), end: cluster.end, series: 0 };
    of_nodes(&mut to, cluster)?;
    of_pairs(&mut to, cluster)?;
    of_edges(&mut to, cluster)?;
    writeln!(to.to, "# EOF")?;
    to.to.flush()?;
    Ok(to.series)
}

struct Text {
    to: BufWriter<File>,
    end: u64,
    series: u64,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str) -> Result<()> {
        writeln!(self.to, "# TYPE {name} {kind}")
    }

    /// A series: its value at each sample, counted from 0.
    fn series(&mut self, name: &str, labels: &str, value: impl Fn(u64) -> u64) -> Result<()> {
        self.series += 1;
        for sample in 0..SAMPLES {
            let at = self.end - (SAMPLES - 1 - sample) * INTERVAL_SECONDS;
            writeln!(self.to, "{name}{{{labels}}} {} {at}", value(sample))?;
        }
        Ok(())
    }

    /// A histogram of 100 observations between two samples, of which nearly all are below the bound of this number.
    fn histogram(&mut self, name: &str, labels: &str, most_below: usize) -> Result<()> {
        let count = |number: usize| match number {
            number if number + 1 < most_below => 0,
            number if number < most_below => 40,
            number if number < most_below + 2 => 97,
            _ => 100,
        };
        for (number, bound) in BOUNDS.iter().enumerate() {
            let labels = format!("{labels},le=\"{bound}\"");
            self.series(&format!("{name}_bucket"), &labels, |sample| sample * count(number))?;
        }
        self.series(&format!("{name}_count"), labels, |sample| sample * 100)?;
        self.series(&format!("{name}_sum"), labels, |sample| sample)
    }
}

impl Cluster {
    fn zone(&self, node: u64) -> u64 {
        node % self.zones
    }

    /// Whether what this node sends to that one is lost.
    fn is_bad(&self, node: u64, peer: u64) -> bool {
        let bad_zone = self.zones - 1;
        let (zone, other) = (self.zone(node), self.zone(peer));
        (zone != other && (zone == bad_zone || other == bad_zone)) || (node, peer) == BAD_PAIR
    }

    /// Each node, and each of those that it exchanges segments with.
    fn pairs(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let (nodes, peers) = (self.nodes, self.peers.min(self.nodes - 1));
        (0..nodes).flat_map(move |node| (1..=peers).map(move |one| (node, (node + one) % nodes)))
    }

    fn of_pair(&self, (node, peer): (u64, u64)) -> String {
        format!("{},peer_node=\"node-{peer}\",peer_zone=\"zone-{}\"", of_node(node), self.zone(peer))
    }

    fn of_edge(&self, node: u64, one: u64) -> String {
        format!(
            "{},reporter=\"source\",source_namespace=\"shop\",source_workload=\"client-{}\",destination_namespace=\"shop\",\
             destination_workload=\"server-{}\",destination_service=\"\",destination_port=\"8080\",via=\"\"",
            of_node(node),
            node % 500,
            (node * self.edges + one) % DESTINATIONS
        )
    }
}

/// How many times what the least pair of workloads carries this one does.
fn busy(node: u64, one: u64) -> u64 {
    1 + 60 / (1 + (7 * node + 11 * one) % 61)
}

fn of_node(node: u64) -> String {
    format!("node=\"node-{node}\",instance=\"node-{node}:9779\",job=\"netcause\"")
}

fn of_nodes(to: &mut Text, cluster: &Cluster) -> Result<()> {
    for (name, more, value) in NODE_GAUGES {
        to.family(name, "gauge")?;
        for node in 0..cluster.nodes {
            to.series(name, &(of_node(node) + more), |_| value)?;
        }
    }
    let waiting = "netcause_node_pressure_cpu_waiting_seconds";
    to.family(waiting, "counter")?;
    for node in 0..cluster.nodes {
        to.series(&format!("{waiting}_total"), &of_node(node), |sample| sample * (1 + node % 7))?;
    }
    Ok(())
}

fn of_pairs(to: &mut Text, cluster: &Cluster) -> Result<()> {
    for name in ["netcause_peer_node_tcp_sent_segments", "netcause_peer_node_tcp_received_segments"] {
        to.family(name, "counter")?;
        for pair in cluster.pairs() {
            to.series(&format!("{name}_total"), &cluster.of_pair(pair), |sample| sample * SENT)?;
        }
    }
    let again = "netcause_peer_node_tcp_retransmitted_segments";
    to.family(again, "counter")?;
    for (node, peer) in cluster.pairs() {
        // Healthy paths lose something, too, but seldom.
        let usual = u64::from((node + peer).is_multiple_of(7));
        let fast = if cluster.is_bad(node, peer) { LOST } else { usual };
        for (kind, more) in [("fast", fast), ("tail_loss_probe", 1)] {
            let labels = format!("{},kind=\"{kind}\"", cluster.of_pair((node, peer)));
            to.series(&format!("{again}_total"), &labels, |sample| sample * more)?;
        }
    }
    if cluster.with_histograms {
        let rtt = "netcause_peer_node_tcp_rtt_seconds";
        to.family(rtt, "histogram")?;
        for (node, peer) in cluster.pairs() {
            let is_near = cluster.zone(node) == cluster.zone(peer);
            to.histogram(rtt, &cluster.of_pair((node, peer)), if is_near { 3 } else { 5 })?;
        }
    }
    Ok(())
}

fn of_edges(to: &mut Text, cluster: &Cluster) -> Result<()> {
    let all = || (0..cluster.nodes).flat_map(|node| (1..=cluster.edges).map(move |one| (node, one)));
    for (name, more) in EDGE_COUNTERS {
        to.family(name, "counter")?;
        for (node, one) in all() {
            let more = more * busy(node, one);
            to.series(&format!("{name}_total"), &cluster.of_edge(node, one), |sample| sample * more)?;
        }
    }
    let again = "netcause_tcp_retransmitted_segments";
    to.family(again, "counter")?;
    for (node, one) in all() {
        // One of seven edges sends something again.
        let usual = u64::from((node + one).is_multiple_of(7));
        let is_bad = cluster.zone(node) == cluster.zones - 1;
        let more = if is_bad { busy(node, one) * (48 + (7 * node + 5 * one) % 97) } else { usual };
        let labels = cluster.of_edge(node, one) + ",kind=\"fast\"";
        to.series(&format!("{again}_total"), &labels, |sample| sample * more)?;
    }
    to.family("netcause_tcp_connections_open", "gauge")?;
    for (node, one) in all() {
        to.series("netcause_tcp_connections_open", &cluster.of_edge(node, one), |_| 1 + one % 5)?;
    }
    for name in EDGE_HISTOGRAMS.into_iter().filter(|_| cluster.with_histograms) {
        to.family(name, "histogram")?;
        for (node, one) in all() {
            to.histogram(name, &cluster.of_edge(node, one), if name.contains("rtt") { 4 } else { 7 })?;
        }
    }
    Ok(())
}
