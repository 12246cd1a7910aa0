//! The exposition: a snapshot of everything in, OpenMetrics or Prometheus text out.

mod edge;
mod names;

use std::fmt;
use std::time::Duration;

use netcause_common::probe::open_sockets::AcceptQueue;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::catalogue::{self, Kind, Metric};
use super::text;
use crate::kernel::ProgramCost;
use netcause_core::aggregate::Edge;
use netcause_core::aggregate::totals::Totals;
use netcause_core::enrich::Workload;

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
    /// Pairs of workloads.
    pub edges: Vec<EdgeRow>,
    /// Listening sockets.
    pub listeners: Vec<ListenerRow>,
    /// Workloads that search domains cost something.
    pub searches: Vec<SearchRow>,
    /// The agent itself.
    pub own: Own,
    /// Where names come from.
    pub names: NamesOwn,
    /// The kernel's tick.
    pub tick: Duration,
}

/// A pair of workloads and what is counted of it.
#[derive(Debug)]
pub struct EdgeRow {
    /// Who and whom.
    pub edge: Edge,
    /// All counters.
    pub totals: Totals,
}

/// What search domains cost a workload.
#[derive(Debug)]
pub struct SearchRow {
    /// Whose.
    pub workload: Workload,
    /// Lookups.
    pub expansions: u64,
    /// Queries.
    pub wasted_queries: u64,
}

impl SearchRow {
    fn expansions(&self) -> u64 {
        self.expansions
    }

    fn wasted_queries(&self) -> u64 {
        self.wasted_queries
    }
}

/// A listening port.
#[derive(Debug)]
pub struct ListenerRow {
    /// Whose.
    pub workload: Workload,
    /// Which.
    pub port: u16,
    /// Its queue.
    pub queue: AcceptQueue,
}

/// What the agent says of itself.
#[derive(Debug, Default)]
pub struct Own {
    /// Probes by name, with the reason why one does not run.
    pub probes: Vec<(&'static str, Option<String>)>,
    /// Losses: probe, where, how many.
    pub events_lost: Vec<(&'static str, &'static str, u64)>,
    /// DNS messages: malformed, not followed; details received, left out.
    pub dns: DnsOwn,
    /// Updates that were folded.
    pub flows_folded: u64,
    /// Time series of edges, how many there may be, and how often an edge was folded.
    pub series: Series,
    /// How long sweeps took.
    pub sweeps: Durations,
    /// Tables: name, entries, limit.
    pub maps: Vec<(&'static str, u64, u64)>,
    /// What the programs cost, and missed.
    pub programs: Vec<ProgramCost>,
    /// How long earlier scrapes took.
    pub scrapes: Durations,
    /// The kernel's release.
    pub kernel_release: String,
}

/// What the agent says of DNS.
#[derive(Clone, Copy, Debug, Default)]
pub struct DnsOwn {
    /// Messages that are none.
    pub malformed: u64,
    /// Messages over TCP that could not be followed.
    pub unfollowed: u64,
    /// Details of answers that came.
    pub details_received: u64,
    /// Those that were left out.
    pub details_left_out: u64,
}

/// The budget of time series.
#[derive(Clone, Copy, Debug, Default)]
pub struct Series {
    /// In this exposition.
    pub shown: u64,
    /// The limit.
    pub limit: u64,
    /// Edges that were folded into `other`.
    pub folded: u64,
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
pub fn render(snapshot: std::sync::Arc<Snapshot>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Shared(snapshot)));
    let mut open_metrics = String::new();
    prometheus_client::encoding::text::encode(&mut open_metrics, &registry)?;
    Ok(match format {
        Format::OpenMetrics => open_metrics,
        Format::Prometheus => text::from_open_metrics(&open_metrics),
    })
}

#[derive(Debug)]
struct Shared(std::sync::Arc<Snapshot>);

impl Collector for Shared {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode_all(encoder)
    }
}

impl Snapshot {
    fn encode_all(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        for family in &edge::FAMILIES {
            family.encode(to, self)?;
        }
        self.listeners(to, &catalogue::LISTEN_DROPS, |queue| queue.drops)?;
        self.listeners(to, &catalogue::ACCEPT_QUEUE_LENGTH, |queue| queue.length.into())?;
        self.listeners(to, &catalogue::ACCEPT_QUEUE_LIMIT, |queue| queue.limit.into())?;
        for (search, metric) in [
            (SearchRow::expansions as fn(&SearchRow) -> u64, &catalogue::DNS_SEARCH_EXPANSIONS),
            (SearchRow::wasted_queries, &catalogue::DNS_SEARCH_WASTED_QUERIES),
        ] {
            let mut family = family(to, metric)?;
            for row in &self.searches {
                counter(&mut family, &SourceLabels { workload: &row.workload }, search(row))?;
            }
        }
        self.own.encode(to)?;
        self.names.encode(to)
    }
}

impl Snapshot {
    fn listeners(
        &self,
        to: &mut DescriptorEncoder<'_>,
        metric: &Metric,
        value: fn(&AcceptQueue) -> u64,
    ) -> fmt::Result {
        let mut family = family(to, metric)?;
        for ListenerRow { workload, port, queue } in &self.listeners {
            let labels = ListenerLabels { workload, port: *port };
            let mut sample = family.encode_family(&labels)?;
            match metric.kind {
                Kind::Counter => sample.encode_counter::<NoLabelSet, _, u64>(&value(queue), None)?,
                _ => sample.encode_gauge(&value(queue))?,
            }
        }
        Ok(())
    }
}

impl Own {
    fn encode(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
        family(to, &catalogue::DNS_MALFORMED)?
            .encode_counter::<NoLabelSet, _, u64>(&self.dns.malformed, None)?;
        family(to, &catalogue::DNS_UNFOLLOWED)?
            .encode_counter::<NoLabelSet, _, u64>(&self.dns.unfollowed, None)?;
        let mut details = family(to, &catalogue::DNS_DETAILS)?;
        counter(&mut details, &[("outcome", "received")], self.dns.details_received)?;
        counter(&mut details, &[("outcome", "left_out")], self.dns.details_left_out)?;
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
        family(to, &catalogue::SERIES)?.encode_gauge(&self.series.shown)?;
        family(to, &catalogue::SERIES_LIMIT)?.encode_gauge(&self.series.limit)?;
        family(to, &catalogue::SERIES_FOLDED)?
            .encode_counter::<NoLabelSet, _, u64>(&self.series.folded, None)?;
        durations(to, &catalogue::SWEEP_DURATION, &self.sweeps)?;
        durations(to, &catalogue::SCRAPE_DURATION, &self.scrapes)?;
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

fn durations(to: &mut DescriptorEncoder<'_>, metric: &Metric, durations: &Durations) -> fmt::Result {
    let buckets: Vec<_> =
        Durations::BOUNDS.into_iter().chain([f64::INFINITY]).zip(durations.buckets).collect();
    family(to, metric)?.encode_histogram::<NoLabelSet>(
        durations.sum.as_secs_f64(),
        durations.buckets.iter().sum(),
        &buckets,
        None,
    )
}

fn counter(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, count: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

/// The labels of [`catalogue::LISTENER_LABELS`].
struct ListenerLabels<'a> {
    workload: &'a Workload,
    port: u16,
}

impl EncodeLabelSet for ListenerLabels<'_> {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let [namespace, workload, port] = catalogue::LISTENER_LABELS;
        label(to, namespace, self.workload.namespace())?;
        label(to, workload, self.workload)?;
        label(to, port, self.port)
    }
}

/// The labels of [`catalogue::SOURCE_LABELS`].
struct SourceLabels<'a> {
    workload: &'a Workload,
}

impl EncodeLabelSet for SourceLabels<'_> {
    fn encode(&self, to: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let [namespace, workload] = catalogue::SOURCE_LABELS;
        label(to, namespace, self.workload.namespace())?;
        label(to, workload, self.workload)
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

pub use edge::series;
pub use names::{NamesOwn, SourceRow};

#[cfg(test)]
mod tests;
