//! `cargo xtask image --verify`: that the image and the Debian package can be built again, byte for byte.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{deb, exec, workspace};

/// Builds the last commit in two fresh clones, in directories of different names, and compares what they make.
pub(super) fn command() -> Result<()> {
    let base = std::env::temp_dir().join(format!("netcause-again-{}", std::process::id()));
    let made = ["one", "a-second-one-with-a-longer-name"].map(|name| build(&base.join(name)));
    drop(fs::remove_dir_all(&base));
    let [one, other] = made;
    let (one, other) = (one?, other?);
    for ((path, bytes), (_, again)) in one.iter().zip(&other) {
        if bytes != again {
            let first = bytes.iter().zip(again).position(|(byte, other)| byte != other);
            let at = first.unwrap_or(bytes.len().min(again.len()));
            bail!("{path} has other bytes when it is built in another directory, the first at {at}");
        }
        exec::say(format!("{path} has the same {} bytes from two directories", bytes.len()));
    }
    Ok(())
}

/// The packages that are built in a clone at this directory.
fn build(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let root = workspace::root()?;
    exec::output(
        Command::new("git").arg("clone").arg("--quiet").arg(root).arg(directory),
        "cloning the last commit",
    )?;
    let mut made = Vec::new();
    for (command, path) in [("image", super::path()?), ("deb", deb::path()?)] {
        exec::show(
            Command::new(workspace::cargo()).current_dir(directory).env_remove("CARGO_TARGET_DIR").args([
                "run",
                "--quiet",
                "--package",
                "xtask",
                "--",
                command,
            ]),
            &format!("building in {}", directory.display()),
        )?;
        let path = path.strip_prefix(root).context("a package outside the workspace")?;
        let file = directory.join(path);
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        made.push((path.display().to_string(), bytes));
    }
    Ok(made)
}
