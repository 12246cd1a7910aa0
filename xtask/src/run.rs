//! `cargo xtask run`: the agent on this machine's real traffic.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Result, bail};

use crate::{build, exec};

/// Where the agent listens unless the arguments say otherwise. Only this machine may ask: it is a trial, not a deployment.
const LISTEN: &str = "127.0.0.1:9779";

/// What it logs unless the arguments say otherwise: whoever runs it here wants to see trouble as it happens.
const LOG: &str = "info,tcp_events=debug";

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of `netcause agent`, after `--`
    #[arg(last = true)]
    agent: Vec<String>,
}

/// Builds the agent and becomes it.
pub(crate) fn command(args: &Args) -> Result<()> {
    if !exec::is_root() {
        bail!("loading eBPF programs needs root: run it as root: sudo -E env \"PATH=$PATH\" cargo xtask run");
    }
    let agent = build::release_agent()?;
    let mut command = Command::new(&agent);
    command.arg("agent").args(&args.agent);
    match listen(&args.agent) {
        Listen::Given(address) => exec::say(format!("metrics will be at http://{address}/metrics")),
        Listen::Elsewhere => exec::say("metrics will be where the configuration says"),
        Listen::Default => {
            command.args(["--listen", LISTEN]);
            exec::say(format!("metrics will be at http://{LISTEN}/metrics; Ctrl-C ends the agent"));
        }
    }
    if !args.agent.iter().any(|arg| ["--log", "--config"].iter().any(|flag| is_flag(arg, flag))) {
        command.args(["--log", LOG]);
    }
    let error = command.exec();
    bail!("cannot start {}: {error}", agent.display());
}

/// Who decides where the agent listens.
#[derive(PartialEq, Debug)]
enum Listen<'a> {
    Given(&'a str),
    Elsewhere,
    Default,
}

fn listen(args: &[String]) -> Listen<'_> {
    let mut args = args.iter();
    let mut found = Listen::Default;
    while let Some(arg) = args.next() {
        if let Some(address) = arg.strip_prefix("--listen=") {
            return Listen::Given(address);
        }
        if arg == "--listen" {
            return args.next().map_or(Listen::Elsewhere, |address| Listen::Given(address));
        }
        if is_flag(arg, "--config") {
            found = Listen::Elsewhere;
        }
    }
    found
}

/// Whether `arg` is this flag, with its value in the next argument or behind an equals sign.
fn is_flag(arg: &str, flag: &str) -> bool {
    arg.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_users_address_wins() {
        assert_eq!(listen(&args("")), Listen::Default);
        assert_eq!(listen(&args("--listen 127.0.0.1:1")), Listen::Given("127.0.0.1:1"));
        assert_eq!(listen(&args("--config x --listen=127.0.0.1:1")), Listen::Given("127.0.0.1:1"));
        assert_eq!(listen(&args("--config x")), Listen::Elsewhere);
        assert!(is_flag("--log=debug", "--log") && !is_flag("--log-format", "--log"));
    }
}
