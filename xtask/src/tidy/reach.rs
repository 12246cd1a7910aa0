//! What a change of a frequent kind touches: one example of each is held to the files that CONTRIBUTING.md lists.
//!
//! Counted are files of the agent that name the example in code. Tests, and what `cargo xtask docs` makes, follow from
//! these and are left out.

use std::collections::BTreeSet;

use super::{Files, Violation, rust};

const GUIDE: &str = "CONTRIBUTING.md";
/// The crates of the agent.
const AGENT: [&str; 4] = ["agent/src/", "agent/core/src/", "agent-common/src/", "agent-ebpf/src/"];
/// Stands for the example's first name in the guide.
const NAME: &str = "<name>";

/// A change that was made, as an example of its kind.
struct Example {
    /// The kind of change, as in the guide.
    kind: &'static str,
    /// What it is called in code, whole words.
    names: &'static [&'static str],
    /// The files that name it, in the order of the guide.
    files: &'static [&'static str],
}

const EXAMPLES: &[Example] = &[
    Example {
        kind: "number of the daemon",
        names: &["counts.scrapes", "netcause_scrape_duration_seconds"],
        files: &["agent/src/expose/tables/agent.rs", "agent/src/app/server.rs"],
    },
    Example {
        kind: "number of the kernel side",
        names: &["FlowsFolded", "flows_folded", "netcause_flow_table_overflows"],
        files: &[
            "agent-common/src/statistics.rs",
            "agent-ebpf/src/flow.rs",
            "agent/src/expose/tables/agent.rs",
        ],
    },
    Example {
        kind: "setting",
        names: &["flow_idle_seconds"],
        files: &["agent/src/config/settings.rs", "agent/src/app/options.rs"],
    },
    Example {
        kind: "counter of an edge",
        names: &["spurious_retransmits", "dsack_dups", "netcause_tcp_spurious_retransmits"],
        files: &[
            "agent-common/src/layout.rs",
            "agent-common/src/flow.rs",
            "agent-ebpf/src/kernel/tcp.rs",
            "agent-ebpf/src/traffic.rs",
            "agent/core/src/aggregate/waits/carried.rs",
            "agent/src/expose/tables/tcp.rs",
        ],
    },
    Example {
        kind: "small probe",
        names: &["udp_drop", "UdpDrop"],
        files: &[
            "agent-common/src/probe.rs",
            "agent-ebpf/src/probe.rs",
            "agent-ebpf/src/probe/udp_drop.rs",
            "agent/src/probe.rs",
            "agent/src/probe/udp_drop.rs",
        ],
    },
];

/// The files that name each example are those of its list.
pub(super) fn examples(files: &Files) -> Vec<Violation> {
    let sources = || {
        rust::without_tests(files)
            .filter(|(path, _)| AGENT.iter().any(|directory| path.starts_with(directory)))
    };
    EXAMPLES.iter().flat_map(|example| example.check(sources())).collect()
}

impl Example {
    fn check<'a>(&self, sources: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Violation> {
        let Self { kind, names, files } = self;
        let mut missing: BTreeSet<&str> = files.iter().copied().collect();
        let mut seen = BTreeSet::new();
        let mut violations = Vec::new();
        for (path, line, code) in rust::lines(sources) {
            let Some(name) = names.iter().find(|name| has_word(code, name)) else { continue };
            missing.remove(path);
            if !files.contains(&path) && seen.insert(path) {
                let what = format!(
                    "names `{name}`: an example of a {kind}, which takes {} files. Say it in one of those ({}), or, if \
                     every {kind} has to be named here too, add this file to {GUIDE} and xtask/src/tidy/reach.rs",
                    files.len(),
                    files.join(", "),
                );
                violations.push(Violation::new(path, line, what));
            }
        }
        violations.extend(missing.into_iter().map(|path| {
            let what = format!(
                "does not name any of {}, the example of a {kind}: take this file out of {GUIDE} and \
                 xtask/src/tidy/reach.rs, or put the one there that has it now",
                names.join(", "),
            );
            Violation::new(path, 0, what)
        }));
        violations
    }

    /// The files as in the guide.
    fn in_guide(&self) -> Vec<String> {
        let name = self.names.first().copied().unwrap_or_default();
        self.files.iter().map(|file| file.replace(name, NAME)).collect()
    }
}

/// The guide lists for each kind the number of its files, and the files in order.
pub(super) fn documented(files: &Files) -> Vec<Violation> {
    let rows = rows(files.get(GUIDE).map_or("", String::as_str));
    let wrong = EXAMPLES.iter().filter_map(|example| {
        let title = format!("{}: {}", example.kind, example.files.len());
        let listed: Vec<&str> =
            rows.iter().filter(|(kind, _)| *kind == title).map(|(_, file)| *file).collect();
        let expected = example.in_guide();
        (listed != expected).then(|| {
            let what = format!(
                "the table of changes needs, below `{title}`, one row each for {}",
                expected.join(", ")
            );
            Violation::new(GUIDE, 0, what)
        })
    });
    wrong.collect()
}

/// Kind and file of each row of the guide's tables; an empty first cell repeats the one above.
fn rows(guide: &str) -> Vec<(&str, &str)> {
    let cells = guide.lines().filter_map(|line| line.strip_prefix('|')?.split_once('|'));
    cells
        .scan("", |kind, (first, rest)| {
            if !first.trim().is_empty() {
                *kind = first.trim();
            }
            Some((*kind, rest.split('`').nth(1).unwrap_or_default()))
        })
        .collect()
}

/// Whether a line has this name, and not as a part of a longer one.
fn has_word(code: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(is_part) && !code[at + name.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Example = Example {
        kind: "probe",
        names: &["drop", "Drop"],
        files: &["agent/src/a.rs", "agent/src/a/drop.rs"],
    };

    fn found(sources: &[(&str, &str)]) -> Vec<(String, usize)> {
        let violations = PROBE.check(sources.iter().copied());
        violations.into_iter().map(|violation| (violation.path, violation.line)).collect()
    }

    #[test]
    fn a_file_more_and_a_file_less_are_found() {
        let here = [("agent/src/a.rs", "mod drop;"), ("agent/src/a/drop.rs", "id: Id::Drop,")];
        assert!(found(&here).is_empty());
        assert_eq!(found(&here[..1]), [("agent/src/a/drop.rs".to_owned(), 0)]);
        let more = [here[0], here[1], ("agent/src/b.rs", "\nlet all = [drop, take];\nDrop")];
        assert_eq!(found(&more), [("agent/src/b.rs".to_owned(), 2)]);
    }

    #[test]
    fn names_are_whole_words_of_code() {
        assert!(has_word("f(\"drop\")", "drop") && has_word("drop", "drop") && has_word("x.drop", "drop"));
        assert!(!has_word("drops", "drop") && !has_word("udp_drop", "drop") && !has_word("dro", "drop"));
        let comment = ("agent/src/b.rs", "x // drop");
        let here = [("agent/src/a.rs", "mod drop;"), ("agent/src/a/drop.rs", "Drop"), comment];
        assert!(found(&here).is_empty());
    }

    #[test]
    fn only_code_of_the_agent_counts() {
        let elsewhere = |path: &str, text: &str| {
            let files = Files::from([(path.to_owned(), text.to_owned())]);
            examples(&files).into_iter().filter(|violation| violation.path == path).count()
        };
        assert_eq!(elsewhere("agent/src/x.rs", "config.flow_idle_seconds"), 1);
        assert_eq!(elsewhere("tests/src/x.rs", "config.flow_idle_seconds"), 0);
        assert_eq!(elsewhere("agent/src/x.rs", "\n#[cfg(test)]\nmod tests {\nflow_idle_seconds"), 0);
    }

    #[test]
    fn the_guide_has_every_file_in_order() {
        let table = |examples: &[Example]| {
            let rows = examples.iter().flat_map(|example| {
                let files = example.in_guide();
                let first = format!("{}: {}", example.kind, files.len());
                let kinds = std::iter::once(first).chain(std::iter::repeat(String::new()));
                kinds
                    .zip(files)
                    .map(|(kind, file)| format!("| {kind} | `{file}` | text |\n"))
                    .collect::<Vec<_>>()
            });
            rows.collect::<String>()
        };
        let wrong = |guide: &str| documented(&Files::from([(GUIDE.to_owned(), guide.to_owned())])).len();
        let guide = table(EXAMPLES);
        assert_eq!(wrong(&guide), 0);
        assert!(guide.contains("`agent/src/probe/<name>.rs`"), "{guide}");
        assert_eq!(wrong(&guide.replace("setting: 2", "setting: 1")), 1);
        assert_eq!(wrong(&guide.replace("agent/src/probe.rs", "agent/src/probes.rs")), 1);
        assert_eq!(wrong(""), EXAMPLES.len());
    }
}
