//! What an edge shows: one table, from which series are written and counted.

use std::fmt;
use std::time::Duration;

use netcause_common::dns::{QueryType, ResponseCode};
use netcause_common::flow::{ConnectFailure, LimitedBy, ResetDirection, RetransmitKind};
use netcause_common::histogram::{CONNECT_BOUNDS_NS, DNS_BOUNDS_NS, DnsDuration, RTT_BOUNDS_US, RoundTrips};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};

use super::{EdgeRow, Snapshot, family, label};
use crate::expose::catalogue::{self, Metric};
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::{Edge, Reporter, Via};
use netcause_core::enrich::sidecar::Direction;

/// One family of an edge.
pub(super) struct Family {
    metric: &'static Metric,
    of: Of,
    shape: Shape,
}

/// Which edges have a family.
#[derive(Clone, Copy)]
enum Of {
    /// Pairs of workloads, seen from either end.
    Both,
    /// Pairs of workloads, seen from one end.
    End(Reporter),
    /// A workload and its own sidecar.
    OwnSidecar,
}

impl Of {
    fn has(self, edge: &Edge) -> bool {
        let is_own_sidecar = matches!(edge.via, Via::OwnSidecar(_));
        match self {
            Self::Both => !is_own_sidecar,
            Self::End(end) => !is_own_sidecar && edge.reporter == end,
            Self::OwnSidecar => is_own_sidecar,
        }
    }
}

/// What its series are. A series appears with its first event; what is absent is zero.
enum Shape {
    /// One counter.
    Counter(fn(&Totals) -> u64),
    /// Connections open now, of edges that have TCP.
    Open,
    /// One counter per value of a label.
    By(fn(&Totals) -> &[u64], &'static [&'static str]),
    /// The same in ticks, shown as seconds.
    TicksBy(fn(&Totals) -> &[u64], &'static [&'static str]),
    /// How long connecting took.
    ConnectDuration,
    /// Round-trip times.
    RoundTrips(fn(&Totals) -> &RoundTrips),
    /// How long answers took.
    AnswerDuration(fn(&Totals) -> &DnsDuration),
}

const REASONS: &[&str] = ConnectFailure::LABELS;
const KINDS: &[&str] = RetransmitKind::LABELS;
const DIRECTIONS: &[&str] = ResetDirection::LABELS;
const QUERY_TYPES: &[&str] = QueryType::LABELS;
const RESPONSE_CODES: &[&str] = ResponseCode::LABELS;
const LIMITS: &[&str] = LimitedBy::LABELS;

/// Every family, in the order of the exposition.
pub(super) static FAMILIES: [Family; 41] = [
    counter(&catalogue::CONNECTIONS_OPENED, |totals| totals.tcp.opened),
    counter(&catalogue::CONNECTIONS_CLOSED, |totals| totals.tcp.closed),
    Family { metric: &catalogue::CONNECTIONS_OPEN, of: Of::Both, shape: Shape::Open },
    by(&catalogue::CONNECT_FAILURES, |totals| &totals.tcp.connect_failures, REASONS),
    Family { metric: &catalogue::CONNECT_DURATION, of: Of::Both, shape: Shape::ConnectDuration },
    by(&catalogue::RETRANSMITTED_SEGMENTS, |totals| &totals.tcp.retransmitted_segments, KINDS),
    by(&catalogue::RESETS, |totals| &totals.tcp.resets, DIRECTIONS),
    counter(&catalogue::SENT_BYTES, |totals| totals.tcp.sent_bytes),
    counter(&catalogue::RECEIVED_BYTES, |totals| totals.tcp.received_bytes),
    counter(&catalogue::SENT_SEGMENTS, |totals| totals.tcp.sent_segments),
    counter(&catalogue::RECEIVED_SEGMENTS, |totals| totals.tcp.received_segments),
    counter(&catalogue::SPURIOUS_RETRANSMITS, |totals| totals.tcp.spurious_retransmits),
    counter(&catalogue::REORDERED_SEGMENTS, |totals| totals.tcp.reordered_segments),
    Family { metric: &catalogue::RTT, of: Of::Both, shape: Shape::RoundTrips(|totals| &totals.tcp.rtt) },
    Family {
        metric: &catalogue::MIN_RTT,
        of: Of::Both,
        shape: Shape::RoundTrips(|totals| &totals.tcp.min_rtt),
    },
    Family {
        metric: &catalogue::LIMITED_SECONDS,
        of: Of::Both,
        shape: Shape::TicksBy(|totals| &totals.tcp.limited_ticks, LIMITS),
    },
    counter(&catalogue::UDP_SENT_BYTES, |totals| totals.udp.sent_bytes),
    counter(&catalogue::UDP_RECEIVED_BYTES, |totals| totals.udp.received_bytes),
    counter(&catalogue::UDP_SENT_DATAGRAMS, |totals| totals.udp.sent_datagrams),
    counter(&catalogue::UDP_RECEIVED_DATAGRAMS, |totals| totals.udp.received_datagrams),
    counter(&catalogue::UDP_RECEIVE_DROPS, |totals| totals.udp.receive_drops),
    by(&catalogue::DNS_QUERIES, |totals| &totals.dns.queries, QUERY_TYPES).of(Reporter::Source),
    by(&catalogue::DNS_RESPONSES, |totals| &totals.dns.responses, RESPONSE_CODES).of(Reporter::Source),
    durations(&catalogue::DNS_QUERY_DURATION).of(Reporter::Source),
    counter(&catalogue::DNS_TIMEOUTS, |totals| totals.dns.timeouts).of(Reporter::Source),
    counter(&catalogue::DNS_LATE_RESPONSES, |totals| totals.dns.late).of(Reporter::Source),
    counter(&catalogue::DNS_RETRIES, |totals| totals.dns.retries).of(Reporter::Source),
    counter(&catalogue::DNS_TRUNCATED, |totals| totals.dns.truncated).of(Reporter::Source),
    counter(&catalogue::DNS_UNMATCHED_RESPONSES, |totals| totals.dns.unmatched).of(Reporter::Source),
    counter(&catalogue::DNS_UNTRACKED_QUERIES, |totals| totals.dns.untracked).of(Reporter::Source),
    by(&catalogue::DNS_SERVER_QUERIES, |totals| &totals.dns.queries, QUERY_TYPES).of(Reporter::Destination),
    by(&catalogue::DNS_SERVER_RESPONSES, |totals| &totals.dns.responses, RESPONSE_CODES)
        .of(Reporter::Destination),
    durations(&catalogue::DNS_SERVER_DURATION).of(Reporter::Destination),
    counter(&catalogue::DNS_SERVER_UNANSWERED, |totals| totals.dns.timeouts).of(Reporter::Destination),
    counter(&catalogue::DNS_SERVER_UNTRACKED, |totals| totals.dns.untracked).of(Reporter::Destination),
    counter(&catalogue::SIDECAR_CONNECTIONS_OPENED, |totals| totals.tcp.opened).of_own_sidecar(),
    by(&catalogue::SIDECAR_CONNECT_FAILURES, |totals| &totals.tcp.connect_failures, REASONS).of_own_sidecar(),
    by(&catalogue::SIDECAR_RESETS, |totals| &totals.tcp.resets, DIRECTIONS).of_own_sidecar(),
    counter(&catalogue::SIDECAR_SENT_BYTES, |totals| totals.tcp.sent_bytes).of_own_sidecar(),
    counter(&catalogue::SIDECAR_RECEIVED_BYTES, |totals| totals.tcp.received_bytes).of_own_sidecar(),
    by(&catalogue::SIDECAR_RETRANSMITTED_SEGMENTS, |totals| &totals.tcp.retransmitted_segments, KINDS)
        .of_own_sidecar(),
];

const fn durations(metric: &'static Metric) -> Family {
    Family { metric, of: Of::Both, shape: Shape::AnswerDuration(|totals| &totals.dns.duration) }
}

const fn counter(metric: &'static Metric, value: fn(&Totals) -> u64) -> Family {
    Family { metric, of: Of::Both, shape: Shape::Counter(value) }
}

const fn by(
    metric: &'static Metric,
    values: fn(&Totals) -> &[u64],
    names: &'static [&'static str],
) -> Family {
    Family { metric, of: Of::Both, shape: Shape::By(values, names) }
}

/// How many time series an edge with these counters has.
#[must_use]
pub fn series(edge: &Edge, totals: &Totals) -> usize {
    FAMILIES.iter().map(|family| family.series(edge, totals)).sum()
}

impl Shape {
    fn series(&self, totals: &Totals) -> usize {
        match self {
            Self::Counter(value) => usize::from(value(totals) != 0),
            Self::Open => usize::from(has_tcp(totals)),
            Self::By(values, _) | Self::TicksBy(values, _) => {
                values(totals).iter().filter(|value| **value != 0).count()
            }
            // The buckets, the one without a bound among them, sum and count.
            Self::ConnectDuration => of_histogram(&totals.tcp.connect_duration.buckets),
            Self::RoundTrips(times) => of_histogram(&times(totals).buckets),
            Self::AnswerDuration(durations) => of_histogram(&durations(totals).buckets),
        }
    }
}

fn of_histogram(buckets: &[u64]) -> usize {
    if buckets.iter().all(|bucket| *bucket == 0) { 0 } else { buckets.len() + 2 }
}

fn has_tcp(totals: &Totals) -> bool {
    totals.tcp.opened != 0 || totals.tcp.closed != 0 || totals.tcp.open() != 0
}

impl Family {
    const fn of(self, end: Reporter) -> Self {
        Self { of: Of::End(end), ..self }
    }

    const fn of_own_sidecar(self) -> Self {
        Self { of: Of::OwnSidecar, ..self }
    }

    fn series(&self, edge: &Edge, totals: &Totals) -> usize {
        if self.of.has(edge) { self.shape.series(totals) } else { 0 }
    }

    pub(super) fn encode(&self, to: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
        let mut family = family(to, self.metric)?;
        for row in &snapshot.edges {
            self.encode_edge(&mut family, row, snapshot.tick)?;
        }
        Ok(())
    }

    fn encode_edge(&self, to: &mut MetricEncoder<'_>, row: &EdgeRow, tick: Duration) -> fmt::Result {
        let EdgeRow { edge, totals } = row;
        if self.series(edge, totals) == 0 {
            return Ok(());
        }
        let mut by = |name, encode: &dyn Fn(MetricEncoder<'_>) -> fmt::Result| {
            let more = self.metric.labels.last().map(|label| (*label, name));
            encode(to.encode_family(&EdgeLabels { edge, is_pair: self.metric.edge, more })?)
        };
        let seconds = |ticks: u64| ticks as f64 * tick.as_secs_f64();
        match &self.shape {
            Shape::By(values, names) => {
                for (value, name) in values(totals).iter().zip(*names).filter(|(value, _)| **value != 0) {
                    by(name, &|mut sample| sample.encode_counter::<NoLabelSet, _, u64>(value, None))?;
                }
                return Ok(());
            }
            Shape::TicksBy(ticks, names) => {
                for (ticks, name) in ticks(totals).iter().zip(*names).filter(|(ticks, _)| **ticks != 0) {
                    let value = seconds(*ticks);
                    by(name, &|mut sample| sample.encode_counter::<NoLabelSet, _, f64>(&value, None))?;
                }
                return Ok(());
            }
            _ => {}
        }
        let labels = EdgeLabels { edge, is_pair: self.metric.edge, more: None };
        let mut sample = to.encode_family(&labels)?;
        match &self.shape {
            Shape::Counter(value) => sample.encode_counter::<NoLabelSet, _, u64>(&value(totals), None),
            Shape::Open => sample.encode_gauge(&totals.tcp.open()),
            Shape::ConnectDuration => {
                let durations = &totals.tcp.connect_duration;
                let bounds = CONNECT_BOUNDS_NS.map(|bound| bound as f64 / 1e9);
                // Exact to 2^53 ns, a hundred days.
                histogram(&mut sample, &bounds, &durations.buckets, durations.sum as f64 / 1e9)
            }
            Shape::RoundTrips(times) => {
                let times = times(totals);
                let bounds = RTT_BOUNDS_US.map(|bound| bound as f64 / 1e6);
                histogram(&mut sample, &bounds, &times.buckets, times.sum as f64 / 1e6)
            }
            Shape::AnswerDuration(durations) => {
                let durations = durations(totals);
                let bounds = DNS_BOUNDS_NS.map(|bound| bound as f64 / 1e9);
                histogram(&mut sample, &bounds, &durations.buckets, durations.sum as f64 / 1e9)
            }
            Shape::By(..) | Shape::TicksBy(..) => Ok(()),
        }
    }
}

fn histogram(sample: &mut MetricEncoder<'_>, bounds: &[f64], counts: &[u64], sum: f64) -> fmt::Result {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
    sample.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}

/// The labels of [`catalogue::EDGE_LABELS`], or of [`catalogue::LISTENER_LABELS`] where all clients are one; and at most
/// one more.
struct EdgeLabels<'a> {
    edge: &'a Edge,
    is_pair: bool,
    more: Option<(&'static str, &'static str)>,
}

impl EncodeLabelSet for EdgeLabels<'_> {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Via::OwnSidecar(way) = self.edge.via {
            return self.encode_own_sidecar(way, to);
        }
        let [reporter, source_namespace, source, destination_namespace, destination, service, port, via] =
            catalogue::EDGE_LABELS;
        if self.is_pair {
            label(to, reporter, self.reporter())?;
            label(to, source_namespace, self.edge.source.namespace())?;
            label(to, source, &self.edge.source)?;
        }
        label(to, destination_namespace, self.edge.destination_namespace())?;
        label(to, destination, &self.edge.destination)?;
        if self.is_pair {
            match &self.edge.service {
                // In another namespace than what stands behind it: rare, and two of one name would look alike.
                Some(name) if name.namespace() != self.edge.destination_namespace() => {
                    label(to, service, format_args!("{}.{}", name.workload(), name.namespace()))?;
                }
                Some(name) => label(to, service, name.workload())?,
                None => label(to, service, "")?,
            }
        }
        match &self.edge.port {
            Some(number) => label(to, port, number)?,
            None => label(to, port, "")?,
        }
        if self.is_pair {
            label(to, via, if self.edge.via == Via::Sidecar { "sidecar" } else { "" })?;
        }
        self.more.map_or(Ok(()), |(key, value)| label(to, key, value))
    }
}

impl EdgeLabels<'_> {
    /// The labels of [`catalogue::SIDECAR_LABELS`].
    fn encode_own_sidecar(&self, way: Direction, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let [reporter, namespace, workload, leg] = catalogue::SIDECAR_LABELS;
        label(to, reporter, self.reporter())?;
        label(to, namespace, self.edge.source.namespace())?;
        label(to, workload, &self.edge.source)?;
        let way = match way {
            Direction::Outbound => "outbound",
            Direction::Inbound => "inbound",
        };
        label(to, leg, way)?;
        self.more.map_or(Ok(()), |(key, value)| label(to, key, value))
    }

    fn reporter(&self) -> &'static str {
        match self.edge.reporter {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
        }
    }
}
