//! `cargo xtask docs`: regenerates the documentation that is made from code.

use std::process::Command;

use anyhow::Result;

use crate::{exec, tools, workspace};

/// Runs the unit tests that compare documents with the code, in the mode where they write the documents.
pub(crate) fn command() -> Result<()> {
    tools::toolchain()?;
    exec::say("regenerating docs/ from the code");
    exec::show(
        Command::new(workspace::cargo())
            .current_dir(workspace::root()?)
            .args(["test", "--package", "netcause", "--", "docs", "golden"])
            .env("NETCAUSE_BLESS", "1"),
        "regenerating the documents",
    )?;
    exec::say("done: review the changes with `git diff docs`");
    Ok(())
}
