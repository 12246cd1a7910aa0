//! Read with prost, which is another reading of the encoding, and compared with OpenMetrics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prost::Message as _;

use super::*;
use crate::expose::prometheus::{Format, render};

#[derive(Clone, PartialEq, prost::Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    unit: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LabelPair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Gauge {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Span {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
}

/// Samples by name and labels.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

fn insert(samples: &mut Samples, name: String, labels: BTreeMap<String, String>, value: f64) {
    let series = (name, labels);
    assert!(!samples.contains_key(&series), "{series:?} is written twice");
    samples.insert(series, value);
}

/// Samples of families in protobuf as Prometheus reads them, and their starts.
fn of_protobuf(families: &[MetricFamily]) -> Samples {
    let mut samples = Samples::new();
    for family in families {
        let name = family.name.clone().unwrap();
        for metric in &family.metric {
            let label = |pair: &LabelPair| (pair.name.clone().unwrap(), pair.value.clone().unwrap());
            let labels: BTreeMap<_, _> = metric.label.iter().map(label).collect();
            assert_eq!(labels.len(), metric.label.len(), "{name} has a label twice");
            let mut add = |suffix: &str, value| {
                insert(&mut samples, format!("{name}{suffix}"), labels.clone(), value);
            };
            let created = match (family.kind, &metric.counter, &metric.gauge, &metric.histogram) {
                (Some(0), Some(counter), None, None) => {
                    add("", counter.value.unwrap());
                    &counter.created
                }
                (Some(1), None, Some(gauge), None) => {
                    add("", gauge.value.unwrap());
                    &None
                }
                (Some(4), None, None, Some(histogram)) => {
                    add("_sum", histogram.sum.unwrap());
                    add("_count", histogram.count.unwrap() as f64);
                    &histogram.created
                }
                _ => panic!("the type of {name} is not that of its values"),
            };
            if let Some(created) = created {
                let name = name.strip_suffix("_total").unwrap_or(&name);
                let seconds = created.seconds.unwrap() as f64;
                insert(&mut samples, format!("{name}_created"), labels.clone(), seconds);
            }
            let Some(histogram) = &metric.histogram else { continue };
            assert_same_kinds(&name, histogram);
            let buckets = histogram.bucket.iter().map(|bucket| (bucket.upper_bound, bucket.cumulative_count));
            for (bound, count) in buckets.chain([(Some(f64::INFINITY), histogram.count)]) {
                let mut labels = labels.clone();
                labels.insert("le".to_owned(), bound.unwrap().to_string());
                insert(&mut samples, format!("{name}_bucket"), labels, count.unwrap() as f64);
            }
        }
    }
    samples
}

/// The native histogram has as many observations as the classic one, in all and below each bound of that.
fn assert_same_kinds(name: &str, histogram: &Histogram) {
    let bins = native(histogram);
    let below = |bound| bins.iter().filter(|(end, _)| *end <= bound).map(|(_, count)| count).sum::<u64>();
    assert_eq!(histogram.count, Some(below(f64::INFINITY)), "{name}");
    for bucket in &histogram.bucket {
        let bound = bucket.upper_bound.unwrap();
        assert_eq!(bucket.cumulative_count, Some(below(bound)), "{name} up to {bound}");
    }
}

/// The bins of a native histogram, where they end, as its specification has it.
fn native(histogram: &Histogram) -> Vec<(f64, u64)> {
    assert_eq!(histogram.schema, Some(0));
    let mut bins = vec![(histogram.zero_threshold.unwrap(), histogram.zero_count.unwrap())];
    let (mut index, mut count) = (0, 0);
    let mut deltas = histogram.positive_delta.iter();
    for span in &histogram.positive_span {
        index += span.offset.unwrap();
        for _ in 0..span.length.unwrap() {
            count += deltas.next().unwrap();
            bins.push((2_f64.powi(index), count.try_into().unwrap()));
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    assert!(bins[0].0 > 0.0 && bins.is_sorted_by(|(one, _), (other, _)| one < other), "{bins:?}");
    bins
}

/// Samples of OpenMetrics.
fn of_text(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels = BTreeMap::new();
        while let Some((label, quoted)) = rest.split_once("=\"") {
            let (mut value, mut end, mut escaped) = (String::new(), 0, false);
            for (at, character) in quoted.char_indices() {
                match (std::mem::take(&mut escaped), character) {
                    (false, '"') => {
                        end = at + 1;
                        break;
                    }
                    (false, '\\') => escaped = true,
                    (true, 'n') => value.push('\n'),
                    _ => value.push(character),
                }
            }
            if label == "le" {
                value = value.parse::<f64>().unwrap().to_string();
            }
            labels.insert(label.to_owned(), value);
            rest = quoted[end..].trim_start_matches(',');
        }
        assert_eq!(rest, "}", "{line}");
        insert(&mut samples, name.to_owned(), labels, value.parse().unwrap());
    }
    samples
}

fn families(view: &Snapshot, reader: Reader<'_>) -> Vec<MetricFamily> {
    let mut bytes = Vec::new();
    write(view, reader, &mut bytes).unwrap();
    let (mut left, mut families) = (bytes.as_slice(), Vec::new());
    while !left.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut left).unwrap());
    }
    families
}

/// Both formats show a reader the same samples and starts.
pub(in crate::expose) fn assert_same(view: &Arc<Snapshot>, reader: Reader<'_>) {
    let text = render(view, Format::OpenMetrics { created: true }, reader).unwrap();
    let (protobuf, text) = (of_protobuf(&families(view, reader)), of_text(&text));
    for (series, value) in &text {
        assert_eq!(protobuf.get(series), Some(value), "{series:?}");
    }
    assert_eq!(protobuf.len(), text.len());
}

#[test]
fn every_sample_is_that_of_the_text() {
    let view = Arc::new(tables::tests::full());
    assert_same(&view, Reader::FRANK);
    assert!(families(&view, Reader::FRANK).iter().map(|family| family.metric.len()).sum::<usize>() > 100);
}

#[test]
fn native_histograms_have_each_observation_in_its_bin() {
    let view = tables::tests::full();
    let families = families(&view, Reader::FRANK);
    let histogram = |name: &str| {
        let family = families.iter().find(|family| family.name.as_deref() == Some(name)).unwrap();
        native(family.metric[0].histogram.as_ref().unwrap())
    };
    let used = |name: &str| histogram(name).into_iter().filter(|(_, count)| *count != 0).collect::<Vec<_>>();
    // Twice up to 488 µs, and once above 64 s.
    assert_eq!(used("netcause_tcp_connect_duration_seconds"), [(0.000_488_281_25, 2), (128.0, 1)]);
    assert_eq!(used("netcause_tcp_min_rtt_seconds"), [(0.000_061_035_156_25, 5)]);
    assert_eq!(used("netcause_tcp_unanswered_age_seconds"), [(1.0, 3)]);
}

#[test]
fn types_help_and_units_are_those_of_the_tables() {
    let view = tables::tests::full();
    let declared: HashMap<_, _> =
        tables::families(&view).map(|family| (family.metric.name, family.metric)).collect();
    let families = families(&view, Reader::FRANK);
    assert_eq!(families.len(), declared.len());
    for family in families {
        let name = family.name.unwrap();
        let (name, kind) = match family.kind {
            Some(0) => (name.strip_suffix("_total").unwrap(), Kind::Counter),
            Some(4) => (name.as_str(), Kind::Histogram),
            _ => match name.strip_suffix("_info") {
                Some(name) => (name, Kind::Info),
                None => (name.as_str(), Kind::Gauge),
            },
        };
        let metric = declared[name];
        assert_eq!((metric.kind, Some(metric.help)), (kind, family.help.as_deref()), "{name}");
        assert_eq!(metric.unit(), family.unit.as_deref(), "{name}");
    }
}

#[test]
fn lengths_of_every_size_are_read() {
    for length in [0, 1, 127, 128, 300, 16_383, 16_384, 3_000_000] {
        let text = "x".repeat(length);
        let mut message = Message::default();
        message.message(field::metric::LABEL, |to| to.parts(field::label::VALUE, &[&text]));
        message.message(field::metric::GAUGE, |to| to.double(field::VALUE, 1.5));
        let read = Metric::decode(message.0.as_slice()).unwrap();
        assert_eq!(read.label[0].value.as_ref(), Some(&text));
        assert_eq!(read.gauge.and_then(|gauge| gauge.value), Some(1.5));
    }
}
