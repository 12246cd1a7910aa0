//! `cargo xtask docs`: regenerates the documentation and the dashboards that are made from code, and what of the chart is made from
//! other files.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{chart, dashboards, exec, tidy, tools, workspace};

/// Runs the unit tests that compare documents with the code, in the mode where they write the documents, and writes the dashboards.
pub(crate) fn command() -> Result<()> {
    tools::toolchain()?;
    exec::say("regenerating docs/ and the chart's schema from the code");
    exec::show(
        Command::new(workspace::cargo())
            .current_dir(workspace::root()?)
            .args(["test", "--package", "netcause", "--", "docs", "golden"])
            .env("NETCAUSE_BLESS", "1"),
        "regenerating the documents",
    )?;
    dashboards()?;
    exec::say("done: review the changes with `git diff docs deploy`");
    Ok(())
}

/// Writes the dashboards, and what of the chart is made from other files.
pub(crate) fn dashboards() -> Result<()> {
    exec::say("regenerating the dashboards");
    dashboards::made().into_iter().try_for_each(|(path, text)| write(&path, &text))?;
    exec::say("regenerating the chart's README and its copies of dashboards and rules");
    chart::made(&tidy::files()?)?.into_iter().try_for_each(|(path, text)| write(&path, &text))
}

fn write(path: &str, text: &str) -> Result<()> {
    let file = workspace::root()?.join(path);
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(&file, text).with_context(|| format!("cannot write {path}"))?;
    Ok(())
}
