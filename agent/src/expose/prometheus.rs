//! The formats of the exposition, and the writer of those that are text.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::births::{Reader, grows};
use super::created::WithStarts;
use super::lines::{AsItIs, Lines, Rewrite};
use super::series::{Family, Kind, Metric, Sample, SampleId, Value};
use super::snapshot::Snapshot;
use super::text::FromOpenMetrics;
use super::{protobuf, tables};

/// Bytes that are handed on at once.
const BUFFER: usize = 32 << 10;

/// A format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics {
        /// With the start of each counter and histogram (`_created`).
        created: bool,
    },
    /// Prometheus text 0.0.4.
    Prometheus,
    /// Protobuf, always with the starts.
    Protobuf,
}

impl Format {
    /// The value of the header Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics { .. } => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::Protobuf => protobuf::CONTENT_TYPE,
        }
    }
}

/// Writes the exposition as this reader gets it.
///
/// # Errors
///
/// Those of the writer.
pub fn write(
    snapshot: &Arc<Snapshot>,
    format: Format,
    reader: Reader<'_>,
    to: &mut dyn Write,
) -> io::Result<()> {
    // Lines are short, and a compressor works by the piece.
    let mut buffered = BufWriter::with_capacity(BUFFER, to);
    match format {
        Format::Protobuf => protobuf::write(snapshot, reader, &mut buffered),
        Format::OpenMetrics { created: false } => text_to(snapshot, reader, AsItIs, &mut buffered),
        Format::OpenMetrics { created: true } => {
            text_to(snapshot, reader, WithStarts::new(starts(snapshot, reader)), &mut buffered)
        }
        Format::Prometheus => text_to(snapshot, reader, FromOpenMetrics::default(), &mut buffered),
    }?;
    buffered.flush()
}

/// Writes the output of prometheus-client, which is OpenMetrics, rewritten.
fn text_to(
    snapshot: &Arc<Snapshot>,
    reader: Reader<'_>,
    rewrite: impl Rewrite,
    to: &mut dyn Write,
) -> io::Result<()> {
    let mut registry = Registry::default();
    // A collector lives as long as its registry, which is longer than the reader: it takes what it needs.
    let zeros = zeros(snapshot, reader);
    registry.register_collector(Box::new(Exposition { snapshot: Arc::clone(snapshot), zeros }));
    let mut lines = Lines::new(rewrite, to);
    let written = prometheus_client::encoding::text::encode(&mut lines, &registry);
    lines.end(written)
}

/// A text format as text.
#[cfg(test)]
pub fn render(snapshot: &Arc<Snapshot>, format: Format, reader: Reader<'_>) -> io::Result<String> {
    let mut text = Vec::new();
    write(snapshot, format, reader, &mut text)?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// The samples of counters and histograms that this reader gets as 0; none for most views.
fn zeros(snapshot: &Snapshot, reader: Reader<'_>) -> HashSet<SampleId> {
    let mut zeros = HashSet::new();
    if reader.has_news() {
        each_that_grows(snapshot, |sample| {
            if reader.sees_zero(sample) {
                zeros.insert(sample.id());
            }
        });
    }
    zeros
}

/// The start of each sample of a counter or histogram, in the order in which they are written.
fn starts(snapshot: &Snapshot, reader: Reader<'_>) -> Vec<Option<u32>> {
    let mut starts = Vec::new();
    each_that_grows(snapshot, |sample| starts.push(reader.start(sample)));
    starts
}

fn each_that_grows(snapshot: &Snapshot, mut take: impl FnMut(&Sample<'_>)) {
    for family in tables::families(snapshot).filter(|family| grows(family.metric.kind)) {
        family.each(&mut take);
    }
}

#[derive(Debug)]
struct Exposition {
    snapshot: Arc<Snapshot>,
    /// Samples that are written as 0.
    zeros: HashSet<SampleId>,
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        tables::families(&self.snapshot)
            .try_for_each(|family| write_family(&family, &self.zeros, &mut encoder))
    }
}

fn write_family(
    family: &Family<'_>,
    zeros: &HashSet<SampleId>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
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
    let grows = grows(family.metric.kind);
    let mut written = HashSet::new();
    let mut write = |sample: &Sample<'_>| {
        // Rows with equal labels are one (`series::Rows`); Prometheus would drop the second.
        debug_assert!(written.insert(sample.id()), "{name} is written twice with the same labels");
        let is_zero = grows && !zeros.is_empty() && zeros.contains(&sample.id());
        match family.metric.kind {
            Kind::Info => metric.encode_info(sample),
            _ if has_labels => {
                write_value(family.metric, sample, is_zero, &mut metric.encode_family(sample)?)
            }
            _ => write_value(family.metric, sample, is_zero, &mut metric),
        }
    };
    let mut result = Ok(());
    family.each(|sample| result = result.and_then(|()| write(sample)));
    result
}

fn write_value(
    metric: &Metric,
    sample: &Sample<'_>,
    is_zero: bool,
    encoder: &mut MetricEncoder<'_>,
) -> fmt::Result {
    match (sample.value, metric.kind) {
        (Value::Unsigned(_) | Value::Real(_), Kind::Counter) if is_zero => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&0_u64, None)
        }
        (Value::Unsigned(count), Kind::Counter) => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
        (Value::Real(count), Kind::Counter) => encoder.encode_counter::<NoLabelSet, _, f64>(&count, None),
        (Value::Unsigned(value), _) => encoder.encode_gauge(&value),
        (Value::Signed(value), _) => encoder.encode_gauge(&value),
        (Value::Real(value), _) => encoder.encode_gauge(&value),
        (Value::Distribution(distribution), _) => {
            let distribution = if is_zero { distribution.at_zero() } else { distribution };
            let buckets: Vec<_> = distribution.classic().collect();
            encoder.encode_histogram::<NoLabelSet>(distribution.sum, distribution.count(), &buckets, None)
        }
    }
}

impl EncodeLabelSet for Sample<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.labels().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}
