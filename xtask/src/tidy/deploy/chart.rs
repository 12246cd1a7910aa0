//! Lints on the Helm chart: what is made from other files is current, and its version is that of the workspace.

use serde_json::Value;

use super::{
    super::{Files, Violation},
    text,
};
use crate::chart;

const CHART: &str = "deploy/helm/netcause/Chart.yaml";
const WORKSPACE: &str = "Cargo.toml";

/// Checks the chart.
pub(in super::super) fn chart(files: &Files) -> Vec<Violation> {
    let mut violations = version(files);
    let made = match chart::made(files) {
        Ok(made) => made,
        Err(error) => return vec![Violation::new(chart::DIRECTORY, 0, format!("{error:#}"))],
    };
    for (path, text) in &made {
        if files.get(path) != Some(text) {
            violations.push(Violation::new(path, 0, "is not what it is made from: run `cargo xtask docs`"));
        }
    }
    for path in files.keys().filter(|path| chart::is_copy(path) && !made.contains_key(*path)) {
        violations.push(Violation::new(path, 0, "is a copy of a file that is no more: remove it"));
    }
    violations
}

/// The versions of the chart and of the agent in it are that of the workspace.
fn version(files: &Files) -> Vec<Violation> {
    let read = |path: &str| files.get(path).map_or("", String::as_str);
    let version = read(WORKSPACE).lines().find_map(|line| line.strip_prefix("version = "));
    let version = version.unwrap_or_default().trim_matches('"');
    let chart: Value = match serde_saphyr::from_str(read(CHART)) {
        Ok(chart) => chart,
        Err(error) => return vec![Violation::new(CHART, 0, error.to_string())],
    };
    let differs = |key: &&str| text(&chart, &format!("/{key}")) != version;
    let keys = ["version", "appVersion"].into_iter().filter(differs);
    keys.map(|key| Violation::new(CHART, 0, format!("{key} is not {version:?}, that of {WORKSPACE}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stale_is_found() {
        let root = crate::workspace::root().unwrap();
        let read = |path: &str| (path.to_owned(), std::fs::read_to_string(root.join(path)).unwrap());
        let files = [
            CHART,
            WORKSPACE,
            "deploy/grafana/dns.json",
            "deploy/helm/netcause/README.md",
            "deploy/helm/netcause/dashboards/dns.json",
            "deploy/helm/netcause/values.yaml",
        ];
        let files = Files::from(files.map(read));
        assert_eq!(chart(&files), []);
        let check = |path: &str, from: &str, to: &str| {
            let mut files = files.clone();
            let file = files.get_mut(path).unwrap();
            assert!(file.contains(from), "{path} has no {from}");
            *file = file.replace(from, to);
            chart(&files).len()
        };
        assert_eq!(
            check("deploy/helm/netcause/values.yaml", "# How a new version", "# In what way a new version"),
            1
        );
        assert_eq!(check("deploy/grafana/dns.json", "Netcause", "Other"), 1);
        assert_eq!(check(WORKSPACE, "version = \"0.1.0\"", "version = \"0.2.0\""), 2);
        let mut more = files.clone();
        more.insert("deploy/helm/netcause/dashboards/gone.json".to_owned(), "{}".to_owned());
        assert_eq!(chart(&more).len(), 1);
    }
}
