//! `cargo xtask docs`: the documentation that is made from code.

use std::process::Command;

use anyhow::Result;

use crate::{exec, setup, workspace};

/// Lets the unit tests that compare documents with code write the documents instead.
pub(crate) fn command() -> Result<()> {
    setup::toolchain()?;
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
