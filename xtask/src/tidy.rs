//! `cargo xtask tidy`: project lints that neither rustc nor clippy has.

mod commands;
mod core;
mod deploy;
mod files;
mod probes;
mod reach;
mod runbooks;
mod rust;
mod text;

use std::{collections::BTreeMap, fmt, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{exec, workspace};

/// The files of the repository by path, with their text. Files that are not text are not here.
pub(crate) type Files = BTreeMap<String, String>;

/// One place that violates a project lint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// The text of every file of the repository.
pub(crate) fn files() -> Result<Files> {
    read(&tracked()?)
}

/// Checks the repository.
pub(crate) fn command() -> Result<()> {
    let paths = tracked()?;
    let files = read(&paths)?;
    for violation in rust::long(&files) {
        exec::say(format!("tidy: note: {violation}"));
    }
    let violations = check(&paths, &files);
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => {
            exec::say(format!("tidy: {} files are in order", paths.len()));
            Ok(())
        }
        count => bail!("tidy: {count} violations of project lints; they are listed above"),
    }
}

fn check(paths: &[String], files: &Files) -> Vec<Violation> {
    [
        files::names(paths),
        files::documents(files),
        core::is_pure(files),
        core::has_no_runtime(files),
        probes::registered(files),
        reach::examples(files),
        reach::documented(files),
        rust::too_long(files),
        rust::aya_users(files),
        rust::unsafe_places(files),
        text::machine_facts(files),
        text::links(paths, files),
        runbooks::pages(files),
        commands::exist(paths, files),
        deploy::image(files),
        deploy::unit(files),
        deploy::agents(files),
        deploy::permissions(files),
        deploy::dashboards(files),
        deploy::chart(files),
        deploy::rules(files),
    ]
    .concat()
}

/// Files that git knows or would add.
fn tracked() -> Result<Vec<String>> {
    let root = workspace::root()?;
    let listing = exec::output(
        Command::new("git").current_dir(root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]),
        "listing the repository's files",
    )?;
    let exists = |path: &&str| !path.is_empty() && root.join(path).is_file();
    Ok(listing.split('\0').filter(exists).map(str::to_owned).collect())
}

fn read(paths: &[String]) -> Result<Files> {
    let root = workspace::root()?;
    let mut files = Files::new();
    for path in paths {
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.insert(path.clone(), text);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails where `cargo xtask tidy` does.
    #[test]
    fn the_repository_is_tidy() {
        let paths = tracked().unwrap();
        let violations = check(&paths, &read(&paths).unwrap());
        let text: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{}", text.join("\n"));
    }
}
