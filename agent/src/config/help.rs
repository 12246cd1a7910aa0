//! What is said about a setting on the command line, made from its declaration.

use std::fmt::Write as _;

use clap::Arg;
use serde_json::Value;

use super::Config;
use super::settings::allowed;

/// The flag of a setting: `--max-series`.
#[must_use]
pub fn flag(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}

/// The environment variable of a setting: `NETCAUSE_MAX_SERIES`.
#[must_use]
pub fn variable(setting: &str) -> String {
    format!("NETCAUSE_{}", setting.to_ascii_uppercase())
}

/// Adds its environment variable, default and allowed values to the flag of a setting; other flags stay as they are.
#[must_use]
pub fn with_details(arg: Arg) -> Arg {
    let values = Config::default().values();
    let name = arg.get_id().as_str();
    let Some(default) = values.get(name) else { return arg };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some(default) = text(default) {
        let _ = write!(help, " [default: {default}]");
    }
    if let Some(allowed) = allowed(name) {
        let _ = write!(help, " [allowed: {allowed}]");
    }
    let variable = variable(name);
    arg.env(variable).help(help)
}

/// A value as it is written on the command line; `None` for a setting that is not set.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => Some(list.iter().filter_map(text).collect::<Vec<_>>().join(",")),
        other => Some(other.to_string()),
    }
}
