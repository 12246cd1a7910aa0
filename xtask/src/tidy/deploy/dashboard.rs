//! Lints on dashboards: they are as the code makes them, every panel has a description, and queries only metrics that exist.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{Files, Violation},
    names::Names,
    text,
};
use crate::dashboards::{DIRECTORY, made};

/// The format of Grafana 12 and 13.
const SCHEMA: u64 = 42;

/// Checks every file in deploy/grafana.
pub(in super::super) fn dashboards(files: &Files) -> Vec<Violation> {
    let names = Names::of(files);
    let is_dashboard = |path: &str| path.starts_with(DIRECTORY) && path.ends_with(".json");
    let mut violations = differences(files, &made());
    for (path, json) in files.iter().filter(|(path, _)| is_dashboard(path)) {
        match serde_json::from_str::<Value>(json) {
            Ok(dashboard) => {
                violations.extend(
                    mistakes(&dashboard, &names).into_iter().map(|what| Violation::new(path, 0, what)),
                );
            }
            Err(error) => violations.push(Violation::new(path, error.line(), error.to_string())),
        }
    }
    violations
}

/// Files that are not what the code makes.
fn differences(files: &Files, made: &Files) -> Vec<Violation> {
    let is_as_made = |path: &str| files.get(path) == made.get(path);
    files
        .keys()
        .filter(|path| path.starts_with(DIRECTORY))
        .chain(made.keys().filter(|path| !files.contains_key(*path)))
        .filter(|path| !is_as_made(path))
        .map(|path| {
            Violation::new(path, 0, "is not as xtask/src/dashboards makes it: run `cargo xtask docs`")
        })
        .collect()
}

fn mistakes(dashboard: &Value, names: &Names) -> Vec<String> {
    let mut mistakes = Vec::new();
    if text(dashboard, "/uid").is_empty() {
        mistakes.push("has no uid: links to it would break".to_owned());
    }
    if dashboard.get("schemaVersion").and_then(Value::as_u64) != Some(SCHEMA) {
        mistakes.push(format!("its schemaVersion is not {SCHEMA}"));
    }
    let list = |pointer: &str| dashboard.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    for variable in list("/templating/list") {
        if text(variable, "/description").is_empty() {
            mistakes.push(format!("the variable {} has no description", text(variable, "/name")));
        }
        mistakes.extend(names.unknown(text(variable, "/query/query")));
    }
    let mut ids = BTreeSet::new();
    for panel in list("/panels") {
        let title = text(panel, "/title");
        if !ids.insert(panel.get("id").and_then(Value::as_u64)) {
            mistakes.push(format!("the panel {title:?} has the id of another"));
        }
        if text(panel, "/type") == "row" {
            continue;
        }
        for (what, pointer) in [("description", "/description"), ("unit", "/fieldConfig/defaults/unit")] {
            if text(panel, pointer).is_empty() {
                mistakes.push(format!("the panel {title:?} has no {what}"));
            }
        }
        let targets: Vec<&Value> =
            panel.get("targets").and_then(Value::as_array).into_iter().flatten().collect();
        if targets.is_empty() {
            mistakes.push(format!("the panel {title:?} has no query"));
        }
        for target in targets {
            let query = text(target, "/expr");
            if text(target, "/datasource/uid") != "${datasource}" {
                mistakes.push(format!("a query of {title:?} has a data source of its own"));
            }
            if query.replace("[$__rate_interval]", "").contains('[') {
                mistakes.push(format!("a range that is not $__rate_interval: {query}"));
            }
            mistakes.extend(names.unknown(query));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::names;
    use super::*;

    #[test]
    fn what_is_not_as_made_is_found() {
        let files = |list: &[(&str, &str)]| -> Files {
            list.iter().map(|(name, text)| (format!("{DIRECTORY}{name}"), (*text).to_owned())).collect()
        };
        let made = files(&[("a.json", "1"), ("b.json", "2")]);
        assert!(differences(&made, &made).is_empty());
        assert_eq!(differences(&files(&[("a.json", "1"), ("b.json", "3")]), &made).len(), 1, "another text");
        assert_eq!(differences(&files(&[("a.json", "1")]), &made).len(), 1, "missing");
        assert_eq!(
            differences(&files(&[("a.json", "1"), ("b.json", "2"), ("c", "")]), &made).len(),
            1,
            "left"
        );
    }

    #[test]
    fn mistakes_in_panels_are_found() {
        let good = r#"{"uid":"x","schemaVersion":42,"panels":[{"id":1,"type":"row","title":"r"},
            {"id":2,"type":"timeseries","title":"t","description":"d","fieldConfig":{"defaults":{"unit":"s"}},
             "targets":[{"datasource":{"uid":"${datasource}"},
             "expr":"rate(netcause_a_total[$__rate_interval]) / netcause_b_seconds_count"}]}]}"#;
        let check = |from: &str, to: &str| {
            assert!(good.contains(from));
            mistakes(&serde_json::from_str(&good.replace(from, to)).unwrap(), &names())
        };
        assert!(check("x", "y").is_empty());
        for (from, to) in [
            ("\"uid\":\"x\"", "\"uid\":\"\""),
            ("42", "16"),
            ("\"id\":2", "\"id\":1"),
            ("\"d\"", "\"\""),
            ("\"unit\":\"s\"", "\"unit\":\"\""),
            ("${datasource}", "P1"),
            ("$__rate_interval", "5m"),
            ("netcause_a_total", "netcause_a"),
            ("seconds_count", "seconds_counts"),
        ] {
            assert_eq!(check(from, to).len(), 1, "{from} → {to}");
        }
    }
}
