//! The licenses of all crates that are linked, as one text: each license once, with the crates that come under it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::crates::Crate;
use crate::exec;

/// How the names of files with licenses begin, in lower case.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];
/// The license of this project, under which we take crates that offer a choice and bring no text.
const OWN: &str = "Apache-2.0";

/// The text; `own` is the license of this project.
pub(crate) fn text(crates: &[Crate], own: &str) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in crates.iter().filter(|one| one.is_foreign()) {
        let license = one.expression().with_context(|| format!("{} names no license", one.name))?;
        let name = format!("{} {} ({license})", one.name, one.version);
        let found = texts_of(one)?;
        if found.is_empty() {
            if !may_be_taken_as(&license, OWN) {
                bail!("{name} brings no text of its license: add it to xtask/src/ship/licenses.rs");
            }
            texts.entry(own.trim().to_owned()).or_default().push(name);
            continue;
        }
        for text in found {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    // By the first crate of each, so that the order is one that a reader can follow.
    let mut sections: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, names)| (names, text)).collect();
    sections.sort();
    let mut whole = "Netcause is linked with the crates below. Each license is here once, behind the crates that it came with.\n\
        Their versions, sources and hashes are in sbom.cdx.json.\n"
        .to_owned();
    for (names, text) in sections {
        let line = "=".repeat(78);
        whole.push_str(&format!("\n{line}\n{}\n{line}\n\n{text}\n", names.join("\n")));
    }
    Ok(whole)
}

/// The texts in the source of a crate, ends of lines and margins aside.
fn texts_of(one: &Crate) -> Result<Vec<String>> {
    let directory = one.manifest_path.parent().context("a manifest in no directory")?;
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("cannot list {}", directory.display()))?;
    files.retain(|file| file.is_file() && is_license(file));
    files.sort();
    let read = |file: PathBuf| {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        Ok(lines.join("\n").trim_matches('\n').to_owned())
    };
    files.into_iter().map(read).collect()
}

fn is_license(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    // A module of a program may have such a name, too.
    !name.ends_with(".rs") && NAMES.iter().any(|begin| name.starts_with(begin))
}

/// Whether an SPDX expression without parentheses leaves this license to choose, or names it alone.
fn may_be_taken_as(expression: &str, license: &str) -> bool {
    !expression.contains(['(', ')']) && expression.split(" OR ").any(|choice| choice.trim() == license)
}

/// The notices of Rust's standard library and of what that is linked with, as its release has them; none in an installation
/// without documents.
pub(crate) fn of_standard_library() -> Result<Option<Vec<u8>>> {
    let root =
        exec::output(Command::new("rustc").args(["--print", "sysroot"]), "asking rustc for its directory")?;
    let file = Path::new(root.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    if !file.is_file() {
        exec::say(format!(
            "the notices of Rust's standard library are left out: there is no {}",
            file.display()
        ));
        return Ok(None);
    }
    fs::read(&file).map(Some).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::crates;

    #[test]
    fn choices_are_read() {
        assert!(may_be_taken_as("MIT OR Apache-2.0", OWN));
        assert!(may_be_taken_as("Apache-2.0", OWN));
        assert!(!may_be_taken_as("Apache-2.0 AND ISC", OWN));
        assert!(!may_be_taken_as("(MIT OR Apache-2.0) AND ISC", OWN));
    }

    #[test]
    fn files_with_licenses_are_known_by_their_names() {
        let is = |name: &str| is_license(Path::new(name));
        assert!(is("/x/LICENSE-MIT") && is("COPYING") && is("License.md") && is("UNLICENSE") && is("NOTICE"));
        assert!(!is("README.md") && !is("license.rs"));
    }

    /// Every crate that is linked is named, and has a text.
    #[test]
    fn every_crate_has_a_license() {
        let crates = crates::linked().unwrap();
        let text = text(&crates, "the text of our license").unwrap();
        for one in crates.iter().filter(|one| one.is_foreign()) {
            let name = format!("{} {} (", one.name, one.version);
            assert!(text.lines().any(|line| line.starts_with(&name)), "{name} is missing");
        }
        assert!(text.contains("Permission is hereby granted"));
    }
}
