//! The crates that are linked into the agent and its eBPF programs: those of cargo's own resolution, without what only builds or
//! tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{exec, workspace};

/// A crate with what its manifest says.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression, or several licenses separated by slashes, as it was written before.
    pub(crate) license: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) repository: Option<String>,
    /// None for a crate of this workspace.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    /// The hash of its archive in the registry, from Cargo.lock.
    #[serde(skip)]
    pub(crate) checksum: Option<String>,
    /// What it is linked with, as in [`Crate::reference`].
    #[serde(skip)]
    pub(crate) uses: BTreeSet<String>,
    id: String,
}

impl Crate {
    /// The license as an SPDX expression.
    pub(crate) fn expression(&self) -> Option<String> {
        self.license.as_ref().map(|license| license.replace('/', " OR "))
    }

    /// Its package URL (github.com/package-url/purl-spec), by which scanners look it up.
    pub(crate) fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    /// Whether it is from a registry, and not of this workspace.
    pub(crate) fn is_foreign(&self) -> bool {
        self.source.is_some()
    }
}

/// What is linked: a package, and the arguments that name the target it is built for; none for that of this machine.
const PROGRAMS: [(&str, &[&str]); 2] =
    [("netcause", &[]), ("netcause-ebpf", &["--target", "bpfel-unknown-none"])];

/// The output of `cargo metadata` that we read.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Links>,
}

#[derive(Deserialize)]
struct Links {
    id: String,
    dependencies: Vec<String>,
}

/// All of them, by name and version.
pub(crate) fn linked() -> Result<Vec<Crate>> {
    let cargo = |args: &[&str], what: &str| {
        exec::output(Command::new(workspace::cargo()).current_dir(workspace::root()?).args(args), what)
    };
    let mut names = BTreeSet::new();
    for (package, target) in PROGRAMS {
        let args = [
            &["tree", "--locked", "--prefix", "none", "--format", "{p}", "--edges", "normal,no-proc-macro"],
            &["--package", package][..],
            target,
        ]
        .concat();
        names.extend(named(&cargo(&args, "listing the crates")?));
    }
    let metadata =
        cargo(&["metadata", "--locked", "--format-version", "1"], "reading the crates' manifests")?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("reading the output of cargo metadata")?;
    let lock = workspace::root()?.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    chosen(&names, metadata, &checksums(&lock))
}

/// Names and versions in the output of `cargo tree`: `aya-ebpf v0.2.1 (*)`.
fn named(tree: &str) -> impl Iterator<Item = (String, String)> {
    tree.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    })
}

/// The checksums in a lock file by name and version; its tables have `name`, `version` and `checksum` in this order.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    let (mut name, mut version) = (String::new(), String::new());
    for line in lock.lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let value = value.trim_matches('"').to_owned();
        match key {
            "name" => name = value,
            "version" => version = value,
            "checksum" => drop(found.insert((name.clone(), version.clone()), value)),
            _ => {}
        }
    }
    found
}

/// The manifests of these crates, with their checksums and what each uses of the others.
fn chosen(
    names: &BTreeSet<(String, String)>,
    metadata: Metadata,
    checksums: &BTreeMap<(String, String), String>,
) -> Result<Vec<Crate>> {
    let mut by_name: BTreeMap<(String, String), Crate> = metadata
        .packages
        .into_iter()
        .map(|one| ((one.name.clone(), one.version.clone()), one))
        .filter(|(name, _)| names.contains(name))
        .collect();
    let references: BTreeMap<String, String> =
        by_name.values().map(|one| (one.id.clone(), one.reference())).collect();
    let mut links: BTreeMap<&str, &Links> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    names
        .iter()
        .map(|name| {
            let mut one = by_name
                .remove(name)
                .with_context(|| format!("cargo metadata has no {} {}", name.0, name.1))?;
            one.checksum = checksums.get(name).cloned();
            let uses =
                links.remove(one.id.as_str()).map(|node| node.dependencies.as_slice()).unwrap_or_default();
            one.uses = uses.iter().filter_map(|id| references.get(id)).cloned().collect();
            Ok(one)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_cargo_tree_is_read() {
        let tree = "netcause v0.1.0 (/a b/agent)\naya v0.14.0\naya v0.14.0 (*)\n\n";
        let found: BTreeSet<_> = named(tree).collect();
        let wanted = [("aya", "0.14.0"), ("netcause", "0.1.0")];
        assert_eq!(found, wanted.map(|(name, version)| (name.to_owned(), version.to_owned())).into());
    }

    #[test]
    fn checksums_are_those_of_the_version() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1\"\n\n[[package]]\nname = \"a\"\nversion = \"2\"\nchecksum = \"c\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a".to_owned(), "2".to_owned()), "c".to_owned())]));
    }

    /// The real graph: what is linked is there, what only tests, builds or generates code is not.
    #[test]
    fn what_is_linked_is_found() {
        let crates = linked().unwrap();
        let has = |name: &str| crates.iter().any(|one| one.name == name);
        assert!(
            ["netcause", "netcause-ebpf", "aya", "aya-ebpf", "tokio", "libc"].iter().all(|name| has(name))
        );
        assert!(
            !["proptest", "prost", "aya-build", "syn", "serde_derive", "xtask"].iter().any(|name| has(name))
        );
        let agent = crates.iter().find(|one| one.name == "netcause").unwrap();
        assert!(agent.uses.iter().any(|used| used.starts_with("pkg:cargo/aya@")), "{:?}", agent.uses);
        assert!(crates.iter().all(|one| one.is_foreign() == one.checksum.is_some()));
        assert!(crates.iter().all(|one| one.expression().is_some()));
    }
}
