//! What the server requires of an Event (`events.k8s.io/v1`) that is created: `ValidateEventCreate`,
//! pkg/apis/core/validation/events.go.

use serde_json::Value;

/// The longest `reason`, `action` and `reportingInstance`.
const MAX_NAME: usize = 128;
/// The longest `note`.
const MAX_NOTE: usize = 1024;

/// What is wrong with an Event that is written to a namespace.
pub(crate) fn problem(event: &Value, namespace: &str) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    for (field, longest) in [
        ("reason", MAX_NAME),
        ("action", MAX_NAME),
        ("reportingInstance", MAX_NAME),
        ("reportingController", MAX_NAME),
        ("note", MAX_NOTE),
    ] {
        let length = text(&format!("/{field}")).len();
        if length == 0 || length > longest {
            return Some(format!("{field}: required, at most {longest} bytes, not {length}"));
        }
    }
    // metav1.MicroTime: `2006-01-02T15:04:05.000000Z`.
    let time = text("/eventTime");
    let is_time = time.len() == 27 && time.ends_with('Z') && time.as_bytes().get(19) == Some(&b'.');
    if !is_time {
        return Some(format!("eventTime: not a time with microseconds: {time:?}"));
    }
    if !matches!(text("/type"), "Normal" | "Warning") {
        return Some("type: Normal or Warning".to_owned());
    }
    if text("/metadata/namespace") != namespace || text("/regarding/namespace") != namespace {
        return Some("regarding.namespace: does not match the namespace of the event".to_owned());
    }
    if text("/metadata/name").is_empty() && text("/metadata/generateName").is_empty() {
        return Some("metadata.name or metadata.generateName: required".to_owned());
    }
    None
}
