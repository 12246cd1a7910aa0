//! Who sends: the resource and the scope that every message begins with, and attributes.

use crate::expose::protobuf::Message;

/// Field numbers of opentelemetry/proto/common/v1/common.proto.
mod field {
    pub const ATTRIBUTE_KEY: u32 = 1;
    pub const ATTRIBUTE_VALUE: u32 = 2;
    pub const STRING: u32 = 1;
    pub const BOOL: u32 = 2;
    pub const INT: u32 = 3;
    pub const DOUBLE: u32 = 4;
    pub const ARRAY: u32 = 5;
    pub const KEY_VALUES: u32 = 6;
    /// Of an `ArrayValue` and of a `KeyValueList`.
    pub const VALUES: u32 = 1;
    pub const SCOPE_NAME: u32 = 1;
    pub const SCOPE_VERSION: u32 = 2;
    /// Of a `Resource`.
    pub const ATTRIBUTES: u32 = 1;
}

/// This agent, as attributes of a resource: names of the semantic conventions, `service`, `host` and `k8s`.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// The node; `host.name`, and what tells this agent from others (`service.instance.id`).
    pub node: String,
    /// Whether the node's name is one of Kubernetes (`k8s.node.name`).
    pub in_kubernetes: bool,
    /// `k8s.cluster.name`.
    pub cluster: Option<String>,
}

impl Resource {
    /// A `Resource`.
    pub fn encoded(&self) -> Vec<u8> {
        let mut to = Message::default();
        let mut text = |key, value: &str| attribute(field::ATTRIBUTES, key, value, &mut to);
        text("service.name", "netcause");
        text("service.version", env!("CARGO_PKG_VERSION"));
        text("service.instance.id", &self.node);
        text("host.name", &self.node);
        if self.in_kubernetes {
            text("k8s.node.name", &self.node);
        }
        if let Some(cluster) = &self.cluster {
            text("k8s.cluster.name", cluster);
        }
        to.0
    }
}

/// An `InstrumentationScope`.
pub fn scope() -> Vec<u8> {
    let mut to = Message::default();
    to.parts(field::SCOPE_NAME, &["netcause"]);
    to.parts(field::SCOPE_VERSION, &[env!("CARGO_PKG_VERSION")]);
    to.0
}

/// A `KeyValue` with a text.
pub fn attribute(number: u32, key: &str, value: &str, to: &mut Message) {
    to.message(number, |to| {
        to.parts(field::ATTRIBUTE_KEY, &[key]);
        to.message(field::ATTRIBUTE_VALUE, |to| to.parts(field::STRING, &[value]));
    });
}

/// A `KeyValue` with any JSON; `null` is left out, as attributes have no such value.
pub fn json_attribute(number: u32, key: &str, value: &serde_json::Value, to: &mut Message) {
    if !value.is_null() {
        to.message(number, |to| {
            to.parts(field::ATTRIBUTE_KEY, &[key]);
            to.message(field::ATTRIBUTE_VALUE, |to| any(value, to));
        });
    }
}

/// The fields of an `AnyValue`.
pub fn any(value: &serde_json::Value, to: &mut Message) {
    use serde_json::Value;
    match value {
        Value::Null => {}
        Value::Bool(value) => to.number(field::BOOL, u64::from(*value)),
        Value::String(text) => to.parts(field::STRING, &[text]),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            // An int64 is written as the varint of its two's complement.
            (Some(int), _) => to.number(field::INT, int.cast_unsigned()),
            (None, real) => to.double(field::DOUBLE, real.unwrap_or_default()),
        },
        Value::Array(all) => to.message(field::ARRAY, |to| {
            all.iter().for_each(|value| to.message(field::VALUES, |to| any(value, to)));
        }),
        Value::Object(all) => to.message(field::KEY_VALUES, |to| {
            all.iter().for_each(|(key, value)| json_attribute(field::VALUES, key, value, to));
        }),
    }
}
