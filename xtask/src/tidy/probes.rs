//! A probe is one file name in `agent-ebpf` and `agent`, and in `agent-common` where it emits events. The module lists agree
//! with the directories.

use std::collections::BTreeSet;

use super::{Files, Violation};

const CRATES: [&str; 3] = [WIRE, "agent-ebpf", "agent"];
const WIRE: &str = "agent-common";

/// Each crate's `probe.rs` lists the files of its `probe/`, and `agent-ebpf` and `agent` have the same files.
pub(super) fn registered(files: &Files) -> Vec<Violation> {
    let mut violations = Vec::new();
    let present: Vec<&str> =
        CRATES.into_iter().filter(|name| files.contains_key(&format!("{name}/src/probe.rs"))).collect();
    let everywhere: BTreeSet<&str> = present.iter().flat_map(|name| in_directory(files, name)).collect();
    for name in present {
        let list = format!("{name}/src/probe.rs");
        let listed = modules(files.get(&list).map_or("", String::as_str));
        let found = in_directory(files, name);
        for probe in &everywhere {
            let file = format!("{name}/src/probe/{probe}.rs");
            if !found.contains(probe) {
                if name != WIRE {
                    let rule = "missing: a probe has a file of this name in both agent-ebpf and agent";
                    violations.push(Violation::new(&file, 0, rule));
                }
            } else if !listed.contains(probe) {
                violations.push(Violation::new(
                    &list,
                    0,
                    format!("has no `mod {probe};` for the file {file}"),
                ));
            }
        }
    }
    violations
}

fn in_directory<'a>(files: &'a Files, crate_name: &str) -> BTreeSet<&'a str> {
    let directory = format!("{crate_name}/src/probe/");
    let name = |path: &'a String| path.strip_prefix(&directory)?.strip_suffix(".rs");
    files.keys().filter_map(name).filter(|name| !name.contains('/')).collect()
}

/// The names after `mod` in declarations of modules.
fn modules(source: &str) -> BTreeSet<&str> {
    let name = |line: &'_ str| -> Option<usize> { line.find("mod ").map(|at| at + "mod ".len()) };
    source
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("mod ") || (line.starts_with("pub") && line.contains(" mod ")))
        .filter_map(|line| name(line).map(|at| &line[at..]))
        .filter_map(|rest| rest.strip_suffix(';'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn lists_and_directories_agree() {
        let good = files(&[
            ("agent/src/probe.rs", "mod a;\n"),
            ("agent/src/probe/a.rs", ""),
            ("agent-ebpf/src/probe.rs", "pub(crate) mod a;\n"),
            ("agent-ebpf/src/probe/a.rs", ""),
            ("agent-common/src/probe.rs", "pub mod a;\n"),
            ("agent-common/src/probe/a.rs", ""),
        ]);
        assert!(registered(&good).is_empty());
        let mut silent = good;
        silent.remove("agent-common/src/probe/a.rs");
        assert!(registered(&silent).is_empty());
        let mut bad = silent;
        bad.remove("agent/src/probe/a.rs");
        bad.insert("agent-ebpf/src/probe.rs".to_owned(), String::new());
        let paths: Vec<String> = registered(&bad).into_iter().map(|violation| violation.path).collect();
        assert_eq!(paths, ["agent-ebpf/src/probe.rs", "agent/src/probe/a.rs"]);
    }
}
