//! What of the Helm chart is made from other files: the table of values in its README, and its copies of dashboards and rules, since a
//! chart cannot have files from outside of it.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

pub(crate) const DIRECTORY: &str = "deploy/helm/netcause/";
const VALUES: &str = "deploy/helm/netcause/values.yaml";
const README: &str = "deploy/helm/netcause/README.md";
/// From here on the README is made.
const HEADING: &str = "## Values\n";
/// Directories and endings of files, and where in the chart their copies are.
const COPIED: [(&str, &str, &str); 2] = [
    ("deploy/grafana/", ".json", "deploy/helm/netcause/dashboards/"),
    ("deploy/prometheus/rules/", ".yaml", "deploy/helm/netcause/rules/"),
];

/// All that is made, by path; `files` are those of the repository.
pub(crate) fn made(files: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let get = |path: &str| files.get(path).with_context(|| format!("{path} is missing"));
    let readme = get(README)?;
    let (head, _) = readme.split_once(HEADING).with_context(|| format!("{README} has no {HEADING:?}"))?;
    let mut made = BTreeMap::from([(README.to_owned(), format!("{head}{HEADING}{}", table(get(VALUES)?)?))]);
    for (path, text) in files {
        for (from, ending, to) in COPIED {
            if let Some(name) = path.strip_prefix(from).filter(|name| name.ends_with(ending)) {
                made.insert(format!("{to}{name}"), text.clone());
            }
        }
    }
    Ok(made)
}

/// Whether a file is a copy, or what is left of one.
pub(crate) fn is_copy(path: &str) -> bool {
    COPIED.iter().any(|(_, _, to)| path.starts_with(to))
}

/// A row for each key that has a comment. A key without one must be below a key that has one.
fn table(values: &str) -> Result<String> {
    let defaults: Value = serde_saphyr::from_str(values).with_context(|| format!("reading {VALUES}"))?;
    let mut table = String::from(
        "\nMade by `cargo xtask docs` from [values.yaml](values.yaml).\n\n\
         | key | default | meaning |\n|---|---|---|\n",
    );
    // The keys that the line is below, from the outermost.
    let (mut keys, mut comment, mut is_explained) = (Vec::<&str>::new(), String::new(), Vec::<bool>::new());
    for line in values.lines() {
        let text = line.trim_start();
        if text.is_empty() {
            // What is above an empty line is about no key.
            comment.clear();
            continue;
        }
        if let Some(words) = text.strip_prefix("# ") {
            write!(comment, "{}{words}", if comment.is_empty() { "" } else { " " })?;
            continue;
        }
        let Some((key, value)) = text.split_once(':').filter(|_| !text.starts_with('-')) else { continue };
        let depth = (line.len() - text.len()) / 2;
        keys.truncate(depth);
        is_explained.truncate(depth);
        let is_below = is_explained.last() == Some(&true);
        keys.push(key);
        is_explained.push(is_below || !comment.is_empty());
        if comment.is_empty() {
            if !is_below && !value.is_empty() {
                bail!("{VALUES}: {} has no comment", keys.join("."));
            }
            continue;
        }
        let default =
            defaults.pointer(&format!("/{}", keys.join("/"))).context("a key is not where it looks")?;
        writeln!(table, "| `{}` | `{default}` | {} |", keys.join("."), comment.trim_end_matches('.'))?;
        comment.clear();
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comment_is_a_row() {
        let values = "# About the file.\n\na:\n  # The first.\n  b: 1\n  # Second,\n  # of two lines.\n  c: {}\n\n# List.\nd:\n- e: 1\n\
            # Map.\nf:\n  g: x\n";
        let made = table(values).unwrap();
        let rows: Vec<&str> = made.lines().skip(5).collect();
        assert_eq!(
            rows,
            [
                "| `a.b` | `1` | The first |",
                "| `a.c` | `{}` | Second, of two lines |",
                "| `d` | `[{\"e\":1}]` | List |",
                "| `f` | `{\"g\":\"x\"}` | Map |",
            ]
        );
        let error = table("# Yes.\na: 1\nb: 2\n").unwrap_err().to_string();
        assert!(error.ends_with("b has no comment"), "{error}");
    }

    #[test]
    fn dashboards_and_rules_are_copied() {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let files = BTreeMap::from([
            file(VALUES, "# A.\na: 1\n"),
            file(README, "# Chart\n\n## Values\nold\n"),
            file("deploy/grafana/x.json", "{}"),
            file("deploy/prometheus/rules/y.yaml", "groups: []\n"),
            file("deploy/prometheus/tests/z.yaml", "tests: []\n"),
        ]);
        let made = made(&files).unwrap();
        assert_eq!(made.len(), 3);
        assert!(made[README].starts_with("# Chart\n\n## Values\n\nMade") && !made[README].contains("old"));
        assert_eq!(made["deploy/helm/netcause/dashboards/x.json"], "{}");
        assert_eq!(made["deploy/helm/netcause/rules/y.yaml"], "groups: []\n");
    }
}
