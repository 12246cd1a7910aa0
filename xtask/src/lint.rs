//! `cargo xtask lint`: formatting, project lints, the manifests, the rules, the dependencies, clippy.

use std::process::Command;

use anyhow::Result;

use crate::{deny, exec, manifests, rules, tidy, tools, workspace};

/// Checks everything that can be checked without running the project. Cheapest first.
pub(crate) fn command() -> Result<()> {
    let cargo = || -> Result<Command> {
        let mut command = Command::new(workspace::cargo());
        command.current_dir(workspace::root()?);
        Ok(command)
    };
    exec::say("lint: formatting");
    exec::show(
        cargo()?.args(["fmt", "--all", "--check"]),
        "checking the formatting (`cargo fmt --all` corrects it)",
    )?;
    exec::say("lint: tidy");
    tidy::command()?;
    exec::say("lint: manifests");
    manifests::check()?;
    exec::say("lint: rules");
    rules::check()?;
    exec::say("lint: dependencies");
    deny::check()?;
    tools::toolchain()?;
    exec::say("lint: clippy");
    exec::show(
        cargo()?.args([
            "clippy",
            "--workspace",
            "--exclude",
            "netcause-ebpf",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
        "clippy",
    )?;
    // The programs are no_std and no_main: as a host binary they can be checked, not linked, and have no tests.
    exec::say("lint: clippy on the eBPF programs");
    exec::show(
        cargo()?.args(["clippy", "--package", "netcause-ebpf", "--bins", "--", "-D", "warnings"]),
        "clippy on the eBPF programs",
    )?;
    exec::say("lint: no violations");
    Ok(())
}
