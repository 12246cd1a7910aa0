//! Everything a developer of Netcause runs: set-up, build, run, test, lint, the kernel matrix, benchmarks.
//!
//! One file per command. Each prints what it is about to do, shows progress, and where it fails names what is missing and what
//! to do about it.

mod bench;
mod btf;
mod build;
mod cargo;
mod chart;
mod dashboards;
mod deb;
mod deny;
mod docs;
mod exec;
mod faults;
mod fuzz;
mod image;
mod linked;
mod lint;
mod manifests;
mod remap;
mod results;
mod rules;
mod run;
mod setup;
mod ship;
mod test;
mod tidy;
mod tools;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The developer's commands of Netcause.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: packages, the eBPF toolchain, kernels of the matrix
    Setup(setup::Args),
    /// Build the agent in release mode
    Build,
    /// Build the agent and its image, as an archive for every container engine
    Image(image::Args),
    /// Build the agent and its Debian package
    Deb(ship::Program),
    /// Build the agent and run it on this machine's real traffic (needs root)
    Run(run::Args),
    /// Run every test: unit tests, the lab on this machine, the lab on every kernel of the matrix
    Test(test::Args),
    /// Check formatting, clippy, the manifests, the rules for Prometheus and the project lints
    Lint,
    /// Check only the project lints (part of `lint`)
    Tidy,
    /// Check only the manifests and the Helm chart (part of `lint`)
    Manifests,
    /// Check only the rules for Prometheus, and run their tests (part of `lint`)
    Rules(rules::Args),
    /// Run the lab inside VMs, one per kernel
    Vm(vm::Args),
    /// Play faults between two VMs, each with an agent that sees its own end alone
    OneEnded(vm::pair::Args),
    /// Count the kernel-side cost in instructions, in a VM where they repeat
    Bench(bench::Args),
    /// Draw faults, and measure how soon and how rightly the agent names them (needs root, or --kernel)
    Faults(faults::Args),
    /// Fuzz the parser of DNS messages
    Fuzz(fuzz::Args),
    /// Draw the dashboards from real data: of the lab (needs root), or of a Prometheus that runs
    Dashboards(dashboards::Args),
    /// Regenerate the documentation and the dashboards that are made from code
    Docs,
    /// Regenerate the BTF fixtures of the unit tests from the kernels of the matrix
    Btf,
}

fn main() -> ExitCode {
    if let Some(code) = remap::as_wrapper() {
        return code;
    }
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::command(&args).map(done),
        Command::Build => build::command().map(done),
        Command::Image(args) => image::command(&args).map(done),
        Command::Deb(args) => deb::command(&args).map(done),
        Command::Run(args) => run::command(&args).map(done),
        // Its last line is the sums, also when tests failed: nothing is printed after it.
        Command::Test(args) => test::command(&args),
        Command::Lint => lint::command().map(done),
        Command::Tidy => tidy::command().map(done),
        Command::Manifests => manifests::check().map(done),
        Command::Rules(args) => rules::command(&args).map(done),
        Command::Vm(args) => vm::command(&args).map(done),
        Command::OneEnded(args) => vm::pair::command(&args).map(done),
        Command::Bench(args) => bench::command(&args).map(done),
        Command::Faults(args) => faults::command(&args).map(done),
        Command::Fuzz(args) => fuzz::command(&args).map(done),
        Command::Dashboards(args) => dashboards::command(&args).map(done),
        Command::Docs => docs::command().map(done),
        Command::Btf => btf::command().map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // The chain of causes, one a line; never a backtrace.
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
