//! A view as metrics of OTLP: the tables of the exposition, written as messages of
//! opentelemetry/proto/metrics/v1/metrics.proto.
//!
//! Names, units and types are converted as the specification has it for Prometheus
//! (specification/compatibility/prometheus_and_openmetrics.md): names stay as they are queried, so that dashboards and rules work
//! with either way of transport. Counters are monotonic, cumulative sums, histograms have explicit bounds, an info is a sum that is
//! not monotonic. Each has the time when it was zero last, which the exposition has as well.

use super::body::{self, Body};
use super::resource::{attribute, scope};
use crate::expose::births::{Reader, grows};
use crate::expose::protobuf::Message;
use crate::expose::series::{Distribution, Family, Kind, Metric, Sample, Value};
use crate::expose::snapshot::Snapshot;
use crate::expose::tables;

/// A message is sent when it has so many bytes: with JSON for Kafka, whose messages have 1 MB at most, it is a few times as
/// long.
const ENOUGH: usize = 128 << 10;

/// Field numbers.
mod field {
    /// Of `ExportMetricsServiceRequest`.
    pub const RESOURCE_METRICS: u32 = 1;
    pub const RESOURCE: u32 = 1;
    pub const SCOPE_METRICS: u32 = 2;
    pub const SCOPE: u32 = 1;
    pub const METRICS: u32 = 2;
    pub mod metric {
        pub const NAME: u32 = 1;
        pub const DESCRIPTION: u32 = 2;
        pub const UNIT: u32 = 3;
        pub const GAUGE: u32 = 5;
        pub const SUM: u32 = 7;
        pub const HISTOGRAM: u32 = 9;
        pub const METADATA: u32 = 12;
    }
    /// Of a gauge, a sum and a histogram.
    pub const DATA_POINTS: u32 = 1;
    /// Of a sum and a histogram.
    pub const TEMPORALITY: u32 = 2;
    pub const IS_MONOTONIC: u32 = 3;
    pub mod point {
        pub const START: u32 = 2;
        pub const TIME: u32 = 3;
        pub const AS_DOUBLE: u32 = 4;
        pub const AS_INT: u32 = 6;
        pub const ATTRIBUTES: u32 = 7;
    }
    pub mod histogram {
        pub const START: u32 = 2;
        pub const TIME: u32 = 3;
        pub const COUNT: u32 = 4;
        pub const SUM: u32 = 5;
        pub const BUCKET_COUNTS: u32 = 6;
        pub const EXPLICIT_BOUNDS: u32 = 7;
        pub const ATTRIBUTES: u32 = 9;
    }
}

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// All metrics of a view, in bodies that are passed on as they are full. What grows and is new to the reader is left out.
pub fn write(snapshot: &Snapshot, reader: Reader<'_>, resource: &[u8], take: impl FnMut(Body)) {
    let time = snapshot.read_at.saturating_mul(body::NANOSECONDS);
    let mut writer = Writer { resource, scope: scope(), metrics: Message::default(), points: 0, take };
    for family in tables::families(snapshot) {
        let mut written = Points::default();
        family.each(|sample| {
            if grows(family.metric.kind) && reader.sees_zero(sample) {
                return;
            }
            written.add(&family, sample, reader, time);
            if writer.metrics.0.len() + written.message.0.len() >= ENOUGH {
                writer.metric(family.metric, &mut written);
                writer.end();
            }
        });
        writer.metric(family.metric, &mut written);
    }
    writer.end();
}

/// Data points of one metric.
#[derive(Default)]
struct Points {
    message: Message,
    count: u64,
}

impl Points {
    fn add(&mut self, family: &Family<'_>, sample: &Sample<'_>, reader: Reader<'_>, time: u64) {
        let start = if grows(family.metric.kind) { reader.start(sample) } else { None };
        let start = start.map(|seconds| u64::from(seconds).saturating_mul(body::NANOSECONDS));
        self.count += 1;
        self.message.message(field::DATA_POINTS, |to| match sample.value {
            Value::Distribution(distribution) => histogram(sample, &distribution, start, time, to),
            value => number(sample, value, start, time, to),
        });
    }
}

struct Writer<'a, F> {
    resource: &'a [u8],
    scope: Vec<u8>,
    /// Metrics that are complete, each as a field of `ScopeMetrics`.
    metrics: Message,
    /// Data points in them.
    points: u64,
    take: F,
}

impl<F: FnMut(Body)> Writer<'_, F> {
    /// Completes a metric, if there are points of it.
    fn metric(&mut self, metric: &Metric, points: &mut Points) {
        let Points { message, count } = std::mem::take(points);
        if count == 0 {
            return;
        }
        self.points += count;
        self.metrics.message(field::METRICS, |to| {
            to.parts(field::metric::NAME, &[&metric.sample_name()]);
            to.parts(field::metric::DESCRIPTION, &[metric.help]);
            if let Some(unit) = metric.unit().and_then(unit) {
                to.parts(field::metric::UNIT, &[unit]);
            }
            let (number, kind) = match metric.kind {
                Kind::Counter => (field::metric::SUM, "counter"),
                Kind::Info => (field::metric::SUM, "info"),
                Kind::Gauge => (field::metric::GAUGE, "gauge"),
                Kind::Histogram => (field::metric::HISTOGRAM, "histogram"),
            };
            to.message(number, |to| {
                to.0.extend_from_slice(&message.0);
                if metric.kind != Kind::Gauge {
                    to.number(field::TEMPORALITY, CUMULATIVE);
                }
                if metric.kind == Kind::Counter {
                    to.number(field::IS_MONOTONIC, 1);
                }
            });
            attribute(field::metric::METADATA, "prometheus.type", kind, to);
        });
    }

    /// Completes a body, if there is something in it.
    fn end(&mut self) {
        if self.points == 0 {
            return;
        }
        let (metrics, points) = (std::mem::take(&mut self.metrics), std::mem::take(&mut self.points));
        let mut request = Message::default();
        request.message(field::RESOURCE_METRICS, |to| {
            to.whole(field::RESOURCE, self.resource);
            to.message(field::SCOPE_METRICS, |to| {
                to.whole(field::SCOPE, &self.scope);
                to.0.extend_from_slice(&metrics.0);
            });
        });
        (self.take)(Body::compressed(&request.0, points));
    }
}

/// The unit by UCUM.
fn unit(word: &str) -> Option<&'static str> {
    match word {
        "seconds" => Some("s"),
        "bytes" => Some("By"),
        _ => None,
    }
}

/// The fields of a `NumberDataPoint`.
fn number(sample: &Sample<'_>, value: Value<'_>, start: Option<u64>, time: u64, to: &mut Message) {
    sample.labels().for_each(|(name, value)| attribute(field::point::ATTRIBUTES, name, value, to));
    if let Some(start) = start {
        to.fixed(field::point::START, start);
    }
    to.fixed(field::point::TIME, time);
    let integer = match value {
        Value::Unsigned(value) => i64::try_from(value).map_err(|_| value as f64),
        Value::Signed(value) => Ok(value),
        Value::Real(value) => Err(value),
        // Of a histogram.
        Value::Distribution(distribution) => Err(distribution.sum),
    };
    match integer {
        Ok(value) => to.fixed(field::point::AS_INT, value.cast_unsigned()),
        Err(value) => to.double(field::point::AS_DOUBLE, value),
    }
}

/// The fields of a `HistogramDataPoint`. Its buckets hold what is above their lower bound and up to their upper one, as ours.
fn histogram(
    sample: &Sample<'_>,
    distribution: &Distribution<'_>,
    start: Option<u64>,
    time: u64,
    to: &mut Message,
) {
    let (bounds, counts): (Vec<_>, Vec<_>) = distribution.classic().unzip();
    sample.labels().for_each(|(name, value)| attribute(field::histogram::ATTRIBUTES, name, value, to));
    if let Some(start) = start {
        to.fixed(field::histogram::START, start);
    }
    to.fixed(field::histogram::TIME, time);
    to.fixed(field::histogram::COUNT, distribution.count());
    to.double(field::histogram::SUM, distribution.sum);
    to.packed(field::histogram::BUCKET_COUNTS, counts.iter().copied());
    // The bucket that ends at infinity has no bound here.
    let bounds = bounds.get(..bounds.len() - 1).unwrap_or_default();
    to.packed(field::histogram::EXPLICIT_BOUNDS, bounds.iter().map(|bound| bound.to_bits()));
}

#[cfg(test)]
mod tests;
