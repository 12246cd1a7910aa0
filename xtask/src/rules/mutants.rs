//! Whether the tests of rules can fail: each rule is left out, and each number is changed, and some test has to notice.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{RULES, TESTS, yaml};
use crate::{exec, tools, workspace};

/// By what numbers are multiplied.
const FACTORS: [f64; 2] = [8.0, 0.125];

/// A rule file with one change.
struct Mutant {
    /// The line, from 1.
    line: usize,
    what: String,
    text: String,
}

/// Fails unless every change of a rule file whose name contains this fails a test.
pub(super) fn check(filter: &str) -> Result<()> {
    let promtool = tools::unpacked::promtool()?;
    let root = workspace::root()?;
    let directory = root.join("target/mutants");
    drop(fs::remove_dir_all(&directory));
    for part in [RULES, TESTS] {
        fs::create_dir_all(directory.join(part)).context("cannot make directories for mutants")?;
        for file in yaml(&root.join(part))? {
            copy(&file, &directory.join(part))?;
        }
    }
    let mut survivors = 0;
    for file in yaml(&directory.join(RULES))? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(filter) {
            continue;
        }
        let original =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // A file's own tests have its name.
        let tests: Vec<_> = yaml(&directory.join(TESTS))?
            .into_iter()
            .filter(|test| test.file_name().is_some_and(|test| test.to_string_lossy().starts_with(&name)))
            .collect();
        let mutants = mutants(&original);
        exec::say(format!("{name}: {} changes, {} files of tests", mutants.len(), tests.len()));
        for mutant in &mutants {
            fs::write(&file, &mutant.text).with_context(|| format!("cannot write {}", file.display()))?;
            let passes = |test: &_| exec::succeeds(Command::new(&promtool).args(["test", "rules"]).arg(test));
            if tests.iter().all(passes) {
                survivors += 1;
                println!("{RULES}/{name}.yaml:{}: {}: no test fails", mutant.line, mutant.what);
            }
        }
        fs::write(&file, original).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if survivors > 0 {
        bail!("{survivors} changes of rules fail no test; they are listed above");
    }
    Ok(())
}

fn copy(file: &Path, to: &Path) -> Result<()> {
    let name = file.file_name().context("a file without a name")?;
    fs::copy(file, to.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// Every rule left out, every number of a query changed; not zero, which stays what it is.
fn mutants(text: &str) -> Vec<Mutant> {
    let lines: Vec<&str> = text.lines().collect();
    let mut mutants = Vec::new();
    let begins = |line: &str| {
        line.starts_with("  - record:") || line.starts_with("  - alert:") || line.starts_with("- name:")
    };
    for (index, line) in lines.iter().enumerate() {
        if let Some(rule) = line.strip_prefix("  - ") {
            let end = lines
                .iter()
                .skip(index + 1)
                .position(|line| begins(line))
                .map_or(lines.len(), |more| index + 1 + more);
            let rest = [&lines[..index], &lines[end..]].concat();
            mutants.push(Mutant { line: index + 1, what: format!("{rule} left out"), text: rest.join("\n") });
        }
        for (start, end, number) in numbers(line) {
            for factor in FACTORS {
                let changed = format!("{}{}{}", &line[..start], number * factor, &line[end..]);
                let what = format!("{number} is {}", number * factor);
                let changed = [&lines[..index], &[changed.as_str()], &lines[index + 1..]].concat().join("\n");
                mutants.push(Mutant { line: index + 1, what, text: changed });
            }
        }
    }
    mutants
}

/// Where a line of a query has numbers other than zero: not in names, strings, durations, comments and annotations.
fn numbers(line: &str) -> Vec<(usize, usize, f64)> {
    let trimmed = line.trim_start();
    let is_query =
        trimmed.strip_prefix("expr:").or_else(|| line.starts_with("      ").then_some(trimmed)).is_some();
    let is_annotation =
        ["summary:", "description:", "runbook_url:"].iter().any(|key| trimmed.starts_with(key));
    if !is_query || is_annotation || trimmed.starts_with('#') {
        return Vec::new();
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '"' | '%' | ':');
    let mut found = Vec::new();
    let mut at = 0;
    for word in line.split_inclusive(|c: char| !is_part(c)) {
        let number = word.trim_end_matches(|c: char| !is_part(c));
        if let Some(value) = number.parse::<f64>().ok().filter(|value| *value > 0.0 && value.is_finite()) {
            found.push((at, at + number.len(), value));
        }
        at += word.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_numbers_are_changed() {
        let rules = "groups:\n- name: x\n  interval: 1m\n  rules:\n  # 1. Comment\n  - record: netcause:a:rate5m\n    expr: |\n      \
                     a > 4.5 / 300 * 0 # x\n  - alert: B\n    expr: b{c=\"7\"} > 2\n    for: 5m\n    annotations:\n      summary: 3 of 4\n";
        let mutants = mutants(rules);
        let found: Vec<_> = mutants.iter().map(|mutant| (mutant.line, mutant.what.as_str())).collect();
        assert_eq!(
            found,
            [
                (6, "record: netcause:a:rate5m left out"),
                (8, "4.5 is 36"),
                (8, "4.5 is 0.5625"),
                (8, "300 is 2400"),
                (8, "300 is 37.5"),
                (9, "alert: B left out"),
                (10, "2 is 16"),
                (10, "2 is 0.25"),
            ]
        );
        assert!(!mutants[0].text.contains("netcause:a") && mutants[0].text.contains("alert: B"));
        assert!(mutants[1].text.contains("a > 36 / 300"));
        assert!(mutants[6].text.contains("b{c=\"7\"} > 16\n"));
    }
}
