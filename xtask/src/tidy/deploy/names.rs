//! Names of series that queries may use: metrics of the agent, and what the recording rules make of them.

use std::collections::BTreeSet;

use super::super::Files;

const METRICS: &str = "docs/metrics.md";

/// What begins the name of a recording.
const RECORDED: &str = "netcause:";

/// Every name of a series that exists.
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Those of docs/metrics.md and of the rule files.
    pub(super) fn of(files: &Files) -> Self {
        let mut names = declared(files.get(METRICS).map_or("", String::as_str));
        let lines =
            files.iter().filter(|(path, _)| super::rules::is_rules(path)).flat_map(|(_, text)| text.lines());
        let records = lines.filter_map(|line| line.trim_start().strip_prefix("- record: "));
        names.extend(records.map(|name| name.trim().to_owned()));
        Self(names)
    }

    /// What a query, or a text, names and does not exist.
    pub(super) fn unknown(&self, query: &str) -> Vec<String> {
        query
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
            .map(|word| word.trim_end_matches(':'))
            .filter(|word| word.starts_with("netcause_") || word.starts_with(RECORDED))
            .filter(|word| !self.0.contains(*word))
            .map(|word| match word.starts_with(RECORDED) {
                true => format!("no rule records {word}"),
                false => format!("there is no metric {word} in {METRICS}"),
            })
            .collect()
    }
}

/// Names of samples: those of counters and gauges as they are, of histograms with each of the suffixes of the classic one, and
/// without any, which is the native one.
fn declared(metrics: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in metrics.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(name), Some(kind)) = (cells.next(), cells.next()) else { continue };
        let name = name.trim_matches('`');
        match kind {
            "histogram" => {
                names.extend(["", "_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
            }
            _ => drop(names.insert(name.to_owned())),
        }
    }
    names
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A counter, a histogram and a recording.
    pub(in super::super) fn names() -> Names {
        let metrics = "| name | type |\n|---|---|\n| `netcause_a_total` | counter |\n| `netcause_b_seconds` | histogram |\n";
        let rules = "groups:\n- name: x\n  rules:\n  - record: netcause:a:rate5m\n    expr: rate(netcause_a_total[5m])\n";
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        Names::of(&Files::from([file(METRICS, metrics), file("deploy/prometheus/rules/x.yaml", rules)]))
    }

    #[test]
    fn what_does_not_exist_is_found() {
        let good = "rate(netcause_a_total[5m]) / netcause_b_seconds_count > on (a) netcause:a:rate5m{x=\"netcause\"}";
        assert!(names().unknown(good).is_empty());
        assert!(
            names().unknown("rate(netcause_b_seconds[5m]) or rate(netcause_b_seconds_bucket[5m])").is_empty()
        );
        assert!(names().unknown("See netcause:a:rate5m: it is.").is_empty());
        for bad in [
            "netcause_a",
            "rate(netcause_b_seconds_total[5m])",
            "netcause:a:rate1h > 0",
            "sum(netcause:b:rate5m)",
        ] {
            assert_eq!(names().unknown(bad).len(), 1, "{bad}");
        }
    }
}
