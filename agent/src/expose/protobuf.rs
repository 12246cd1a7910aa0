//! The protobuf format of Prometheus: a writer of the tables.
//!
//! It has the start of each counter and histogram as a field, where the text formats have another series (`_created`), and
//! each histogram as a native one beside the classic one, of which Prometheus takes what it is set up for. The messages are those of prometheus/client_model, io/prometheus/client/metrics.proto, each with its
//! length before it.
//!
//! A library such as prost wants a family as a tree of owned values first; written as it is read, it takes the bytes of one
//! family.

mod message;

use std::io::{self, Write};

use super::births::{Reader, grows};
use super::series::{Distribution, Family, Kind, Native, Sample, Value};
use super::snapshot::Snapshot;
use super::tables;
pub use message::Message;

/// The value of the header Content-Type.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Field numbers of metrics.proto.
mod field {
    pub mod family {
        pub const NAME: u32 = 1;
        pub const HELP: u32 = 2;
        pub const TYPE: u32 = 3;
        pub const METRIC: u32 = 4;
        pub const UNIT: u32 = 5;
    }
    pub mod metric {
        pub const LABEL: u32 = 1;
        pub const GAUGE: u32 = 2;
        pub const COUNTER: u32 = 3;
        pub const HISTOGRAM: u32 = 7;
    }
    pub mod label {
        pub const NAME: u32 = 1;
        pub const VALUE: u32 = 2;
    }
    /// Of a gauge and of a counter.
    pub const VALUE: u32 = 1;
    pub const COUNTER_CREATED: u32 = 3;
    pub mod histogram {
        pub const COUNT: u32 = 1;
        pub const SUM: u32 = 2;
        pub const BUCKET: u32 = 3;
        pub const SCHEMA: u32 = 5;
        pub const ZERO_THRESHOLD: u32 = 6;
        pub const ZERO_COUNT: u32 = 7;
        pub const POSITIVE_SPAN: u32 = 12;
        pub const POSITIVE_DELTA: u32 = 13;
        pub const CREATED: u32 = 15;
    }
    pub mod span {
        pub const OFFSET: u32 = 1;
        pub const LENGTH: u32 = 2;
    }
    pub mod bucket {
        pub const CUMULATIVE_COUNT: u32 = 1;
        pub const UPPER_BOUND: u32 = 2;
    }
    /// Of google.protobuf.Timestamp.
    pub const SECONDS: u32 = 1;
}

/// Writes the exposition as this reader gets it, a family at a time. Families without samples are left out.
///
/// # Errors
///
/// Those of the writer.
pub fn write(snapshot: &Snapshot, reader: Reader<'_>, to: &mut dyn Write) -> io::Result<()> {
    let (mut message, mut length) = (Message::default(), Message::default());
    for family in tables::families(snapshot) {
        message.0.clear();
        if write_family(&family, reader, &mut message) {
            length.0.clear();
            length.varint(message.0.len() as u64);
            to.write_all(&length.0)?;
            to.write_all(&message.0)?;
        }
    }
    Ok(())
}

/// A `MetricFamily`; false when it has no sample.
fn write_family(family: &Family<'_>, reader: Reader<'_>, to: &mut Message) -> bool {
    let metric = family.metric;
    // Names as in the text format 0.0.4, which has no info.
    let (suffix, kind) = match metric.kind {
        Kind::Counter => ("_total", 0),
        Kind::Gauge => ("", 1),
        Kind::Info => ("_info", 1),
        Kind::Histogram => ("", 4),
    };
    to.parts(field::family::NAME, &[metric.name, suffix]);
    to.parts(field::family::HELP, &[metric.help]);
    to.number(field::family::TYPE, kind);
    if let Some(unit) = metric.unit() {
        to.parts(field::family::UNIT, &[unit]);
    }
    let mut has_samples = false;
    family.each(|sample| {
        has_samples = true;
        to.message(field::family::METRIC, |to| write_metric(metric.kind, sample, reader, to));
    });
    has_samples
}

/// A `Metric`.
fn write_metric(kind: Kind, sample: &Sample<'_>, reader: Reader<'_>, to: &mut Message) {
    for (name, value) in sample.labels() {
        to.message(field::metric::LABEL, |to| {
            to.parts(field::label::NAME, &[name]);
            to.parts(field::label::VALUE, &[value]);
        });
    }
    let (is_zero, start) =
        if grows(kind) { (reader.sees_zero(sample), reader.start(sample)) } else { (false, None) };
    let value = match sample.value {
        Value::Distribution(distribution) => {
            return to.message(field::metric::HISTOGRAM, |to| {
                let distribution = if is_zero { distribution.at_zero() } else { distribution };
                write_histogram(&distribution, to);
                write_start(field::histogram::CREATED, start, to);
            });
        }
        _ if is_zero => 0.0,
        Value::Unsigned(value) => value as f64,
        Value::Signed(value) => value as f64,
        Value::Real(value) => value,
    };
    let field = if kind == Kind::Counter { field::metric::COUNTER } else { field::metric::GAUGE };
    to.message(field, |to| {
        to.double(field::VALUE, value);
        write_start(field::COUNTER_CREATED, start, to);
    });
}

/// The fields of a `Histogram` but for its start. The bucket without a bound is the count.
fn write_histogram(distribution: &Distribution<'_>, to: &mut Message) {
    to.number(field::histogram::COUNT, distribution.count());
    to.double(field::histogram::SUM, distribution.sum);
    let mut cumulative = 0;
    for (bound, count) in distribution.classic().filter(|(bound, _)| bound.is_finite()) {
        cumulative += count;
        to.message(field::histogram::BUCKET, |to| {
            to.number(field::bucket::CUMULATIVE_COUNT, cumulative);
            to.double(field::bucket::UPPER_BOUND, bound);
        });
    }
    write_native(&distribution.native(), to);
}

/// The fields of a `Histogram` that make it a native one. The threshold, which is never 0, says so before the first observation.
fn write_native(native: &Native<'_>, to: &mut Message) {
    to.signed(field::histogram::SCHEMA, 0);
    to.double(field::histogram::ZERO_THRESHOLD, native.zero_threshold);
    to.number(field::histogram::ZERO_COUNT, native.zero_count);
    if native.counts.is_empty() {
        return;
    }
    to.message(field::histogram::POSITIVE_SPAN, |to| {
        to.signed(field::span::OFFSET, native.offset.into());
        to.number(field::span::LENGTH, native.counts.len() as u64);
    });
    let mut before = 0;
    for count in native.counts {
        to.signed(field::histogram::POSITIVE_DELTA, count.wrapping_sub(before).cast_signed());
        before = *count;
    }
}

fn write_start(field: u32, start: Option<u32>, to: &mut Message) {
    if let Some(seconds) = start {
        to.message(field, |to| to.number(field::SECONDS, seconds.into()));
    }
}

#[cfg(test)]
pub(super) mod tests;
