//! Builds packages of the workspace and finds the programs.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{exec, remap, workspace};

/// Makes cargo print which programs it built.
pub(crate) const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// The file with the eBPF programs in the output directory of agent/build.rs.
const OBJECT: &str = "netcause-ebpf";

/// How a program is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Profile {
    /// `dev`: what tests run.
    Dev,
    /// `release`: what users and measurements run.
    Release,
}

/// The fields of cargo's messages that we read.
#[derive(Deserialize)]
struct Message {
    /// A program that was built, with `target`.
    executable: Option<PathBuf>,
    target: Option<Target>,
    /// Where a build script left its files.
    out_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds packages and returns their programs by name.
pub(crate) fn build(packages: &[&str], profile: Profile) -> Result<BTreeMap<String, PathBuf>> {
    let kind = if profile == Profile::Release { "release" } else { "dev" };
    let mut command = Command::new(workspace::cargo());
    command.args(["build", MESSAGES]);
    for package in packages {
        command.args(["--package", package]);
    }
    if profile == Profile::Release {
        command.arg("--release");
        remap::wrap(&mut command)?;
    }
    run(&mut command, &format!("{} ({kind})", packages.join(" and ")))
}

/// Runs a cargo that builds, with [`MESSAGES`] among its arguments, and returns its programs by name.
pub(crate) fn run(command: &mut Command, names: &str) -> Result<BTreeMap<String, PathBuf>> {
    let started = Instant::now();
    exec::say(format!("building {names}"));
    let mut child = command
        .current_dir(workspace::root()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo: is it on the search path?")?;
    let Some(stdout) = child.stdout.take() else { bail!("cargo's output could not be read") };
    let mut programs = BTreeMap::new();
    let mut is_empty = false;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading cargo's messages")?;
        // Lines that are not JSON are printed by build scripts.
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if let (Some(path), Some(target)) = (message.executable, message.target) {
            programs.insert(target.name, path);
        }
        is_empty |= message.out_dir.is_some_and(|directory| has_empty_object(&directory));
    }
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() {
        bail!("building {names} failed; the compiler's messages are above");
    }
    if is_empty {
        bail!("{names} was built without the eBPF programs: run `cargo xtask setup`, then this again");
    }
    exec::say(format!("built {names} in {}", exec::seconds(started)));
    Ok(programs)
}

/// Whether a build script left an eBPF object without programs, as agent/build.rs does where it finds no toolchain.
fn has_empty_object(directory: &Path) -> bool {
    fs::metadata(directory.join(OBJECT)).is_ok_and(|object| object.len() == 0)
}

/// The program `name` among those [`build`] returned.
pub(crate) fn program(programs: &BTreeMap<String, PathBuf>, name: &str) -> Result<PathBuf> {
    programs.get(name).cloned().with_context(|| format!("cargo built no program named {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_without_programs_is_noticed() {
        let directory = std::env::temp_dir().join(format!("netcause-object-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert!(!has_empty_object(&directory));
        fs::write(directory.join(OBJECT), []).unwrap();
        let line = serde_json::json!({"reason": "build-script-executed", "out_dir": directory}).to_string();
        let message: Message = serde_json::from_str(&line).unwrap();
        assert!(has_empty_object(&message.out_dir.unwrap()));
        fs::write(directory.join(OBJECT), "ELF").unwrap();
        assert!(!has_empty_object(&directory));
        fs::remove_dir_all(directory).unwrap();
    }
}
