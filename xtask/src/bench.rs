//! `cargo xtask bench`: the cost of the eBPF programs in instructions; with `--native`, the cost of the agent on this machine.
//!
//! In a VM with one processor where one instruction is one nanosecond, the run times that the kernel keeps for eBPF programs
//! (`kernel.bpf_stats_enabled`) are instruction counts, which repeat on any machine.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    cargo::Profile,
    exec, test,
    tools::{self, packages::Purpose},
    vm::{self, Matrix, Programs},
};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel to count on
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// Seconds after which the VM is stopped
    #[arg(long, default_value_t = 900)]
    seconds: u64,
    /// A shell command to run in that VM instead of the lab's benchmark
    #[arg(long, value_name = "SCRIPT")]
    command: Option<String>,
    /// Measure on this machine instead of in a VM (needs root): throughput with and without the agent, many sockets and
    /// edges, connections and DNS queries as fast as they come, the names of a cluster, what connections wait for
    #[arg(long, conflicts_with_all = ["kernel", "seconds", "command"])]
    native: bool,
    /// Arguments of `netcause-lab bench`, after `--`
    #[arg(last = true)]
    lab: Vec<String>,
}

/// The parts of the lab's benchmark that measure a machine; any of them can be given as its argument.
const NATIVE: [&str; 9] =
    ["load", "scale", "exposition", "churn", "upkeep", "dns", "dns-count", "names", "turn"];

/// Runs the lab's benchmark and prints what it prints.
pub(crate) fn command(args: &Args) -> Result<()> {
    if args.native {
        return native(&args.lab);
    }
    let series = vm::select(std::slice::from_ref(&args.kernel))?;
    tools::packages::ensure(&[Purpose::Vm, Purpose::Lab])?;
    tools::unpacked::ensure(&[Purpose::Vm])?;
    tools::toolchain()?;
    let programs = Programs::build(Profile::Release)?;
    let script = args.command.clone().unwrap_or_else(|| vm::lab_script("bench", &args.lab));
    Matrix { series, jobs: 1, seconds: args.seconds, outermost: false }
        .count(&[&programs.agent, &programs.lab], &script)
}

fn native(lab: &[String]) -> Result<()> {
    if !exec::is_root() {
        bail!(
            "loading eBPF programs needs root: run it as root: sudo -E env \"PATH=$PATH\" cargo xtask bench --native"
        );
    }
    tools::packages::ensure(&[Purpose::Lab, Purpose::Bench])?;
    tools::toolchain()?;
    let programs = Programs::build(Profile::Release)?;
    let path = test::path()?;
    let bench = |args: &[String]| {
        let mut command = Command::new(&programs.lab);
        command.arg("bench").args(args).env("NETCAUSE_BIN", &programs.agent).env("PATH", &path);
        exec::show(&mut command, "the benchmark")
    };
    if !lab.is_empty() {
        return bench(lab);
    }
    NATIVE.iter().try_for_each(|part| {
        println!("\n{part}:");
        bench(&[(*part).to_owned()])
    })
}
