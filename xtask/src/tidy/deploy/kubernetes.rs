//! Lints on manifests: they grant what the code needs and nothing else, and they agree with each other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{Files, Violation},
    objects, text,
};

const RBAC: &str = "deploy/kubernetes/rbac.yaml";
const DAEMONSET: &str = "deploy/kubernetes/daemonset.yaml";
const CONFIG: &str = "deploy/kubernetes/config.yaml";
const PODMONITOR: &str = "deploy/overlays/podmonitor/podmonitor.yaml";
/// The file with a table of API groups, resources and verbs.
const NEEDS: &str = "agent/src/sources/kubernetes.rs";
const SETTINGS: &str = "docs/config.md";

/// Group, resource, verb.
type Permission = (String, String, String);

/// The ClusterRole grants the permissions of the table in the code, and no others.
pub(in super::super) fn permissions(files: &Files) -> Vec<Violation> {
    let Some(needs) = files.get(NEEDS) else { return Vec::new() };
    let role = match objects(files, RBAC) {
        Ok(objects) => objects.into_iter().find(|object| text(object, "/kind") == "ClusterRole"),
        Err(violation) => return vec![violation],
    };
    let (needed, granted) = (needed(needs), granted(&role.unwrap_or_default()));
    let list = |permissions: BTreeSet<&Permission>, what: &str| {
        let violation = |(group, resource, verb): &Permission| {
            Violation::new(RBAC, 0, format!("{what}: {verb} {resource} in the group {group:?} ({NEEDS})"))
        };
        permissions.into_iter().map(violation).collect::<Vec<_>>()
    };
    let missing = list(needed.difference(&granted).collect(), "the code needs what is not granted");
    [missing, list(granted.difference(&needed).collect(), "the code does not need what is granted")].concat()
}

/// The rows of the table: `//! | "apps" | "replicasets" | "get" | ... |`, in whatever quotes.
fn needed(code: &str) -> BTreeSet<Permission> {
    let mut needed = BTreeSet::new();
    for row in code.lines().filter_map(|line| line.strip_prefix("//! |")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [group, resources, verbs, ..] = cells[..] else { continue };
        if !resources.starts_with('`') {
            continue;
        }
        let words = |cell: &str| -> Vec<String> {
            cell.split(',').map(|word| word.trim().trim_matches(['`', '"']).to_owned()).collect()
        };
        for (resource, verb) in product(&words(resources), &words(verbs)) {
            needed.insert((words(group).concat(), resource, verb));
        }
    }
    needed
}

fn granted(role: &Value) -> BTreeSet<Permission> {
    let words = |rule: &Value, key: &str| -> Vec<String> {
        let list = rule.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|word| Some(word.as_str()?.to_owned())).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in role.get("rules").and_then(Value::as_array).into_iter().flatten() {
        for group in words(rule, "apiGroups") {
            for (resource, verb) in product(&words(rule, "resources"), &words(rule, "verbs")) {
                granted.insert((group.clone(), resource, verb));
            }
        }
    }
    granted
}

fn product(resources: &[String], verbs: &[String]) -> Vec<(String, String)> {
    let with =
        |resource: &String| verbs.iter().map(|verb| (resource.clone(), verb.clone())).collect::<Vec<_>>();
    resources.iter().flat_map(with).collect()
}

/// DaemonSet, configuration and PodMonitor agree on names, paths and ports, and every setting exists.
pub(in super::super) fn agents(files: &Files) -> Vec<Violation> {
    let read = || -> Result<Vec<Violation>, Violation> {
        let first = |path: &str| {
            let mut all = objects(files, path)?.into_iter();
            all.next().ok_or_else(|| Violation::new(path, 0, "is empty"))
        };
        let (daemonset, config, monitor) = (first(DAEMONSET)?, first(CONFIG)?, first(PODMONITOR)?);
        let settings: Value = serde_saphyr::from_str(text(&config, "/data/config.yaml"))
            .map_err(|error| Violation::new(CONFIG, 0, error.to_string()))?;
        let mut violations = contradictions(&daemonset, &settings, &monitor);
        let known = files.get(SETTINGS).map_or("", String::as_str);
        for key in settings.as_object().into_iter().flat_map(|settings| settings.keys()) {
            if !known.contains(&format!("| `{key}` |")) {
                violations.push(Violation::new(
                    CONFIG,
                    0,
                    format!("there is no setting {key} in {SETTINGS}"),
                ));
            }
        }
        Ok(violations)
    };
    read().unwrap_or_else(|violation| vec![violation])
}

fn contradictions(daemonset: &Value, settings: &Value, monitor: &Value) -> Vec<Violation> {
    let pod = daemonset.pointer("/spec/template").unwrap_or(&Value::Null);
    let container = pod.pointer("/spec/containers/0").unwrap_or(&Value::Null);
    let port = container.pointer("/ports/0/containerPort").and_then(Value::as_u64).unwrap_or_default();
    let port_name = text(container, "/ports/0/name");
    let mut violations = Vec::new();
    let mut expect = |path: &str, what: &str, is: &str, wanted: &str| {
        if is != wanted {
            violations.push(Violation::new(path, 0, format!("{what} is {is:?}, not {wanted:?}")));
        }
    };
    let listens_at = text(settings, "/listen").rsplit(':').next().unwrap_or_default();
    expect(CONFIG, "the port of listen", listens_at, &port.to_string());
    for (key, wanted) in [("scrape", "true"), ("port", &port.to_string()), ("path", "/metrics")] {
        let annotation = format!("/metadata/annotations/prometheus.io~1{key}");
        expect(DAEMONSET, &format!("the annotation {key}"), text(pod, &annotation), wanted);
    }
    for (probe, wanted) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let at = |key: &str| text(container, &format!("/{probe}/httpGet/{key}"));
        expect(DAEMONSET, &format!("the path of {probe}"), at("path"), wanted);
        expect(DAEMONSET, &format!("the port of {probe}"), at("port"), port_name);
    }
    for (what, pointer, wanted) in [
        ("the API", "/apiVersion", "monitoring.coreos.com/v1"),
        ("the kind", "/kind", "PodMonitor"),
        ("the port", "/spec/podMetricsEndpoints/0/port", port_name),
        ("the path", "/spec/podMetricsEndpoints/0/path", "/metrics"),
        ("the namespace", "/metadata/namespace", text(daemonset, "/metadata/namespace")),
    ] {
        expect(PODMONITOR, what, text(monitor, pointer), wanted);
    }
    let selected = monitor.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    for (label, value) in selected.into_iter().flatten() {
        let is = pod.pointer("/metadata/labels").and_then(|labels| labels.get(label));
        expect(
            PODMONITOR,
            label,
            value.as_str().unwrap_or_default(),
            is.and_then(Value::as_str).unwrap_or("absent"),
        );
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_those_of_the_table() {
        let code = "//! | apiGroups | resources | verbs | x |\n//! |---|---|---|---|\n\
            //! | `\"\"` | `pods`, `nodes` | `list`, `watch` | y |\n//! | `apps` | `replicasets` | `get` | z |\n";
        let role = "kind: ServiceAccount\n---\nkind: ClusterRole\nrules:\n- apiGroups: [\"\"]\n  resources: [pods, nodes]\n  \
            verbs: [list, watch]\n- {apiGroups: [apps], resources: [replicasets], verbs: [get]}\n";
        let check = |from: &str, to: &str| {
            assert!(role.contains(from));
            permissions(&Files::from([
                (NEEDS.to_owned(), code.to_owned()),
                (RBAC.to_owned(), role.replace(from, to)),
            ]))
        };
        assert!(check("pods", "pods").is_empty());
        let violations = check("nodes]", "nodes, secrets]");
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(violations[0].what.contains("does not need") && violations[0].what.contains("secrets"));
        assert!(check("[get]", "[]")[0].what.contains("not granted: get replicasets"));
        assert_eq!(check("apps", "\"*\"").len(), 2);
    }

    #[test]
    fn contradictions_are_found() {
        let files = |from: &str, to: &str| -> Files {
            let root = crate::workspace::root().unwrap();
            let read = |path: &str| {
                (path.to_owned(), std::fs::read_to_string(root.join(path)).unwrap().replace(from, to))
            };
            [DAEMONSET, CONFIG, PODMONITOR, SETTINGS].map(read).into()
        };
        assert_eq!(agents(&files("x", "x")), []);
        for (from, to) in [
            ("listen: 0.0.0.0:9779", "listen: 0.0.0.0:80"),
            ("prometheus.io/port: \"9779\"", "prometheus.io/port: \"80\""),
            ("path: /readyz", "path: /ready"),
            ("- port: metrics", "- port: web"),
            ("    log: info", "    logg: info"),
        ] {
            let violations = agents(&files(from, to));
            assert_eq!(violations.len(), 1, "{from} → {to}: {violations:?}");
        }
    }
}
