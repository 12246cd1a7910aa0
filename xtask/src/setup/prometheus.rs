//! A Prometheus server and promtool for the tests that scrape the agent with the real thing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::packages;
use crate::{exec, workspace};

/// The directory with `prometheus` and `promtool`, to be put on the search path; `None` where they are on it already.
///
/// The package is unpacked and not installed: installing it would start a server on the developer's machine.
pub(crate) fn directory() -> Result<Option<PathBuf>> {
    if exec::on_path("prometheus") && exec::on_path("promtool") {
        return Ok(None);
    }
    let root = workspace::user_cache()?.join("prometheus");
    let bin = root.join("usr/bin");
    if bin.join("promtool").is_file() && bin.join("prometheus").is_file() {
        return Ok(Some(bin));
    }
    exec::say("missing for the lab; unpacking now (not installed, no server starts): prometheus");
    if !packages::available(&["prometheus"]) {
        packages::update()?;
    }
    let fetched = workspace::setup_dir()?.join("prometheus");
    fetch(&fetched, &root).with_context(|| "cannot get Debian's package `prometheus`")?;
    Ok(Some(bin))
}

fn fetch(download: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(download).with_context(|| format!("cannot make {}", download.display()))?;
    let log = workspace::setup_dir()?.join("prometheus.log");
    exec::quietly(
        Command::new("apt-get").args(["download", "prometheus"]).current_dir(download),
        "fetching prometheus",
        &log,
    )?;
    for entry in fs::read_dir(download).with_context(|| format!("cannot read {}", download.display()))? {
        let package = entry.with_context(|| format!("cannot read {}", download.display()))?.path();
        // Unpacked beside its place and moved, so that a killed run leaves nothing that looks whole.
        let unpacked = root.with_extension("partial");
        drop(fs::remove_dir_all(&unpacked));
        exec::output(
            Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked),
            "unpacking prometheus",
        )?;
        drop(fs::remove_dir_all(root));
        fs::rename(&unpacked, root)
            .with_context(|| format!("cannot move prometheus to {}", root.display()))?;
    }
    drop(fs::remove_dir_all(download));
    Ok(())
}
