//! Building parts of the workspace, and where cargo put the programs.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{exec, workspace};

/// Makes cargo say which programs it built.
pub(crate) const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// How a program is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Profile {
    /// `dev`: what tests run.
    Dev,
    /// `release`: what users and measurements run.
    Release,
}

/// The two lines of cargo's message stream that we read.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
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
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading cargo's messages")?;
        // Lines that are not JSON come from build scripts and are none of ours.
        if let Ok(Message { executable: Some(path), target: Some(target) }) = serde_json::from_str(&line) {
            programs.insert(target.name, path);
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() {
        bail!("building {names} failed; the compiler's messages are above");
    }
    exec::say(format!("built {names} in {}", exec::seconds(started)));
    Ok(programs)
}

/// The program `name` among those [`build`] returned.
pub(crate) fn program(programs: &BTreeMap<String, PathBuf>, name: &str) -> Result<PathBuf> {
    programs.get(name).cloned().with_context(|| format!("cargo built no program named {name}"))
}
