//! The unit file and the configuration of the Debian package against the manifest and the settings.

use serde_json::Value;

use super::{Files, Violation, objects, text};
use crate::ship::PROGRAM;

const UNIT: &str = "deploy/debian/netcause.service";
const CONFIG: &str = "deploy/debian/config.yaml";
const DAEMONSET: &str = "deploy/kubernetes/daemonset.yaml";
const SETTINGS: &str = "docs/config.md";

/// The service is started and confined as the container is, and its configuration has settings that there are, those in comments
/// included.
pub(in super::super) fn unit(files: &Files) -> Vec<Violation> {
    let read = || -> Result<Vec<Violation>, Violation> {
        let unit = files.get(UNIT).ok_or_else(|| Violation::new(UNIT, 0, "this file is missing"))?;
        let daemonset = objects(files, DAEMONSET)?.into_iter().next().unwrap_or_default();
        let container = daemonset.pointer("/spec/template/spec/containers/0").unwrap_or(&Value::Null);
        let mut violations = differences(unit, container);
        let known = files.get(SETTINGS).map_or("", String::as_str);
        let config = files.get(CONFIG).ok_or_else(|| Violation::new(CONFIG, 0, "this file is missing"))?;
        let unknown = keys(config).filter(|(_, key)| !known.contains(&format!("| `{key}` |")));
        violations.extend(unknown.map(|(line, key)| {
            Violation::new(CONFIG, line, format!("there is no setting {key} in {SETTINGS}"))
        }));
        Ok(violations)
    };
    read().unwrap_or_else(|violation| vec![violation])
}

/// What the unit file has otherwise than the container.
fn differences(unit: &str, container: &Value) -> Vec<Violation> {
    let words = |pointer: &str| -> Vec<&str> {
        let list = container.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let is = |pointer: &str, wanted: bool| {
        let found = container.pointer(pointer).and_then(Value::as_bool) == Some(wanted);
        if found { "yes" } else { "no" }
    };
    let capabilities: Vec<String> =
        words("/securityContext/capabilities/add").iter().map(|name| format!("CAP_{name}")).collect();
    let start = [&[PROGRAM], words("/args").as_slice()].concat().join(" ");
    let wanted = [
        ("ExecStart", start),
        ("CapabilityBoundingSet", capabilities.join(" ")),
        ("MemoryMax", text(container, "/resources/limits/memory").trim_end_matches('i').to_owned()),
        ("NoNewPrivileges", is("/securityContext/allowPrivilegeEscalation", false).to_owned()),
        ("ProtectControlGroups", is("/securityContext/readOnlyRootFilesystem", true).to_owned()),
    ];
    let value = |key: &str| {
        unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
    };
    let wrong = wanted.iter().filter(|(key, wanted)| value(key) != wanted);
    wrong
        .map(|(key, wanted)| {
            let what = format!("{key} is {:?}, not {wanted:?} as in {DAEMONSET}", value(key));
            Violation::new(UNIT, 0, what)
        })
        .collect()
}

/// The keys of a flat configuration, also of lines that are commented out, with their lines.
fn keys(config: &str) -> impl Iterator<Item = (usize, &str)> {
    config.lines().enumerate().filter_map(|(index, line)| {
        let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(": ")?;
        let is_key = !key.is_empty() && key.chars().all(|char| char.is_ascii_lowercase() || char == '_');
        is_key.then_some((index + 1, key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_unit_with_other_rights_is_found() {
        let container = json!({
            "args": ["agent", "--config=x"],
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"add": ["BPF", "PERFMON"]},
            },
            "resources": {"limits": {"memory": "256Mi"}},
        });
        let unit = "ExecStart=/usr/bin/netcause agent --config=x\nCapabilityBoundingSet=CAP_BPF CAP_PERFMON\nMemoryMax=256M\n\
            NoNewPrivileges=yes\nProtectControlGroups=yes\n";
        assert!(differences(unit, &container).is_empty(), "{:?}", differences(unit, &container));
        for (from, to) in
            [("=CAP_BPF", "=CAP_SYS_ADMIN"), ("256M", "1G"), ("NewPrivileges=yes", "NewPrivileges=no")]
        {
            assert_eq!(differences(&unit.replace(from, to), &container).len(), 1, "{from}");
        }
    }

    #[test]
    fn keys_in_comments_are_keys() {
        let found: Vec<_> = keys("# Words, and: more.\nlisten: x\n# names_file: /y\n\n").collect();
        assert_eq!(found, [(2, "listen"), (3, "names_file")]);
    }
}
