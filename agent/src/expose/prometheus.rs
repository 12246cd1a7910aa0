//! The text formats of Prometheus: a writer of the tables.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::series::{Family, Kind, Metric, Sample, Value};
use super::snapshot::Snapshot;
use super::{tables, text};

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

/// Writes the exposition.
///
/// # Errors
///
/// None that a `String` could cause; the encoder's type has one.
pub fn render(snapshot: &Arc<Snapshot>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(Arc::clone(snapshot))));
    let mut open_metrics = String::new();
    prometheus_client::encoding::text::encode(&mut open_metrics, &registry)?;
    Ok(match format {
        Format::OpenMetrics => open_metrics,
        Format::Prometheus => text::from_open_metrics(&open_metrics),
    })
}

#[derive(Debug)]
struct Exposition(Arc<Snapshot>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        tables::families(&self.0).try_for_each(|family| write(&family, &mut encoder))
    }
}

fn write(family: &Family<'_>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Metric { name, kind, help, .. } = family.metric;
    let unit = family.metric.unit().map(|unit| Unit::Other(unit.to_owned()));
    // The encoder adds the unit to the name.
    let name = match &unit {
        Some(unit) => {
            name.strip_suffix(unit.as_str()).and_then(|name| name.strip_suffix('_')).unwrap_or(name)
        }
        None => name,
    };
    let kind = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
    let has_labels = family.labels().next().is_some();
    let mut write = |sample: &Sample<'_>| match family.metric.kind {
        Kind::Info => metric.encode_info(sample),
        _ if has_labels => write_value(family.metric, sample, &mut metric.encode_family(sample)?),
        _ => write_value(family.metric, sample, &mut metric),
    };
    let mut result = Ok(());
    family.each(|sample| result = result.and_then(|()| write(sample)));
    result
}

fn write_value(metric: &Metric, sample: &Sample<'_>, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match (sample.value, metric.kind) {
        (Value::Unsigned(count), Kind::Counter) => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
        (Value::Real(count), Kind::Counter) => encoder.encode_counter::<NoLabelSet, _, f64>(&count, None),
        (Value::Unsigned(value), _) => encoder.encode_gauge(&value),
        (Value::Signed(value), _) => encoder.encode_gauge(&value),
        (Value::Real(value), _) => encoder.encode_gauge(&value),
        (Value::Distribution(distribution), _) => {
            let bounds = distribution.bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(distribution.counts.iter().copied()).collect();
            let count = distribution.counts.iter().sum();
            encoder.encode_histogram::<NoLabelSet>(distribution.sum, count, &buckets, None)
        }
    }
}

impl EncodeLabelSet for Sample<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.labels().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}
