//! The exposition: a snapshot of everything in, OpenMetrics or Prometheus text out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use netcause_common::flow::{ConnectFailure, FlowCounters, ResetDirection, RetransmitKind};
use netcause_common::histogram::CONNECT_BOUNDS_NS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::catalogue::{self, Kind, Metric};
use super::text;
use crate::aggregate::{Edge, Reporter};
use crate::kernel::ProgramCost;

/// A text format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl Format {
    /// The value of the header Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Everything an exposition says.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Pairs of workloads and their totals.
    pub edges: BTreeMap<Edge, FlowCounters>,
    /// The agent itself.
    pub own: Own,
}

/// What the agent says of itself.
#[derive(Debug, Default)]
pub struct Own {
    /// Probes by name, with the reason why one does not run.
    pub probes: Vec<(&'static str, Option<String>)>,
    /// Losses: probe, where, how many.
    pub events_lost: Vec<(&'static str, &'static str, u64)>,
    /// Updates that were folded.
    pub flows_folded: u64,
    /// Tables: name, entries, limit.
    pub maps: Vec<(&'static str, u64, u64)>,
    /// What the programs cost, and missed.
    pub programs: Vec<ProgramCost>,
    /// How long earlier scrapes took.
    pub scrapes: Durations,
    /// The kernel's release.
    pub kernel_release: String,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    buckets: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Durations {
    const BOUNDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

    /// Adds one.
    pub fn observe(&mut self, duration: Duration) {
        let index = Self::BOUNDS.iter().position(|bound| duration.as_secs_f64() <= *bound);
        self.buckets[index.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum += duration;
    }
}

/// Writes the exposition.
///
/// # Errors
///
/// None that a `String` could cause; the encoder's type has one.
pub fn render(snapshot: Snapshot, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut open_metrics = String::new();
    prometheus_client::encoding::text::encode(&mut open_metrics, &registry)?;
    Ok(match format {
        Format::OpenMetrics => open_metrics,
        Format::Prometheus => text::from_open_metrics(&open_metrics),
    })
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        self.encode_edges(to)?;
        self.own.encode(to, self.edges.len())
    }
}

impl Snapshot {
    fn encode_edges(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(to, &catalogue::CONNECTIONS_OPENED, |counters| counters.opened)?;
        self.counters(to, &catalogue::CONNECTIONS_CLOSED, |counters| counters.closed)?;
        self.counters_by(to, &catalogue::CONNECT_FAILURES, &ConnectFailure::ALL.map(reason), |counters| {
            &counters.connect_failures
        })?;
        self.connect_durations(to)?;
        self.counters_by(
            to,
            &catalogue::RETRANSMITTED_SEGMENTS,
            &RetransmitKind::ALL.map(kind),
            |counters| &counters.retransmitted_segments,
        )?;
        self.counters_by(to, &catalogue::RESETS, &ResetDirection::ALL.map(direction), |counters| {
            &counters.resets
        })
    }

    fn counters(
        &self,
        to: &mut DescriptorEncoder<'_>,
        metric: &Metric,
        value: fn(&FlowCounters) -> u64,
    ) -> fmt::Result {
        let mut family = family(to, metric)?;
        for (edge, counters) in &self.edges {
            family
                .encode_family(&EdgeLabels { edge, more: None })?
                .encode_counter::<NoLabelSet, _, u64>(&value(counters), None)?;
        }
        Ok(())
    }

    /// One series per label value that has counted anything.
    fn counters_by<const N: usize>(
        &self,
        to: &mut DescriptorEncoder<'_>,
        metric: &Metric,
        values: &[&'static str; N],
        counts: fn(&FlowCounters) -> &[u64; N],
    ) -> fmt::Result {
        let mut family = family(to, metric)?;
        for (edge, counters) in &self.edges {
            for (value, count) in values.iter().zip(counts(counters)).filter(|(_, count)| **count != 0) {
                let labels = EdgeLabels { edge, more: Some((metric.labels[0], value)) };
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        Ok(())
    }

    fn connect_durations(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = family(to, &catalogue::CONNECT_DURATION)?;
        for (edge, counters) in &self.edges {
            let durations = &counters.connect_duration;
            let count: u64 = durations.buckets.iter().sum();
            if count == 0 {
                continue;
            }
            let bounds = CONNECT_BOUNDS_NS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(durations.buckets).collect();
            family.encode_family(&EdgeLabels { edge, more: None })?.encode_histogram::<NoLabelSet>(
                seconds(durations.sum_ns),
                count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

impl Own {
    fn encode(&self, to: &mut DescriptorEncoder<'_>, edges: usize) -> fmt::Result {
        let mut up = family(to, &catalogue::PROBE_UP)?;
        for (probe, unavailable) in &self.probes {
            let reason = unavailable.as_deref().unwrap_or_default();
            let labels = [("probe", *probe), ("reason", reason)];
            up.encode_family(&labels)?.encode_gauge(&i64::from(unavailable.is_none()))?;
        }
        let mut lost = family(to, &catalogue::EVENTS_LOST)?;
        for (probe, place, count) in &self.events_lost {
            counter(&mut lost, &[("probe", *probe), ("where", place)], *count)?;
        }
        family(to, &catalogue::FLOWS_FOLDED)?
            .encode_counter::<NoLabelSet, _, u64>(&self.flows_folded, None)?;
        let mut entries = family(to, &catalogue::MAP_ENTRIES)?;
        for (map, count, _) in &self.maps {
            entries.encode_family(&[("map", *map)])?.encode_gauge(count)?;
        }
        let mut limits = family(to, &catalogue::MAP_LIMIT)?;
        for (map, _, limit) in &self.maps {
            limits.encode_family(&[("map", *map)])?.encode_gauge(limit)?;
        }
        family(to, &catalogue::SERIES)?.encode_gauge(&(edges as u64))?;
        let buckets: Vec<_> =
            Durations::BOUNDS.into_iter().chain([f64::INFINITY]).zip(self.scrapes.buckets).collect();
        family(to, &catalogue::SCRAPE_DURATION)?.encode_histogram::<NoLabelSet>(
            self.scrapes.sum.as_secs_f64(),
            self.scrapes.buckets.iter().sum(),
            &buckets,
            None,
        )?;
        let mut time = family(to, &catalogue::BPF_RUN_SECONDS)?;
        for cost in &self.programs {
            let labels = [("program", cost.program)];
            let seconds = cost.run_time.as_secs_f64();
            time.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        let mut runs = family(to, &catalogue::BPF_RUNS)?;
        for cost in &self.programs {
            counter(&mut runs, &[("program", cost.program)], cost.runs)?;
        }
        let mut skipped = family(to, &catalogue::BPF_SKIPPED_RUNS)?;
        for cost in &self.programs {
            counter(&mut skipped, &[("program", cost.program)], cost.skipped)?;
        }
        family(to, &catalogue::BUILD)?.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        family(to, &catalogue::KERNEL)?.encode_info(&[("release", self.kernel_release.as_str())])
    }
}

fn family<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    metric: &'a Metric,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    to.encode_descriptor(metric.name, metric.help, None, kind)
}

fn counter(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, count: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn seconds(nanoseconds: u64) -> f64 {
    // Exact to 2^53 ns, a hundred days.
    nanoseconds as f64 / 1e9
}

/// The labels of [`catalogue::EDGE_LABELS`], and at most one more.
struct EdgeLabels<'a> {
    edge: &'a Edge,
    more: Option<(&'static str, &'static str)>,
}

impl EncodeLabelSet for EdgeLabels<'_> {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let [reporter, source_namespace, source, destination_namespace, destination, service, port] =
            catalogue::EDGE_LABELS;
        let end = match self.edge.reporter {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
        };
        label(to, reporter, end)?;
        label(to, source_namespace, "")?;
        label(to, source, &self.edge.source)?;
        label(to, destination_namespace, "")?;
        label(to, destination, &self.edge.destination)?;
        label(to, service, "")?;
        match &self.edge.port {
            Some(number) => label(to, port, number)?,
            None => label(to, port, "")?,
        }
        self.more.map_or(Ok(()), |(key, value)| label(to, key, value))
    }
}

fn label(to: &mut LabelSetEncoder<'_>, key: &str, value: impl fmt::Display) -> fmt::Result {
    use fmt::Write as _;
    use prometheus_client::encoding::EncodeLabelKey as _;
    let mut label = to.encode_label();
    let mut key_encoder = label.encode_label_key()?;
    key.encode(&mut key_encoder)?;
    let mut value_encoder = key_encoder.encode_label_value()?;
    write!(value_encoder, "{value}")?;
    value_encoder.finish()
}

/// The label value of a failure.
pub(super) fn reason(reason: ConnectFailure) -> &'static str {
    match reason {
        ConnectFailure::Refused => "refused",
        ConnectFailure::TimedOut => "timed_out",
        ConnectFailure::Reset => "reset",
        ConnectFailure::Unreachable => "unreachable",
        ConnectFailure::NoLocalPort => "no_local_port",
        ConnectFailure::Denied => "denied",
        ConnectFailure::Aborted => "aborted",
        ConnectFailure::Other => "other",
    }
}

/// The label value of a kind of retransmit.
pub(super) fn kind(kind: RetransmitKind) -> &'static str {
    match kind {
        RetransmitKind::Fast => "fast",
        RetransmitKind::Timeout => "timeout",
        RetransmitKind::SlowStart => "slow_start",
        RetransmitKind::TailLossProbe => "tail_loss_probe",
        RetransmitKind::Syn => "syn",
        RetransmitKind::SynAck => "synack",
        RetransmitKind::Other => "other",
    }
}

/// The label value of a reset's direction.
pub(super) fn direction(direction: ResetDirection) -> &'static str {
    match direction {
        ResetDirection::Sent => "sent",
        ResetDirection::Received => "received",
    }
}

#[cfg(test)]
mod tests;
