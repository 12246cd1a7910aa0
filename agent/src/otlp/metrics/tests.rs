//! What is written is read by the messages of the OpenTelemetry project (opentelemetry-proto), and compared with the tables.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use flate2::read::GzDecoder;
use netcause_common::flow::TcpCounters;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{self as read, AggregationTemporality};
use prost::Message as _;

use super::*;
use crate::expose::births::{Births, ViewNumber};
use crate::expose::tables::tests::full;
use crate::otlp::Resource;

const STARTED: u64 = 1_700_000_000;
const READ: u64 = 1_700_000_090;

fn unpacked(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(&*body.bytes).read_to_end(&mut bytes).unwrap();
    bytes
}

fn bodies(snapshot: Snapshot) -> Vec<(ExportMetricsServiceRequest, Body)> {
    let view = Arc::new(Snapshot { read_at: READ, counts_since: Some(STARTED), ..snapshot });
    let mut births = Births::default();
    let number = births.follow(&view);
    let resource =
        Resource { node: "node-17".to_owned(), in_kubernetes: true, cluster: Some("prod".to_owned()) };
    let mut bodies = Vec::new();
    write(&view, births.reader(number), &resource.encoded(), |body| {
        let message = ExportMetricsServiceRequest::decode(unpacked(&body).as_slice()).unwrap();
        bodies.push((message, body));
    });
    bodies
}

/// The metrics of one request, of which there is one resource and one scope.
fn metrics(request: &ExportMetricsServiceRequest) -> &[read::Metric] {
    let [resource] = &request.resource_metrics[..] else { panic!("{request:?}") };
    let [scope] = &resource.scope_metrics[..] else { panic!("{request:?}") };
    assert_eq!(scope.scope.as_ref().unwrap().name, "netcause");
    &scope.metrics
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => (attribute.key.clone(), text.clone()),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(text).collect()
}

/// All data points as lines: name, labels, value.
fn lines(all: &[read::Metric]) -> Vec<String> {
    let mut lines = Vec::new();
    for metric in all {
        let name = &metric.name;
        match metric.data.as_ref().unwrap() {
            Data::Gauge(read::Gauge { data_points }) | Data::Sum(read::Sum { data_points, .. }) => {
                for point in data_points {
                    let value = match point.value.unwrap() {
                        Number::AsInt(value) => value as f64,
                        Number::AsDouble(value) => value,
                    };
                    lines.push(format!("{name} {:?} {value}", texts(&point.attributes)));
                }
            }
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1, "{name}");
                    assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>(), "{name}");
                    lines.push(format!(
                        "{name} {:?} {:?} {:?} {}",
                        texts(&point.attributes),
                        point.explicit_bounds,
                        point.bucket_counts,
                        point.sum.unwrap()
                    ));
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    lines
}

/// The same lines, from the tables.
fn expected(view: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for family in tables::families(view) {
        let name = family.metric.sample_name();
        family.each(|sample| {
            let labels: BTreeMap<_, _> =
                sample.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            lines.push(match sample.value {
                Value::Unsigned(value) => format!("{name} {labels:?} {}", value as f64),
                Value::Signed(value) => format!("{name} {labels:?} {}", value as f64),
                Value::Real(value) => format!("{name} {labels:?} {value}"),
                Value::Distribution(distribution) => {
                    let (mut bounds, counts): (Vec<_>, Vec<_>) = distribution.classic().unzip();
                    assert_eq!(bounds.pop(), Some(f64::INFINITY));
                    format!("{name} {labels:?} {bounds:?} {counts:?} {}", distribution.sum)
                }
            });
        });
    }
    lines
}

#[test]
fn every_sample_is_a_data_point() {
    let all = bodies(full());
    let written: Vec<String> = all.iter().flat_map(|(request, _)| lines(metrics(request))).collect();
    assert_eq!(written, expected(&full()));
    let items: u64 = all.iter().map(|(_, body)| body.items).sum();
    assert_eq!(items, written.len() as u64);
}

#[test]
fn each_kind_is_what_the_data_model_has_for_it() {
    let all = bodies(full());
    let mut kinds = BTreeMap::new();
    for metric in all.iter().flat_map(|(request, _)| metrics(request)) {
        let unit = metric.unit.as_str();
        let base = metric.name.trim_end_matches("_total");
        assert_eq!(unit == "s", base.ends_with("_seconds"), "{}", metric.name);
        assert_eq!(unit == "By", base.ends_with("_bytes"), "{}", metric.name);
        assert!(!metric.description.is_empty());
        let kind = texts(&metric.metadata)["prometheus.type"].clone();
        *kinds.entry(kind.clone()).or_insert(0) += 1;
        match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => {
                assert_eq!(kind, "gauge");
                assert!(gauge.data_points.iter().all(|point| point.start_time_unix_nano == 0));
            }
            Data::Sum(sum) => {
                assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
                assert_eq!(sum.is_monotonic, metric.name.ends_with("_total"), "{}", metric.name);
                assert_eq!(kind, if sum.is_monotonic { "counter" } else { "info" });
                let start = if sum.is_monotonic { STARTED * 1_000_000_000 } else { 0 };
                assert!(sum.data_points.iter().all(|point| point.start_time_unix_nano == start));
                assert!(sum.data_points.iter().all(|point| point.time_unix_nano == READ * 1_000_000_000));
            }
            Data::Histogram(histogram) => {
                assert_eq!(kind, "histogram");
                assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
                for point in &histogram.data_points {
                    assert_eq!(point.start_time_unix_nano, STARTED * 1_000_000_000);
                    assert_eq!(point.time_unix_nano, READ * 1_000_000_000);
                    assert!(point.explicit_bounds.is_sorted_by(|one, other| one < other));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}

#[test]
fn the_resource_says_who_sends() {
    let all = bodies(full());
    let resource = all[0].0.resource_metrics[0].resource.as_ref().unwrap();
    let expected = [
        ("host.name", "node-17"),
        ("k8s.cluster.name", "prod"),
        ("k8s.node.name", "node-17"),
        ("service.instance.id", "node-17"),
        ("service.name", "netcause"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(
        texts(&resource.attributes),
        expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    );
}

fn large(edges: u64) -> Snapshot {
    Snapshot::of_pairs(edges, TcpCounters { opened: 1, sent_bytes: u64::MAX, ..TcpCounters::ZERO })
}

#[test]
fn bodies_are_bounded_and_a_metric_may_be_in_several() {
    let all = bodies(large(3000));
    assert!(all.len() > 3, "{}", all.len());
    for (_, body) in &all {
        let bytes = unpacked(body).len();
        assert!(bytes < ENOUGH + 2048, "{bytes}");
        assert!(body.bytes.len() * 5 < bytes, "{} of {bytes}", body.bytes.len());
    }
    let mut names = all.iter().flat_map(|(request, _)| metrics(request)).map(|metric| &metric.name);
    assert!(names.clone().filter(|name| *name == "netcause_tcp_connections_opened_total").count() > 1);
    assert!(names.all(|name| !name.is_empty()));
}

#[test]
fn a_count_beyond_an_int64_is_a_double() {
    let all = bodies(large(1));
    let sent = all[0].0.resource_metrics[0].scope_metrics[0]
        .metrics
        .iter()
        .find(|metric| metric.name.contains("sent_bytes"))
        .unwrap();
    let Some(Data::Sum(sum)) = &sent.data else { panic!("{sent:?}") };
    assert_eq!(sum.data_points[0].value, Some(Number::AsDouble(u64::MAX as f64)));
}

#[test]
fn a_series_that_begins_later_is_left_out_once_and_was_zero_at_the_view_before() {
    let at = |read_at, edges| Arc::new(Snapshot { read_at, counts_since: Some(STARTED), ..large(edges) });
    let (mut births, mut seen) = (Births::default(), ViewNumber::default());
    let mut exports = Vec::new();
    for view in [at(READ, 1), at(READ + 60, 2), at(READ + 120, 2)] {
        let number = births.follow(&view);
        let mut starts = Vec::new();
        write(&view, births.reader(seen), &[], |body| {
            let request = ExportMetricsServiceRequest::decode(unpacked(&body).as_slice()).unwrap();
            let opened = metrics(&request).iter().find(|metric| metric.name.contains("opened"));
            let Some(Data::Sum(sum)) = opened.and_then(|opened| opened.data.as_ref()) else { return };
            starts.extend(sum.data_points.iter().map(|point| point.start_time_unix_nano / 1_000_000_000));
        });
        exports.push(starts);
        seen = number;
    }
    assert_eq!(exports, [vec![], vec![STARTED], vec![STARTED, READ]]);
}
