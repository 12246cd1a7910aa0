//! `cargo xtask rules`: checks the rules of `deploy/prometheus`, and runs their tests, with Prometheus's own tool.

mod cost;
mod mutants;
mod series;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{exec, tools, workspace};

/// Arguments of `cargo xtask rules`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cost: cost::Cost,
    /// Change every rule and number of the rule files whose name contains this, and see that a test fails (takes long)
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    mutants: Option<String>,
}

const RULES: &str = "deploy/prometheus/rules";
const TESTS: &str = "deploy/prometheus/tests";

/// Checks the rules; or measures what they cost, or whether their tests can fail.
pub(crate) fn command(args: &Args) -> Result<()> {
    match &args.mutants {
        Some(filter) => mutants::check(filter),
        None if cost::measure(&args.cost)? => Ok(()),
        None => check(),
    }
}

/// Fails unless every rule can be evaluated, and every test of rules passes.
pub(crate) fn check() -> Result<()> {
    let promtool = tools::unpacked::promtool()?;
    let root = workspace::root()?;
    let rules = Command::new(&promtool).args(["check", "rules"]).args(yaml(&root.join(RULES))?).output();
    ended_well(rules, "promtool check rules")?;
    let tests = Command::new(&promtool).args(["test", "rules"]).args(yaml(&root.join(TESTS))?).output();
    ended_well(tests, "promtool test rules")
}

/// The files in a directory; there are some.
fn yaml(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(is_yaml).collect();
    files.sort();
    if files.is_empty() {
        bail!("there are no YAML files in {}", directory.display());
    }
    Ok(files)
}

/// promtool says on either stream what is wrong.
fn ended_well(output: std::io::Result<std::process::Output>, what: &str) -> Result<()> {
    let output = output.with_context(|| format!("cannot start {what}"))?;
    let messages = [output.stdout, output.stderr].concat();
    let messages = String::from_utf8_lossy(&messages);
    if !output.status.success() {
        bail!("{what}:\n{}", messages.trim());
    }
    exec::say(format!("{what}: {} files in order", messages.matches("SUCCESS").count()));
    Ok(())
}
