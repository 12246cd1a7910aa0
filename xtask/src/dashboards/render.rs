//! `cargo xtask dashboards`: pictures of the dashboards, drawn from the data of a real Prometheus.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cargo::Profile,
    docs, exec, test,
    tools::{self, packages::Purpose},
    vm::Programs,
};

/// Arguments of `cargo xtask dashboards`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where pages and pictures go
    #[arg(long, value_name = "DIRECTORY", default_value = "target/dashboards")]
    render: PathBuf,
    /// A Prometheus that scrapes agents, instead of the lab's: without TLS and password
    #[arg(long, value_name = "HOST:PORT")]
    prometheus: Option<String>,
    /// Further arguments of `netcause-lab render`: --minutes, --variable, --rate-interval
    #[arg(last = true, requires = "prometheus")]
    more: Vec<String>,
}

/// Makes the dashboards and draws them: from a Prometheus that runs, or from one that scrapes the lab meanwhile (needs root).
pub(crate) fn command(args: &Args) -> Result<()> {
    docs::dashboards()?;
    match &args.prometheus {
        Some(at) => draw(at, &args.more, &args.render),
        None => lab(&made(&args.render)?),
    }
}

fn made(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::canonicalize(directory).context("cannot find the directory for pictures")
}

/// Draws the dashboards from a Prometheus that runs; `more` are further arguments of `netcause-lab render`.
pub(crate) fn draw(at: &str, more: &[String], to: &Path) -> Result<()> {
    let browser = match tools::browser() {
        Ok(directory) => Some(directory),
        Err(error) => {
            exec::say(format!("pages without pictures: {error:#}"));
            None
        }
    };
    running(at, more, &made(to)?, browser)
}

fn running(at: &str, more: &[String], to: &Path, browser: Option<PathBuf>) -> Result<()> {
    let lab = crate::cargo::build(&["netcause-lab"], Profile::Dev)?;
    let mut path: Vec<PathBuf> = browser.into_iter().collect();
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(crate::cargo::program(&lab, "netcause-lab")?);
    command.args(["render", "--prometheus", at, "--to"]).arg(to).args(more);
    command.env("PATH", std::env::join_paths(path).context("a directory of the search path has a colon")?);
    exec::show(&mut command, "drawing the dashboards")
}

/// Runs the scenario, which draws at its end.
fn lab(to: &Path) -> Result<()> {
    if !exec::is_root() {
        bail!(
            "the lab needs root: run it as root, or name a Prometheus that scrapes agents with --prometheus HOST:PORT"
        );
    }
    tools::packages::ensure(&[Purpose::Lab])?;
    tools::toolchain()?;
    let programs = Programs::build(Profile::Dev)?;
    let mut command = Command::new(&programs.lab);
    command.args(["run", "prometheus::dashboard"]).env("NETCAUSE_BIN", &programs.agent);
    command.env("NETCAUSE_LAB_DASHBOARDS", to).env("PATH", test::path()?);
    exec::show(&mut command, "the scenario of the dashboards")?;
    exec::say(format!("pages and pictures are in {}", to.display()));
    Ok(())
}
