//! What is written is read by the messages of the OpenTelemetry project (opentelemetry-proto).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use netcause_core::diagnose::finding::Finding;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::expose::findings::tests::finding;
use crate::otlp::Resource;
use crate::otlp::body::NANOSECONDS;

fn dated(confidence: Confidence, until: Option<u64>) -> Dated {
    Dated { finding: Arc::new(Finding { confidence, ..finding() }), since: 1_000, until }
}

fn records(all: &[Happened]) -> Vec<LogRecord> {
    let resource = Resource { node: "node-17".to_owned(), ..Resource::default() };
    let body = write(all, "node-17", &resource.encoded());
    assert_eq!(body.items, all.len() as u64);
    let mut bytes = Vec::new();
    GzDecoder::new(&*body.bytes).read_to_end(&mut bytes).unwrap();
    let request = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();
    assert!(request.resource_logs[0].resource.as_ref().unwrap().attributes.len() > 3);
    request.resource_logs[0].scope_logs[0].log_records.clone()
}

/// An attribute's value as JSON.
fn value(any: &Any) -> Value {
    let of = |any: &Option<opentelemetry_proto::tonic::common::v1::AnyValue>| {
        any.as_ref().and_then(|any| any.value.as_ref()).map_or(Value::Null, value)
    };
    match any {
        Any::StringValue(text) => json!(text),
        Any::IntValue(int) => json!(int),
        Any::DoubleValue(real) => json!(real),
        Any::BoolValue(is) => json!(is),
        Any::ArrayValue(all) => all.values.iter().map(|any| of(&Some(any.clone()))).collect(),
        Any::KvlistValue(all) => all
            .values
            .iter()
            .map(|pair| (pair.key.clone(), of(&pair.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("{other:?}"),
    }
}

fn attributes(record: &LogRecord) -> BTreeMap<String, Value> {
    let pair = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (pair.key.clone(), value(pair.value.as_ref().unwrap().value.as_ref().unwrap()))
    };
    record.attributes.iter().map(pair).collect()
}

#[test]
fn begin_change_and_end_are_records() {
    let ended = Turn::Ended(dated(Confidence::High, Some(1_060)), Duration::from_secs(60));
    let turns = [
        Turn::Began(dated(Confidence::Low, None)),
        Turn::Surer(dated(Confidence::Medium, None)),
        Turn::Surer(dated(Confidence::High, None)),
        ended,
    ];
    let records = records(&turns.map(|turn| Happened { turn, at: 1_100 }));
    let shown: Vec<_> = records
        .iter()
        .map(|record| {
            let seconds = record.time_unix_nano / NANOSECONDS;
            (record.event_name.as_str(), record.severity_number, record.severity_text.as_str(), seconds)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("netcause.finding.began", 9, "INFO", 1_100),
            ("netcause.finding.surer", 13, "WARN", 1_100),
            ("netcause.finding.surer", 17, "ERROR", 1_100),
            ("netcause.finding.ended", 9, "INFO", 1_060),
        ]
    );
    assert!(records.iter().all(|record| record.observed_time_unix_nano == 1_100 * NANOSECONDS));
    let body = records[0].body.clone().unwrap().value.unwrap();
    assert_eq!(value(&body), json!(finding().summary));
}

/// Every field of the contract is an attribute with the same value: objects field by field, lists as they are.
#[test]
fn the_attributes_are_the_contract() {
    let turn = Turn::Began(dated(Confidence::High, None));
    let [record] = &records(&[Happened { turn, at: 1 }])[..] else { panic!() };
    let attributes = attributes(record);
    let mut row = serde_json::to_value(Row::new(&dated(Confidence::High, None), "node-17")).unwrap();
    for path in ["/evidence", "/counter_evidence", "/missing_evidence", "/affected"] {
        // As attributes, `null` is left out.
        for one in row.pointer_mut(path).unwrap().as_array_mut().unwrap() {
            one.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
    }
    let mut compared = 0;
    let mut compare = |key: String, value: &Value| {
        assert_eq!(attributes.get(&key), Some(value).filter(|value| !value.is_null()), "{key}");
        compared += 1;
    };
    for (key, value) in row.as_object().unwrap() {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::Object(fields) => fields.iter().for_each(|(inner, value)| {
                            compare(format!("netcause.finding.{key}.{name}.{inner}"), value);
                        }),
                        value => compare(format!("netcause.finding.{key}.{name}"), value),
                    }
                }
            }
            value => compare(format!("netcause.finding.{key}"), value),
        }
    }
    assert!(compared > 20, "{compared}");
    assert_eq!(attributes["error.type"], json!(finding().cause.label()));
    let Subject::Edge(pair) = finding().subject else { panic!() };
    assert_eq!(attributes["server.port"], json!(pair.port.unwrap()));
    assert_eq!(attributes["k8s.namespace.name"], json!(pair.destination.namespace()));
}

#[test]
fn an_interface_has_its_conventional_name() {
    let subject = Subject::Interface("eth0".to_owned());
    let finding = Arc::new(Finding { subject, ..finding() });
    let turn = Turn::Began(Dated { finding, since: 1, until: None });
    let [record] = &records(&[Happened { turn, at: 1 }])[..] else { panic!() };
    let attributes = attributes(record);
    assert_eq!(attributes["network.interface.name"], json!("eth0"));
    assert!(!attributes.contains_key("server.port"));
}
