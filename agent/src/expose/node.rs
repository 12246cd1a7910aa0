//! `GET /api/v1/node`: what this node has counted lately beside pairs of workloads: by the node at the other end, by listening
//! port, and by what its kernel counts itself.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::TcpCounters;
use netcause_core::aggregate::peer_nodes;
use netcause_core::aggregate::places::{Counted, Place};
use netcause_core::aggregate::totals::add;
use netcause_core::aggregate::turn::Waits;
use netcause_core::aggregate::windows::{Recent, Span};
use netcause_core::enrich::Workload;
use serde::Serialize;

use super::edges::Tcp;
use super::lately::Lately;
use super::query::{BadQuery, Window, each_parameter, parsed};

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// When the kernel's tables were read: seconds since 1970.
    read_at: u64,
    /// The time that was asked for.
    requested_seconds: f64,
    /// `sweep_interval_seconds`: the kernel's tables are read this often at least.
    reading_interval_seconds: f64,
    /// TCP by the node at the other end, as `netcause_peer_node_tcp_*`.
    peer_nodes: Group<PeerNode>,
    /// Listening ports.
    listeners: Group<Row>,
    /// What the readers of the node find, as `netcause_node_*`.
    node: Group<Row>,
}

/// Rows, and the time that they are of: whole windows, at least as long as asked for, unless the agent has not run so long.
#[derive(Debug, Serialize)]
struct Group<R> {
    covered_seconds: f64,
    windows: usize,
    /// The longest window: a burst may have been within any part of it.
    longest_window_seconds: f64,
    rows: Vec<R>,
}

/// A node at the other end.
#[derive(Debug, Serialize)]
struct PeerNode {
    peer_node: String,
    peer_zone: String,
    /// As in `/api/v1/edges`; what connections wait for is known by pair only.
    tcp: Tcp,
}

/// A place that has counted anything, or has a level.
#[derive(Debug, Serialize)]
struct Row {
    /// Its kind.
    place: &'static str,
    /// Its labels on `/metrics`.
    labels: BTreeMap<&'static str, String>,
    /// What it has counted, without zeros.
    counted: BTreeMap<&'static str, u64>,
    /// Its levels: what the readings in this time have found on average.
    mean: BTreeMap<&'static str, f64>,
}

impl Answer {
    /// The answer for a time to look back.
    #[must_use]
    pub fn new(lately: &Lately, window: Window) -> Self {
        Self {
            read_at: lately.read_at,
            requested_seconds: window.0.as_secs_f64(),
            reading_interval_seconds: lately.interval.as_secs_f64(),
            peer_nodes: Group::new(&lately.peer_nodes, window, PeerNode::new),
            listeners: Group::new(&lately.listeners, window, Row::new),
            node: Group::new(&lately.node, window, Row::new),
        }
    }
}

/// The time to look back, from the part of a URL behind the question mark.
///
/// # Errors
///
/// When a parameter is unknown, comes twice or has a value that it may not have.
pub fn window(text: &str) -> Result<Window, BadQuery> {
    let mut window = Window::default();
    each_parameter(text, "there is only window", |key, value| {
        if key != "window" {
            return Ok(false);
        }
        window = parsed(key, value)?;
        Ok(true)
    })?;
    Ok(window)
}

impl<R> Group<R> {
    fn new<N: Hash + Ord, C: bytemuck::Pod>(
        recent: &Recent<N, C>,
        window: Window,
        row: impl Fn(&N, &C, Duration) -> R,
    ) -> Self {
        let mut sums: BTreeMap<Arc<N>, C> = BTreeMap::new();
        let Span { covered, widest, windows } = recent.each(window.0, |name, counted| {
            add(sums.entry(Arc::clone(name)).or_insert_with(C::zeroed), counted);
        });
        Self {
            covered_seconds: covered.as_secs_f64(),
            windows,
            longest_window_seconds: widest.as_secs_f64(),
            rows: sums.iter().map(|(name, counted)| row(name, counted, covered)).collect(),
        }
    }
}

impl PeerNode {
    fn new(row: &peer_nodes::Row, tcp: &TcpCounters, covered: Duration) -> Self {
        let rate = |count: u64| (!covered.is_zero()).then(|| count as f64 / covered.as_secs_f64());
        Self {
            peer_node: row.name().to_owned(),
            peer_zone: row.zone().to_owned(),
            tcp: Tcp::new(tcp, &Waits::ZERO, rate),
        }
    }
}

impl Row {
    fn new(place: &Place, counted: &Counted, _: Duration) -> Self {
        let counters = place.counters().iter().copied().zip(counted.counters);
        let levels = place.levels().iter().copied().zip(counted.levels);
        let mean = |(name, sum): (&'static str, u64)| (name, sum as f64 / counted.readings as f64);
        Self {
            place: place.kind(),
            labels: labels(place),
            counted: counters.filter(|(_, count)| *count > 0).collect(),
            mean: levels.filter(|_| counted.readings > 0).map(mean).collect(),
        }
    }
}

fn labels(place: &Place) -> BTreeMap<&'static str, String> {
    let of = |owner: &Option<Workload>| -> BTreeMap<_, _> {
        let namespace = owner.as_ref().map_or("", Workload::namespace).to_owned();
        [("namespace", namespace), ("workload", owner.as_ref().map_or_else(String::new, Workload::to_string))]
            .into()
    };
    match place {
        Place::Listener(workload, port) => [
            ("destination_namespace", workload.namespace().to_owned()),
            ("destination_workload", workload.to_string()),
            ("destination_port", port.map_or_else(String::new, |port| port.to_string())),
        ]
        .into(),
        Place::Device(device) => [("device", device.clone())].into(),
        Place::Qdisc(device, kind) => [("device", device.clone()), ("kind", kind.clone())].into(),
        Place::Protocols(owner) | Place::Conntrack(owner) => of(owner),
        Place::Search(workload) => of(&Some(workload.clone())),
        Place::Drops(workload, peer) => {
            let mut labels = of(&Some(workload.clone()));
            labels.extend([
                ("peer_namespace", peer.namespace().to_owned()),
                ("peer_workload", peer.to_string()),
            ]);
            labels
        }
        Place::NeighbourTable(table) => [("table", table.clone())].into(),
        Place::Softnet | Place::Cpu | Place::Neighbours | Place::Configuration => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use netcause_core::aggregate::places::{Found, Readings};
    use serde_json::{Value, json};

    use super::*;

    /// Two readings of a listener and a device within one window.
    fn answer() -> Value {
        let (mut listeners, mut node) = (Readings::new(1 << 16), Readings::new(1 << 16));
        for (at, discards, length) in [(0, 7, 0), (2, 8, 1), (4, 12, 3)] {
            let place = Place::Listener(Workload::plain("web"), Some(80));
            listeners.read([Found { id: 1, place, totals: &[discards, 0, discards], levels: &[length, 4] }]);
            let (id, place) = (Place::Device("eth0".to_owned()), Place::Device("eth0".to_owned()));
            node.read([Found { id, place, totals: &[0, 10 * at], levels: &[1] }]);
            listeners.end_reading(Duration::from_secs(at));
            node.end_reading(Duration::from_secs(at));
        }
        let lately =
            Lately { listeners: listeners.recent(), node: node.recent(), read_at: 7, ..Lately::default() };
        serde_json::to_value(Answer::new(&lately, window("window=30s").unwrap())).unwrap()
    }

    #[test]
    fn counts_stand_beside_means() {
        let answer = answer();
        assert_eq!(answer["requested_seconds"], json!(30.0));
        assert_eq!(answer["listeners"]["covered_seconds"], json!(4.0));
        assert_eq!(
            answer["listeners"]["rows"],
            json!([{ "place": "listener",
                "labels": { "destination_namespace": "", "destination_workload": "web", "destination_port": "80" },
                "counted": { "discards": 5, "accept_queue_full": 5 },
                "mean": { "accept_queue_length": 2.0, "accept_queue_limit": 4.0 } }])
        );
        assert_eq!(
            answer["node"]["rows"],
            json!([{ "place": "device", "labels": { "device": "eth0" }, "counted": { "transmit_packets": 40 },
                "mean": { "up": 1.0 } }])
        );
    }

    #[test]
    fn parameters_that_are_wrong_are_named() {
        let wrong = |text| window(text).unwrap_err().to_string();
        assert_eq!(wrong("sort=bytes"), "unknown parameter \"sort\": there is only window");
        assert_eq!(wrong("window=11m"), "window=11m: a time from 1s to 10m, as 60s or 5m");
        assert_eq!(window("").unwrap(), Window::default());
    }
}
