//! `cargo xtask faults`: how soon and how rightly the agent names what is wrong, over faults that are drawn from seeds.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    cargo::Profile,
    exec, test,
    tools::{self, packages::Purpose},
    vm::{self, Matrix, Programs},
};

/// Arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first case is drawn from this, the next ones from those that follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases
    #[arg(long, default_value_t = 24)]
    cases: u64,
    /// Only this family (see `netcause-lab faults --list`)
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Cases at a time: 8 on this machine and 2 in a VM, which is emulated, unless said otherwise
    #[arg(long)]
    at_once: Option<u64>,
    /// Healthy look-alikes alone, for so many hours
    #[arg(long)]
    hours: Option<f64>,
    /// The agent records into this directory, on this machine, for `netcause why --replay DIR --at TIME`
    #[arg(long, value_name = "DIR", conflicts_with = "kernel")]
    record: Option<String>,
    /// In a VM with this kernel instead of on this machine: 5.10, 6.1, 6.12, newest (repeat for more)
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<String>,
}

/// Runs the fault lab, which prints a line of JSON for each case, and the tables at its end.
pub(crate) fn command(args: &Args) -> Result<()> {
    let native = args.kernel.is_empty();
    if native && !exec::is_root() {
        bail!(
            "loading eBPF programs needs root: run it as root: sudo -E env \"PATH=$PATH\" cargo xtask faults"
        );
    }
    tools::packages::ensure(if native { &[Purpose::Lab] } else { &[Purpose::Vm, Purpose::Lab] })?;
    tools::toolchain()?;
    let lab = arguments(args, if native { 8 } else { 2 });
    let programs = Programs::build(Profile::Dev)?;
    if native {
        let mut command = Command::new(&programs.lab);
        command.arg("faults").args(lab).env("NETCAUSE_BIN", &programs.agent).env("PATH", test::path()?);
        return exec::show(&mut command, "the fault lab");
    }
    tools::unpacked::ensure(&[Purpose::Vm, Purpose::Lab])?;
    let series = vm::select(&args.kernel)?;
    // A case takes three minutes, and twice as long where it is emulated.
    let seconds = args.hours.map_or(0.0, |hours| hours * 3600.0) + 600.0 + 360.0 * args.cases as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a time")]
    let seconds = seconds.clamp(0.0, 1e6) as u64;
    let matrix = Matrix { series, jobs: vm::default_jobs(), seconds, outermost: false };
    let runs = matrix.run(&[&programs.agent, &programs.lab], &vm::lab_script("faults", &lab))?.runs;
    let problems: Vec<_> = runs.iter().filter_map(|run| Some((&run.place, run.problem.as_ref()?))).collect();
    if problems.is_empty() { Ok(()) } else { bail!("not every kernel could be measured: {problems:?}") }
}

/// The arguments of the lab.
fn arguments(args: &Args, at_once: u64) -> Vec<String> {
    let mut lab = vec![
        format!("--seed={}", args.seed),
        format!("--cases={}", args.cases),
        format!("--at-once={}", args.at_once.unwrap_or(at_once)),
    ];
    lab.extend(args.scenario.iter().map(|name| format!("--scenario={name}")));
    lab.extend(args.record.iter().map(|directory| format!("--record={directory}")));
    lab.extend(args.hours.map(|hours| format!("--hours={hours}")));
    lab
}
