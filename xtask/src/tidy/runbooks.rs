//! Lints on runbooks: one page for each cause, with the same headings, in the index, and linked under the cause's own name.

use std::collections::BTreeSet;

use super::{Files, Violation, text};

const CAUSES: &str = "agent/core/src/diagnose/cause.rs";
const DIRECTORY: &str = "docs/runbooks/";
const INDEX: &str = "docs/runbooks/README.md";
/// The headings behind the title, which is the cause.
const HEADINGS: [&str; 4] =
    ["## What the agent has seen", "## What it is mistaken for", "## How to confirm it", "## How to fix it"];

/// Causes, pages and the index agree. That links lead to files is checked for all documents.
pub(super) fn pages(files: &Files) -> Vec<Violation> {
    let causes = all(files);
    if causes.is_empty() {
        return vec![Violation::new(CAUSES, 0, "has no causes where `cargo xtask tidy` looks: `enum Cause`")];
    }
    let pages: BTreeSet<&str> = files.keys().filter_map(|path| label(path)).collect();
    let missing = causes.iter().filter(|cause| !pages.contains(*cause)).map(|cause| {
        let what = format!("this file is missing: the cause `{cause}` in {CAUSES} needs a runbook");
        Violation::new(&page(cause), 0, what)
    });
    let orphans = pages.iter().filter(|name| !causes.contains(*name)).map(|name| {
        let what = format!("there is no cause `{name}` in {CAUSES}: remove the page or rename it");
        Violation::new(&page(name), 0, what)
    });
    let mut violations: Vec<Violation> = missing.chain(orphans).collect();
    violations.extend(listed(files, &causes));
    for (path, text) in files.iter().filter(|(path, _)| path.starts_with(DIRECTORY)) {
        if let Some(name) = label(path) {
            violations.extend(headings(path, name, text));
        }
        violations.extend(misnamed(path, text, &causes));
    }
    violations
}

fn page(cause: &str) -> String {
    format!("{DIRECTORY}{cause}.md")
}

/// The cause that a page is about.
fn label(path: &str) -> Option<&str> {
    let name = path.strip_prefix(DIRECTORY)?.strip_suffix(".md")?;
    (path != INDEX && !name.contains('/')).then_some(name)
}

/// The labels of all causes, in their order.
pub(super) fn all(files: &Files) -> Vec<&str> {
    causes(files.get(CAUSES).map_or("", String::as_str))
}

/// The labels of `enum Cause`, in its order.
fn causes(source: &str) -> Vec<&str> {
    let lines = source.lines().map(str::trim).skip_while(|line| !line.starts_with("pub enum Cause:"));
    let variants = lines.skip(1).take_while(|line| *line != "}").filter(|line| !line.starts_with("//"));
    variants.filter_map(|line| line.split('"').nth(1)).collect()
}

/// A page has the title and the headings, in order, and no others.
fn headings(path: &str, name: &str, text: &str) -> Option<Violation> {
    let found: Vec<&str> =
        text::outside_code(text).map(|(_, line)| line).filter(|line| line.starts_with('#')).collect();
    let title = format!("# {name}");
    let expected: Vec<&str> = std::iter::once(title.as_str()).chain(HEADINGS).collect();
    (found != expected).then(|| {
        let what = format!("has the headings {found:?} instead of {expected:?}");
        Violation::new(path, 0, what)
    })
}

/// The index has a row for each cause, in the order of the causes.
fn listed(files: &Files, causes: &[&str]) -> Option<Violation> {
    let index = files.get(INDEX).map_or("", String::as_str);
    let rows = index.lines().filter_map(|line| line.strip_prefix("| [")?.split(']').next());
    let found: Vec<&str> = rows.collect();
    if found == causes {
        return None;
    }
    let missing: Vec<_> = causes.iter().filter(|cause| !found.contains(cause)).collect();
    let unknown: Vec<_> = found.iter().filter(|row| !causes.contains(row)).collect();
    let what = format!(
        "its table is not the list of causes in {CAUSES}, one row each in the same order: missing {missing:?}, unknown \
         {unknown:?}"
    );
    Some(Violation::new(INDEX, 0, what))
}

/// A link that has the name of a cause leads to its page.
fn misnamed(path: &str, text: &str, causes: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, line) in text::outside_code(text) {
        for (at, open) in line.match_indices("](") {
            let name = line[..at].rsplit('[').next().unwrap_or_default();
            let target = line[at + open.len()..].split([')', '#']).next().unwrap_or_default();
            if causes.contains(&name) && target != format!("{name}.md") {
                let what = format!("the link {name} leads to {target} instead of {name}.md");
                violations.push(Violation::new(path, number, what));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two causes with their pages and the index.
    fn good() -> Files {
        let causes = "enum Side {\n    Path = 0, \"path\";\n}\npub enum Cause: u8 {\n    /// A \"doc\".\n    PathLoss = 0, \
             \"path_loss\";\n    AckLoss = 1, \"ack_loss\";\n}\npub enum Owner: u8 {\n    Node = 0, \"node\";\n}\n";
        let page = |name: &str| format!("# {name}\n\n{}\n\n```sh\n# as root\n```\n", HEADINGS.join("\n\n"));
        let index = "# Runbooks\n\n| cause | side |\n|---|---|\n| [path_loss](path_loss.md) | path |\n\
             | [ack_loss](ack_loss.md) ¹ | path |\n";
        [
            (CAUSES, causes.to_owned()),
            (INDEX, index.to_owned()),
            ("docs/runbooks/path_loss.md", page("path_loss") + "[ack_loss](ack_loss.md)\n"),
            ("docs/runbooks/ack_loss.md", page("ack_loss")),
        ]
        .map(|(path, text)| (path.to_owned(), text))
        .into()
    }

    /// The paths of the violations after a change of a file.
    fn changed(path: &str, from: &str, to: &str) -> Vec<String> {
        let mut files = good();
        let text = files.get_mut(path).unwrap();
        assert!(text.contains(from), "{text}");
        *text = text.replacen(from, to, 1);
        found(&files)
    }

    fn found(files: &Files) -> Vec<String> {
        pages(files).into_iter().map(|violation| violation.path).collect()
    }

    #[test]
    fn causes_pages_and_index_agree() {
        assert_eq!(causes(&good()[CAUSES]), ["path_loss", "ack_loss"]);
        assert!(found(&good()).is_empty());
        let mut files = good();
        files.remove("docs/runbooks/ack_loss.md");
        assert_eq!(found(&files), ["docs/runbooks/ack_loss.md"]);
        let mut files = good();
        let page = files["docs/runbooks/ack_loss.md"].replace("ack_loss", "old");
        files.insert("docs/runbooks/old.md".to_owned(), page);
        assert_eq!(found(&files), ["docs/runbooks/old.md"]);
        assert_eq!(found(&Files::new()), [CAUSES]);
    }

    #[test]
    fn a_cause_that_the_index_lacks_is_found() {
        assert_eq!(changed(INDEX, "| [ack_loss](ack_loss.md) ¹ | path |\n", ""), [INDEX]);
        assert_eq!(changed(INDEX, "| [ack_loss](ack_loss.md)", "| [loss](ack_loss.md)"), [INDEX]);
        let twice = "| [path_loss](path_loss.md) |\n| [path_loss](path_loss.md)";
        assert_eq!(changed(INDEX, "| [path_loss](path_loss.md)", twice), [INDEX]);
    }

    #[test]
    fn a_page_with_other_headings_is_found() {
        let page = "docs/runbooks/path_loss.md";
        assert_eq!(changed(page, "# path_loss", "# Path loss"), [page]);
        assert_eq!(changed(page, HEADINGS[2], "## How to see it"), [page]);
        assert_eq!(changed(page, HEADINGS[2], ""), [page]);
        assert_eq!(changed(page, HEADINGS[0], &format!("{}\n\n{}", HEADINGS[1], HEADINGS[0])), [page]);
        assert_eq!(changed(page, HEADINGS[3], &format!("{}\n\n## More", HEADINGS[3])), [page]);
    }

    #[test]
    fn a_link_under_the_name_of_another_cause_is_found() {
        let page = "docs/runbooks/path_loss.md";
        assert_eq!(changed(page, "(ack_loss.md)", "(path_loss.md)"), [page]);
        assert!(changed(page, "(ack_loss.md)", "(ack_loss.md#how-to-fix-it)").is_empty());
    }
}
