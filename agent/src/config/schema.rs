//! The settings in the schema of the Helm chart's values: `config` in deploy/helm/netcause/values.schema.json. The rest of that file
//! is written by hand.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use clap::{Arg, Args as _, Command};
use serde_json::{Map, Value, json};

use super::check::{AtMost, LogFilter, Percent, Ports, PowerOfTwo};
use super::settings::bounds;
use super::{Config, Settings};

const FILE: &str = "../deploy/helm/netcause/values.schema.json";

/// Given by the chart itself, from the pod's own description.
const GIVEN: &str = "node_name";

/// In the chart the port is certain, and the kubelet and Prometheus come to the node's address.
const LISTEN: &str = r"^(0\.0\.0\.0|\[::\]):[1-9][0-9]{0,4}$";

/// What a schema says of a [`Check`](super::Check).
pub(super) trait Bounds<T> {
    /// Keywords of JSON Schema, such as `minimum`.
    fn bounds(&self) -> Value;
}

impl Bounds<u32> for RangeInclusive<u32> {
    fn bounds(&self) -> Value {
        json!({"minimum": self.start(), "maximum": self.end()})
    }
}

impl Bounds<u32> for PowerOfTwo {
    fn bounds(&self) -> Value {
        let powers = (0..u32::BITS).map(|bit| 1_u32 << bit);
        json!({"enum": powers.filter(|power| self.0.contains(power)).collect::<Vec<_>>()})
    }
}

impl Bounds<f64> for Percent {
    fn bounds(&self) -> Value {
        json!({"exclusiveMinimum": 0, "maximum": 100})
    }
}

impl Bounds<Vec<u16>> for Ports {
    fn bounds(&self) -> Value {
        json!({"maxItems": self.0})
    }
}

impl<T> Bounds<Vec<T>> for AtMost {
    fn bounds(&self) -> Value {
        json!({"maxItems": self.0})
    }
}

impl Bounds<String> for LogFilter {
    /// Its grammar is beyond a schema.
    fn bounds(&self) -> Value {
        json!({})
    }
}

/// The schema of one setting; a default has the form that its values have in a file.
fn schema(setting: &Arg, default: &Value) -> Value {
    let name = setting.get_id().as_str();
    let mut schema = match default {
        Value::Array(list) => json!({"type": "array", "items": one(setting, &list[0])}),
        value => one(setting, value),
    };
    let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
    schema["description"] = Value::String(help.replace('\n', " "));
    if name == "listen" {
        schema["pattern"] = json!(LISTEN);
    }
    if let Some(Value::Object(bounds)) = bounds(name) {
        schema.as_object_mut().unwrap().extend(bounds);
    }
    schema
}

/// The schema of a value, or of an entry of a list.
fn one(setting: &Arg, value: &Value) -> Value {
    let values = setting.get_possible_values();
    let words: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    let kind = setting.get_value_names().unwrap()[0].as_str();
    match value {
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(_) if kind == "PORT" => json!({"type": "integer", "minimum": 1, "maximum": u16::MAX}),
        Value::Number(number) if number.is_f64() => json!({"type": "number"}),
        Value::Number(_) => json!({"type": "integer"}),
        _ if !words.is_empty() => json!({"enum": words}),
        _ if kind == "CIDR" => json!({"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"}),
        _ => json!({"type": "string", "minLength": 1}),
    }
}

/// All settings that the chart passes on.
fn settings() -> Map<String, Value> {
    let values = Config::default().values();
    let flags = Settings::augment_args(Command::new("chart"));
    let passed = flags.get_arguments().filter(|setting| setting.get_id() != GIVEN);
    passed
        .map(|setting| {
            let name = setting.get_id().as_str();
            (name.to_owned(), schema(setting, &values[name]))
        })
        .collect()
}

#[test]
fn docs_of_the_chart_have_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let written = fs::read_to_string(&path).unwrap();
    let mut whole: Value = serde_json::from_str(&written).unwrap();
    whole["properties"]["config"] =
        json!({"type": "object", "additionalProperties": false, "properties": settings()});
    let current = format!("{}\n", serde_json::to_string_pretty(&whole).unwrap());
    if std::env::var_os("NETCAUSE_BLESS").is_some() {
        fs::write(&path, current).unwrap();
        return;
    }
    assert!(written == current, "{FILE} is not what the settings say: run `cargo xtask docs`");
}

/// Whether the agent takes this as its configuration file.
fn is_taken(file: &str) -> bool {
    let settings: Result<Settings, _> = serde_saphyr::from_str(file);
    settings.is_ok_and(|settings| Config::merge(Settings::default(), settings).find_problem().is_none())
}

/// At each bound of the schema the agent takes the value, and beyond it does not.
#[test]
fn the_bounds_are_those_of_the_agent() {
    let mut compared = 0;
    let mut compare = |name: &str, value: &Value, is_allowed: bool| {
        assert_eq!(is_taken(&format!("{name}: {value}")), is_allowed, "{name}: {value}");
        compared += 1;
    };
    for (name, schema) in settings() {
        for (bound, step) in [("minimum", -1), ("maximum", 1)] {
            if let Some(bound) = schema[bound].as_i64() {
                // Beyond 100 percent, too.
                compare(&name, &json!(bound), true);
                compare(&name, &json!(bound + step), false);
            }
        }
        if let Some(bound) = schema["exclusiveMinimum"].as_f64() {
            compare(&name, &json!(bound), false);
            compare(&name, &json!(bound + 0.001), true);
        }
        let words = schema["enum"].as_array();
        for word in words.into_iter().flatten() {
            compare(&name, word, true);
        }
        if words.is_some() {
            compare(&name, &json!("another"), false);
            compare(&name, &json!(3), false);
        }
        if let Some(most) = schema["maxItems"].as_u64() {
            let most = usize::try_from(most).unwrap();
            let item = match &schema["items"] {
                item if item["type"] == "integer" => json!(443),
                item if item["enum"].is_array() => item["enum"][0].clone(),
                _ => json!("192.0.2.0/24"),
            };
            let list = |count| Value::Array(vec![item.clone(); count]);
            compare(&name, &list(most), true);
            compare(&name, &list(most + 1), false);
        }
        let other = if schema["type"] == "boolean" { json!("yes, please") } else { json!({"a": 1}) };
        compare(&name, &other, false);
    }
    assert!(compared > 120, "{compared} values were compared");
}
