//! Lints on rule files: they query what exists, and every alert says what a person needs, has its page and its test.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{Files, Violation, runbooks, text::outside_code},
    names::Names,
    text,
};

const PAGE: &str = "docs/alerts.md";

/// Where documents are, for those who have not replaced it.
const DOCUMENTS: &str = "https://netcause.example/";

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// Whether a file has rules.
pub(super) fn is_rules(path: &str) -> bool {
    path.starts_with("deploy/prometheus/rules/")
}

/// Checks every rule file.
pub(in super::super) fn rules(files: &Files) -> Vec<Violation> {
    let context = Context::of(files);
    let mut violations = Vec::new();
    let mut alerts = BTreeSet::new();
    for (path, yaml) in files.iter().filter(|(path, _)| is_rules(path)) {
        let found = serde_saphyr::from_str::<Value>(yaml).map_err(|error| error.to_string());
        let found = found.and_then(|file| all(&file).ok_or_else(|| "has no rules".to_owned()));
        match found {
            Ok(found) => {
                let mistakes = found.iter().flat_map(|rule| context.mistakes(rule));
                violations.extend(mistakes.map(|what| Violation::new(path, 0, what)));
                alerts.extend(found.iter().map(|rule| text(rule, "/alert").to_owned()));
            }
            Err(what) => violations.push(Violation::new(path, 0, what)),
        }
    }
    let old = context.sections.iter().filter(|section| !alerts.contains(**section));
    violations.extend(
        old.map(|section| {
            Violation::new(PAGE, 0, format!("there is no alert {section}: remove its section"))
        }),
    );
    violations
}

/// The rules of all groups.
fn all(file: &Value) -> Option<Vec<Value>> {
    let groups = file.get("groups")?.as_array()?;
    let rules = groups.iter().filter_map(|group| group.get("rules")?.as_array());
    let rules: Vec<Value> = rules.flatten().cloned().collect();
    (!rules.is_empty()).then_some(rules)
}

/// What rules refer to.
struct Context<'a> {
    names: Names,
    causes: Vec<&'a str>,
    /// The alerts that the page explains.
    sections: BTreeSet<&'a str>,
    /// The tests of rules, one after the other.
    tests: String,
}

impl<'a> Context<'a> {
    fn of(files: &'a Files) -> Self {
        let page = files.get(PAGE).map_or("", String::as_str);
        let headings = outside_code(page).filter_map(|(_, line)| line.strip_prefix("### "));
        let tests = files.iter().filter(|(path, _)| path.starts_with("deploy/prometheus/tests/"));
        Self {
            names: Names::of(files),
            causes: runbooks::all(files),
            sections: headings.filter(|heading| heading.starts_with("Netcause")).collect(),
            tests: tests.map(|(_, text)| text.as_str()).collect(),
        }
    }

    fn mistakes(&self, rule: &Value) -> Vec<String> {
        let query = text(rule, "/expr");
        let mut mistakes = self.names.unknown(query);
        mistakes.extend(self.unknown_causes(query));
        match (text(rule, "/alert"), text(rule, "/record")) {
            ("", record) => mistakes.extend(misnamed(record)),
            (alert, _) => {
                mistakes.extend(self.alert(alert, rule).into_iter().map(|what| format!("{alert}: {what}")));
            }
        }
        mistakes
    }

    fn alert(&self, alert: &str, rule: &Value) -> Vec<String> {
        let mut mistakes = Vec::new();
        for annotation in ["summary", "description"] {
            let says = text(rule, &format!("/annotations/{annotation}"));
            if says.is_empty() {
                mistakes.push(format!("has no {annotation}"));
            }
            mistakes.extend(self.names.unknown(says));
        }
        let severity = text(rule, "/labels/severity");
        if !SEVERITIES.contains(&severity) && severity != "{{ $labels.severity }}" {
            mistakes.push(format!("its severity is none of {SEVERITIES:?}"));
        }
        if !self.sections.contains(alert) {
            mistakes.push(format!("{PAGE} has no section `### {alert}`"));
        }
        let pages = [
            format!("docs/alerts.md#{}", alert.to_lowercase()),
            "docs/runbooks/{{ $labels.cause }}.md".to_owned(),
        ];
        let runbook = text(rule, "/annotations/runbook_url");
        if !pages.iter().any(|page| runbook.strip_prefix(DOCUMENTS) == Some(page)) {
            mistakes.push(format!("its runbook_url is none of {pages:?} behind {DOCUMENTS}"));
        }
        if !self.tests.contains(&format!("alertname: {alert}\n"))
            && !self.tests.contains(&format!("alertname=\"{alert}\""))
        {
            mistakes.push("no test in deploy/prometheus/tests expects it".to_owned());
        }
        mistakes
    }

    /// Causes in matchers of the label that no finding can have.
    fn unknown_causes(&self, query: &str) -> Vec<String> {
        let matchers = query.match_indices("cause").filter_map(|(at, label)| {
            let (operator, rest) = query[at + label.len()..].split_once('"')?;
            matches!(operator, "=" | "!=" | "=~" | "!~").then(|| rest.split('"').next()).flatten()
        });
        let exists = |cause: &str| match cause.strip_suffix(".*") {
            Some(prefix) => self.causes.iter().any(|one| one.starts_with(prefix)),
            None => self.causes.contains(&cause),
        };
        matchers
            .flat_map(|values| values.split('|'))
            .filter(|cause| !exists(cause))
            .map(|cause| format!("there is no cause {cause}"))
            .collect()
    }
}

/// A recording is named level:metric:operations, as Prometheus advises.
fn misnamed(record: &str) -> Option<String> {
    let parts: Vec<&str> = record.split(':').collect();
    let is_good =
        matches!(parts[..], ["netcause", metric, operations] if !metric.is_empty() && !operations.is_empty());
    (!is_good).then(|| format!("the recording {record:?} is not named netcause:METRIC:OPERATIONS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"groups:
- name: x
  rules:
  - record: netcause:node_loss:named
    expr: rate(netcause_a_total[5m])
  - alert: NetcauseNodeLoss
    expr: netcause:node_loss:named{cause!="bottleneck_full", cause=~"path_loss|dns_.*"} > 0
    labels: {severity: warning}
    annotations:
      summary: lost
      description: See `netcause_a_total`.
      runbook_url: https://netcause.example/docs/alerts.md#netcausenodeloss
"#;

    fn files() -> Files {
        let causes = "pub enum Cause: u8 {\n    A = 0, \"path_loss\";\n    B = 1, \"dns_failures\";\n    C = 2, \"bottleneck_full\";\n}\n";
        [
            ("docs/metrics.md", "| `netcause_a_total` | counter |\n"),
            ("agent/core/src/diagnose/cause.rs", causes),
            (PAGE, "# Alerts\n\n### NetcauseNodeLoss\n"),
            ("deploy/prometheus/rules/x.yaml", RULES),
            ("deploy/prometheus/tests/x.yaml", "  - alertname: NetcauseNodeLoss\n"),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into()
    }

    fn changed(path: &str, from: &str, to: &str) -> Vec<Violation> {
        let mut files = files();
        let text = files.get_mut(path).unwrap();
        assert!(text.contains(from), "{from}");
        *text = text.replacen(from, to, 1);
        rules(&files)
    }

    #[test]
    fn mistakes_in_rules_are_found() {
        assert_eq!(rules(&files()), []);
        for (from, to) in [
            ("rate(netcause_a_total", "rate(netcause_b_total"),
            ("expr: netcause:node_loss:named", "expr: netcause:node_loss:name"),
            ("path_loss|", "lost|"),
            ("dns_.*", "dnss_.*"),
            ("bottleneck_full", "bottleneck"),
            ("warning", "urgent"),
            ("summary: lost", "summary: ''"),
            ("description: See `netcause_a_total`.", "description: ''"),
            ("`netcause_a_total`", "`netcause_c_total`"),
            ("#netcausenodeloss", "#other"),
            ("netcause.example", "example.com"),
        ] {
            assert_eq!(changed("deploy/prometheus/rules/x.yaml", from, to).len(), 1, "{from} → {to}");
        }
        assert_eq!(changed("deploy/prometheus/rules/x.yaml", "groups", "group").len(), 2);
        assert_eq!(changed("deploy/prometheus/rules/x.yaml", "groups:", "groups: [").len(), 2);
        assert_eq!(changed("deploy/prometheus/tests/x.yaml", "NodeLoss", "NodeLos").len(), 1);
        // A section for each alert, and an alert for each section.
        assert_eq!(changed(PAGE, "### NetcauseNodeLoss", "### NetcauseNodeLosses").len(), 2);
    }

    #[test]
    fn recordings_have_three_parts() {
        assert_eq!(misnamed("netcause:node_loss:named"), None);
        for name in
            ["netcause_node_loss", "netcause:named", "netcause::named", "node:loss:named", "netcause:a:b:c"]
        {
            assert!(misnamed(name).is_some(), "{name}");
        }
    }
}
