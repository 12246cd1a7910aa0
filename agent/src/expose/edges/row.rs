//! One pair of workloads: its counts, and rates and ratios of them.

use std::collections::BTreeMap;
use std::time::Duration;

use netcause_common::dns::{DnsCounters, ResponseCode};
use netcause_common::flow::{ConnectFailure, ResetDirection, TcpCounters, UdpCounters};
use netcause_core::aggregate::Edge;
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::turn::{On, Waits};
use serde::{Deserialize, Serialize};

use crate::expose::tables::pair_labels;

/// A second in the unit of [`TcpCounters::rtt`].
pub const MICROSECONDS: f64 = 1e6;
/// A second in the unit of [`Waits::responses`].
const MILLISECONDS: f64 = 1e3;
/// A second in the unit of other durations.
const NANOSECONDS: f64 = 1e9;

/// A pair of workloads.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Who, as on `/metrics`.
    pub labels: Labels,
    /// `null` where nothing was counted, as the next two.
    pub tcp: Option<Tcp>,
    /// UDP, that of DNS included.
    pub udp: Option<Udp>,
    /// DNS.
    pub dns: Option<Dns>,
}

/// The labels of an edge, with their values on `/metrics`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Labels {
    pub reporter: String,
    pub source_namespace: String,
    pub source_workload: String,
    pub destination_namespace: String,
    pub destination_workload: String,
    pub destination_service: String,
    pub destination_port: String,
    pub via: String,
}

/// What was counted of TCP, at the end that `reporter` says. A rate is `null` while no time is covered, a share or a mean when
/// there is nothing that it is of.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tcp {
    /// Payload acknowledged by the peer.
    pub sent_bytes: u64,
    /// The same per second.
    pub sent_bytes_per_second: Option<f64>,
    /// Payload received in order.
    pub received_bytes: u64,
    /// The same per second.
    pub received_bytes_per_second: Option<f64>,
    /// Segments sent, retransmissions included.
    pub sent_segments: u64,
    /// Segments received.
    pub received_segments: u64,
    /// Segments sent again, of all kinds.
    pub retransmitted_segments: u64,
    /// Their share of the segments sent.
    pub retransmitted_share: Option<f64>,
    /// Handshakes completed.
    pub connections_opened: u64,
    /// The same per second.
    pub connections_opened_per_second: Option<f64>,
    /// Connections ended.
    pub connections_closed: u64,
    /// Failed connects by reason; reasons without any are left out.
    pub connect_failures: BTreeMap<String, u64>,
    /// All of them per second.
    pub connect_failures_per_second: Option<f64>,
    /// Mean time from SYN to established.
    pub connect_mean_seconds: Option<f64>,
    /// Resets by direction.
    pub resets: BTreeMap<String, u64>,
    /// Mean smoothed round-trip time.
    pub rtt_mean_seconds: Option<f64>,
    /// Observations that it is the mean of: one per connection with traffic and sweep, and one at the close.
    pub rtt_observations: u64,
    /// Open connections on average, by what they waited for; `null` while no time is covered.
    pub waiting_connections: Option<BTreeMap<String, f64>>,
    /// Mean time from a request to its answer, of what sweeps saw.
    pub response_mean_seconds: Option<f64>,
    /// Answers that it is the mean of.
    pub responses: u64,
    /// Mean age of data without an acknowledgement, of connections that sweeps found waiting for the network.
    #[serde(default)]
    pub unacknowledged_mean_seconds: Option<f64>,
    /// Mean age of requests without an answer, of connections that sweeps found waiting for an application.
    #[serde(default)]
    pub unanswered_mean_seconds: Option<f64>,
}

/// What was counted of UDP.
#[derive(Debug, Serialize, Deserialize)]
pub struct Udp {
    /// Payload sent.
    pub sent_bytes: u64,
    /// The same per second.
    pub sent_bytes_per_second: Option<f64>,
    /// Payload that reached the socket.
    pub received_bytes: u64,
    /// The same per second.
    pub received_bytes_per_second: Option<f64>,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Datagrams that reached the socket.
    pub received_datagrams: u64,
    /// Datagrams dropped because the receive buffer was full.
    pub receive_drops: u64,
}

/// What was counted of DNS.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dns {
    /// Queries of any type.
    pub queries: u64,
    /// The same per second.
    pub queries_per_second: Option<f64>,
    /// Responses with neither NOERROR nor NXDOMAIN.
    pub failures: u64,
    /// Queries without a response in time.
    pub timeouts: u64,
    /// Mean time from query to response.
    pub mean_seconds: Option<f64>,
}

impl Row {
    /// Of an edge that has counted so much in this time.
    #[must_use]
    pub fn new(edge: &Edge, totals: &Totals, time: Duration) -> Self {
        let Totals { tcp, udp, dns, waits } = totals;
        let rate = |count| (time > Duration::ZERO).then(|| count as f64 / time.as_secs_f64());
        let is_zero = |counters: &[u8]| counters.iter().all(|byte| *byte == 0);
        Self {
            labels: Labels::new(edge),
            tcp: (!is_zero(bytemuck::bytes_of(tcp)) || !is_zero(bytemuck::bytes_of(waits)))
                .then(|| Tcp::new(tcp, waits, rate)),
            udp: (!is_zero(bytemuck::bytes_of(udp))).then(|| Udp::new(udp, rate)),
            dns: (!is_zero(bytemuck::bytes_of(dns))).then(|| Dns::new(dns, rate)),
        }
    }

    /// Bytes sent and received per second, by TCP and UDP.
    #[must_use]
    pub fn bytes_per_second(&self) -> [f64; 2] {
        let tcp = self.tcp.as_ref().map(|tcp| [tcp.sent_bytes_per_second, tcp.received_bytes_per_second]);
        let udp = self.udp.as_ref().map(|udp| [udp.sent_bytes_per_second, udp.received_bytes_per_second]);
        let both = [tcp, udp].map(Option::unwrap_or_default);
        [0, 1].map(|way| both.iter().map(|rates| rates[way].unwrap_or_default()).sum())
    }

    /// As [`failures`].
    #[must_use]
    pub fn failures(&self) -> u64 {
        let tcp = self.tcp.as_ref().map(|tcp| tcp.connect_failures.values().chain(tcp.resets.values()).sum());
        let udp = self.udp.as_ref().map(|udp| udp.receive_drops);
        let dns = self.dns.as_ref().map(|dns| dns.failures + dns.timeouts);
        [tcp, udp, dns].into_iter().flatten().sum()
    }
}

impl Labels {
    fn new(edge: &Edge) -> Self {
        let mut values = pair_labels(edge).into_iter().map(String::from);
        let mut next = || values.next().unwrap_or_default();
        Self {
            reporter: next(),
            source_namespace: next(),
            source_workload: next(),
            destination_namespace: next(),
            destination_workload: next(),
            destination_service: next(),
            destination_port: next(),
            via: next(),
        }
    }
}

impl Tcp {
    /// Of counters, and what connections waited for; `rate` is that of a count.
    pub fn new(tcp: &TcpCounters, waits: &Waits, rate: impl Fn(u64) -> Option<f64>) -> Self {
        let retransmitted_segments = retransmits(tcp);
        let share = || retransmitted_segments as f64 / tcp.sent_segments as f64;
        let failures = ConnectFailure::ALL.into_iter().map(ConnectFailure::label).zip(tcp.connect_failures);
        let resets = ResetDirection::ALL.into_iter().map(ResetDirection::label).zip(tcp.resets);
        let durations = &tcp.connect_duration;
        let waited =
            On::ALL.into_iter().map(On::label).zip(waits.waited_us).filter(|(_, waited)| *waited > 0);
        let waiting = |(on, waited): (&str, u64)| Some((on.to_owned(), rate(waited)? / MICROSECONDS));
        Self {
            sent_bytes: tcp.sent_bytes,
            sent_bytes_per_second: rate(tcp.sent_bytes),
            received_bytes: tcp.received_bytes,
            received_bytes_per_second: rate(tcp.received_bytes),
            sent_segments: tcp.sent_segments,
            received_segments: tcp.received_segments,
            retransmitted_segments,
            retransmitted_share: (tcp.sent_segments > 0).then(share),
            connections_opened: tcp.opened,
            connections_opened_per_second: rate(tcp.opened),
            connections_closed: tcp.closed(),
            connect_failures: failures
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
            connect_failures_per_second: rate(sum(&tcp.connect_failures)),
            connect_mean_seconds: mean(&durations.buckets, durations.sum, NANOSECONDS),
            resets: resets.map(|(direction, count)| (direction.to_owned(), count)).collect(),
            rtt_mean_seconds: mean(&tcp.rtt.buckets, tcp.rtt.sum, MICROSECONDS),
            rtt_observations: sum(&tcp.rtt.buckets),
            waiting_connections: waited.map(waiting).collect(),
            response_mean_seconds: mean(&waits.responses.buckets, waits.responses.sum, MILLISECONDS),
            responses: sum(&waits.responses.buckets),
            unacknowledged_mean_seconds: mean(
                &waits.unacknowledged.buckets,
                waits.unacknowledged.sum,
                MILLISECONDS,
            ),
            unanswered_mean_seconds: mean(&waits.unanswered.buckets, waits.unanswered.sum, MILLISECONDS),
        }
    }
}

impl Udp {
    fn new(udp: &UdpCounters, rate: impl Fn(u64) -> Option<f64>) -> Self {
        Self {
            sent_bytes: udp.sent_bytes,
            sent_bytes_per_second: rate(udp.sent_bytes),
            received_bytes: udp.received_bytes,
            received_bytes_per_second: rate(udp.received_bytes),
            sent_datagrams: udp.sent_datagrams,
            received_datagrams: udp.received_datagrams,
            receive_drops: udp.receive_drops,
        }
    }
}

impl Dns {
    fn new(dns: &DnsCounters, rate: impl Fn(u64) -> Option<f64>) -> Self {
        Self {
            queries: sum(&dns.queries),
            queries_per_second: rate(sum(&dns.queries)),
            failures: dns_failures(dns),
            timeouts: dns.timeouts,
            mean_seconds: mean(&dns.duration.buckets, dns.duration.sum, NANOSECONDS),
        }
    }
}

/// Payload both ways.
pub fn bytes(totals: &Totals) -> u64 {
    let Totals { tcp, udp, .. } = totals;
    sum(&[tcp.sent_bytes, tcp.received_bytes, udp.sent_bytes, udp.received_bytes])
}

/// Segments sent again.
pub fn retransmits(tcp: &TcpCounters) -> u64 {
    sum(&tcp.retransmitted_segments)
}

/// Failed connects, resets, datagrams dropped, failed and unanswered DNS queries.
pub fn failures(totals: &Totals) -> u64 {
    let Totals { tcp, udp, dns, .. } = totals;
    let tcp = [sum(&tcp.connect_failures), sum(&tcp.resets)];
    sum(&tcp).saturating_add(sum(&[udp.receive_drops, dns_failures(dns), dns.timeouts]))
}

/// The mean of what a histogram observed, in seconds; `None` without an observation.
pub fn mean(buckets: &[u64], total: u64, per_second: f64) -> Option<f64> {
    let count = sum(buckets);
    (count > 0).then(|| total as f64 / count as f64 / per_second)
}

fn dns_failures(dns: &DnsCounters) -> u64 {
    let is_failure = |code| !matches!(code, ResponseCode::NoError | ResponseCode::NxDomain);
    let codes = ResponseCode::ALL.into_iter().zip(dns.responses);
    codes.filter(|(code, _)| is_failure(*code)).fold(0, |sum, (_, count)| sum.saturating_add(count))
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}
