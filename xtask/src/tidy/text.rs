//! Lints on all text: no facts about one machine, no dead links.

use std::collections::BTreeSet;

use super::{Files, Violation};

/// Hosts and directories of one machine's configuration, in pieces so that this file has none of them.
const MACHINE_FACTS: &[&[&str]] = &[
    &["deb", ".debian.org"],
    &["security", ".debian.org"],
    &["snapshot", ".debian.org"],
    &["crates", ".io"],
    &["static", ".rust-lang.org"],
    &["pypi", ".org"],
    &["files", ".pythonhosted.org"],
    &["registry", ".npmjs.org"],
    &["proxy", ".golang.org"],
    &["/wo", "rk/"],
    &["/ro", "ot/"],
];

/// No host of a package registry, no path of one machine.
pub(super) fn machine_facts(files: &Files) -> Vec<Violation> {
    let facts: Vec<String> = MACHINE_FACTS.iter().map(|pieces| pieces.concat()).collect();
    let mut violations = Vec::new();
    // cargo writes the registry's name into its lock file.
    for (path, text) in files.iter().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (number, line) in text.lines().enumerate() {
            for fact in facts.iter().filter(|fact| says(line, fact)) {
                violations.push(Violation::new(
                    path,
                    number + 1,
                    format!("contains {fact}, which is true of some machines only"),
                ));
            }
        }
    }
    violations
}

/// Whether a line has this text, and not as the end of a longer path or name.
fn says(line: &str, fact: &str) -> bool {
    line.match_indices(fact).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '~' | ')'))
    })
}

/// Links in Markdown lead to files that exist.
pub(super) fn links(paths: &[String], files: &Files) -> Vec<Violation> {
    let mut known: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    for path in paths {
        known.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    let mut violations = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (number, line) in outside_code(text) {
            for target in targets(line) {
                let file = resolve(path, target);
                if !file.is_empty() && !known.contains(file.as_str()) {
                    violations.push(Violation::new(
                        path,
                        number,
                        format!("the link to {target} is dead: there is no such file"),
                    ));
                }
            }
        }
    }
    violations
}

/// Lines of Markdown, by number from 1, that are not in a block of code.
pub(super) fn outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().scan(false, |in_code, (index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        *in_code ^= is_fence;
        Some((!*in_code && !is_fence).then_some((index + 1, line)))
    });
    lines.flatten()
}

/// The targets of a line's links that are files.
fn targets(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, open)| line[at + open.len()..].split([')', ' ']).next())
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// A link's path from the root of the repository.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_not_named() {
        let host = ["deb", ".debian.org"].concat();
        let directory = ["/wo", "rk/main"].concat();
        let text = format!("see {host}\nin {directory}\nframe{directory}\n");
        let violations = machine_facts(&Files::from([("README.md".to_owned(), text)]));
        assert_eq!(violations.iter().map(|violation| violation.line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn links_lead_somewhere() {
        let paths = ["README.md", "docs/a.md", "docs/b.md"].map(str::to_owned);
        let text = "[b](b.md#x) [up](../README.md) [dir](../docs) [web](https://x.y/z) [gone](c.md)\n```\n[x](y)\n```\n";
        let files = Files::from([("docs/a.md".to_owned(), text.to_owned())]);
        let violations = links(&paths, &files);
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].what.contains("c.md"));
    }
}
