//! `cargo xtask bench`: what the agent's programs cost in the kernel, counted in instructions.
//!
//! In a VM with one processor where one instruction is one nanosecond, the run times that the kernel keeps for eBPF programs
//! (`kernel.bpf_stats_enabled`) are instruction counts, which repeat on any machine.

use anyhow::Result;

use crate::{
    cargo::Profile,
    setup::{self, packages::Purpose},
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
    /// Arguments of `netcause-lab bench`, after `--`
    #[arg(last = true)]
    lab: Vec<String>,
}

/// Runs the lab's benchmark and prints what it prints.
pub(crate) fn command(args: &Args) -> Result<()> {
    let series = vm::select(std::slice::from_ref(&args.kernel))?;
    setup::packages::ensure(&[Purpose::Vm, Purpose::Lab])?;
    setup::toolchain()?;
    let programs = Programs::build(Profile::Release)?;
    let script = args.command.clone().unwrap_or_else(|| vm::lab_script("bench", &args.lab));
    Matrix { series, jobs: 1, seconds: args.seconds }.count(&[&programs.agent, &programs.lab], &script)
}
