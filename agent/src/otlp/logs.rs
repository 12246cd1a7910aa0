//! What happens to findings as log records of opentelemetry/proto/logs/v1/logs.proto.
//!
//! The attributes are the fields of `/api/v1/findings` below `netcause.finding`, by the same types, so that there is one contract;
//! and those of the semantic conventions that say the same: `error.type`, `server.port`, `k8s.namespace.name` and
//! `network.interface.name`.

use netcause_core::diagnose::Turn;
use netcause_core::diagnose::cause::Confidence;
use netcause_core::diagnose::finding::{Dated, Subject};
use serde_json::Value;

use super::body::{self, Body};
use super::resource::{any, attribute, json_attribute, scope};
use crate::expose::findings::Row;
use crate::expose::protobuf::Message;

/// Log records in a body at most. Each has a few thousand bytes, and some twenty thousand with the longest lists in JSON, of which a message
/// of Kafka has a million at most.
pub const MOST: usize = 16;

/// Field numbers.
mod field {
    /// Of `ExportLogsServiceRequest`.
    pub const RESOURCE_LOGS: u32 = 1;
    pub const RESOURCE: u32 = 1;
    pub const SCOPE_LOGS: u32 = 2;
    pub const SCOPE: u32 = 1;
    pub const LOG_RECORDS: u32 = 2;
    pub mod record {
        pub const TIME: u32 = 1;
        pub const SEVERITY_NUMBER: u32 = 2;
        pub const SEVERITY_TEXT: u32 = 3;
        pub const BODY: u32 = 5;
        pub const ATTRIBUTES: u32 = 6;
        pub const OBSERVED: u32 = 11;
        pub const EVENT_NAME: u32 = 12;
    }
}

/// Something that happened to a finding, and when, in seconds since 1970.
#[derive(Clone, Debug)]
pub struct Happened {
    /// What.
    pub turn: Turn,
    /// When that was known: the end of the window that was judged.
    pub at: u64,
}

/// Log records, in one body.
pub fn write(all: &[Happened], node: &str, resource: &[u8]) -> Body {
    let mut request = Message::default();
    request.message(field::RESOURCE_LOGS, |to| {
        to.whole(field::RESOURCE, resource);
        to.message(field::SCOPE_LOGS, |to| {
            to.whole(field::SCOPE, &scope());
            for happened in all {
                to.message(field::LOG_RECORDS, |to| record(happened, node, to));
            }
        });
    });
    Body::compressed(&request.0, all.len() as u64)
}

/// The fields of a `LogRecord`.
fn record(Happened { turn, at }: &Happened, node: &str, to: &mut Message) {
    let (name, dated) = match turn {
        Turn::Began(dated) => ("netcause.finding.began", dated),
        Turn::Surer(dated) => ("netcause.finding.surer", dated),
        Turn::Ended(dated, _) => ("netcause.finding.ended", dated),
    };
    let Dated { finding, until, .. } = dated;
    // logs/data-model.md, "Field: SeverityNumber".
    let (severity, text) = match (until, finding.confidence) {
        (Some(_), _) | (None, Confidence::Low) => (9, "INFO"),
        (None, Confidence::Medium) => (13, "WARN"),
        (None, Confidence::High) => (17, "ERROR"),
    };
    let at = at.saturating_mul(body::NANOSECONDS);
    to.fixed(field::record::TIME, until.map_or(at, |until| until.saturating_mul(body::NANOSECONDS)));
    to.fixed(field::record::OBSERVED, at);
    to.number(field::record::SEVERITY_NUMBER, severity);
    to.parts(field::record::SEVERITY_TEXT, &[text]);
    to.parts(field::record::EVENT_NAME, &[name]);
    to.message(field::record::BODY, |to| any(&Value::from(finding.summary.as_str()), to));
    attribute(field::record::ATTRIBUTES, "error.type", finding.cause.label(), to);
    conventional(&finding.subject, to);
    // It has names of fields alone that are text, and no number that JSON has not.
    if let Ok(Value::Object(fields)) = serde_json::to_value(Row::new(dated, node)) {
        for (key, value) in &fields {
            flat(&format!("netcause.finding.{key}"), value, to);
        }
    }
}

/// An object as an attribute for each of its fields; lists stay lists.
fn flat(key: &str, value: &Value, to: &mut Message) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flat(&format!("{key}.{name}"), value, to));
        }
        value => json_attribute(field::record::ATTRIBUTES, key, value, to),
    }
}

/// What the semantic conventions have a name for.
fn conventional(subject: &Subject, to: &mut Message) {
    let (workload, port) = match subject {
        Subject::Edge(pair) | Subject::DnsServer(pair) => (Some(&pair.destination), pair.port),
        Subject::Workload(workload) => (Some(workload), None),
        Subject::Listener(workload, port) => (Some(workload), *port),
        Subject::Node | Subject::NodePair(_) => (None, None),
        Subject::Interface(device) => {
            attribute(field::record::ATTRIBUTES, "network.interface.name", device, to);
            (None, None)
        }
    };
    if let Some(port) = port {
        json_attribute(field::record::ATTRIBUTES, "server.port", &Value::from(port), to);
    }
    if let Some(namespace) = workload.map(|workload| workload.namespace()).filter(|name| !name.is_empty()) {
        attribute(field::record::ATTRIBUTES, "k8s.namespace.name", namespace, to);
    }
}

#[cfg(test)]
mod tests;
