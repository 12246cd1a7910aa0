//! Commands that documents tell a reader to run.

use clap::CommandFactory as _;

use super::{Files, Violation};

/// The page whose commands are followed from the first to the last.
const INSTALL: &str = "docs/install.md";
/// Before the name of a command of ours.
const XTASK: &str = "cargo xtask ";

/// Each `cargo xtask COMMAND` in a document is a command, and each file of the repository that the page on installation names is there.
pub(super) fn exist(paths: &[String], files: &Files) -> Vec<Violation> {
    let cli = crate::Cli::command();
    let commands: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let mut violations = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (index, line) in text.lines().enumerate() {
            let mut at = |what: String| violations.push(Violation::new(path, index + 1, what));
            for name in xtasks(line).filter(|name| !commands.contains(name)) {
                at(format!("there is no `{XTASK}{name}`"));
            }
            if path == INSTALL {
                named(line)
                    .filter(|name| !is_there(paths, name))
                    .for_each(|name| at(format!("there is no {name}")));
            }
        }
    }
    violations
}

/// The names behind `cargo xtask` in a line.
fn xtasks(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(XTASK).filter_map(|(at, _)| {
        let rest = &line[at + XTASK.len()..];
        let end = rest.find(|char: char| !char.is_ascii_lowercase() && char != '-').unwrap_or(rest.len());
        (end > 0).then_some(&rest[..end])
    })
}

/// The paths in `deploy/` that a line names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split(|char: char| !char.is_ascii_alphanumeric() && !"/._-".contains(char))
        .map(|word| word.trim_start_matches("../").trim_end_matches(['.', '/']))
        .filter(|word| word.starts_with("deploy/"))
}

/// Whether it is a file, or a directory with files.
fn is_there(paths: &[String], name: &str) -> bool {
    paths
        .iter()
        .any(|path| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let paths = ["deploy/helm/x.yaml".to_owned()];
        let check = |text: &str| exist(&paths, &Files::from([(INSTALL.to_owned(), text.to_owned())]));
        assert!(
            check("`cargo xtask image --verify`, then kubectl apply -f deploy/helm/x.yaml, deploy/helm")
                .is_empty()
        );
        assert_eq!(check("cargo xtask imagine").len(), 1);
        assert_eq!(check("[a](../deploy/README.md), deploy/he").len(), 2);
    }
}
