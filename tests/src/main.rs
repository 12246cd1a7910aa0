//! The lab of Netcause: network namespaces as pods, real client and server processes, real faults, and assertions on
//! what the real agent says of them.
//!
//! One binary, five uses: `run` (the scenarios, with the options of a Rust test binary), `traffic` (the programs that
//! run inside the pods), `bench`, `faults` and `render` (the dashboards). Hidden commands: `pause`, `in-pod` and `contain` are what a pod is made of, and
//! `apiserver` is a Kubernetes API server.

mod apiserver;
mod bench;
mod faults;
mod lab;
mod one_ended;
mod render;
mod scenarios;
mod traffic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "netcause-lab", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the scenarios; takes the options of a Rust test binary (--list, --test-threads, a filter, ...), and --record-to DIR,
    /// into which the agent records that they share
    #[command(disable_help_flag = true)]
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The real clients and servers that run inside the pods
    #[command(subcommand)]
    Traffic(traffic::Traffic),
    /// Measure what the agent costs; alone: its programs, in the kernel
    Bench(bench::Bench),
    /// Draw faults, and measure how soon and how rightly the agent names them
    Faults(faults::Faults),
    /// Play faults between two virtual machines, and judge what the agent of each says of them
    OneEnded(one_ended::OneEnded),
    /// Lose packets between them, and see that the rules of a Prometheus that scrapes both name this pair of nodes
    Attribution(one_ended::Attribution),
    /// Draw the dashboards from the data of a Prometheus
    Render(render::Render),
    /// One of those machines, controlled on standard input
    #[command(hide = true)]
    Node(one_ended::Node),
    /// Hold a new network namespace open until standard input closes or the parent dies
    #[command(hide = true)]
    Pause(lab::namespace::Pause),
    /// Enter a pod's network namespace and cgroup, then become the given command
    #[command(hide = true)]
    InPod(lab::namespace::InPod),
    /// A Kubernetes API server for tests, controlled on standard input
    #[command(hide = true)]
    Apiserver(apiserver::ApiServer),
    /// Do what a container runtime does, then become the given command
    #[command(hide = true)]
    Contain(lab::container::Contain),
    /// A lab that waits to be killed, for the scenario that proves nothing is left of it
    #[command(hide = true)]
    Victim(scenarios::Victim),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { args } => scenarios::run(&args),
        Command::Traffic(traffic) => traffic.run().map(|()| ExitCode::SUCCESS),
        Command::Bench(bench) => bench.run().map(|()| ExitCode::SUCCESS),
        Command::Faults(faults) => faults.run(),
        Command::OneEnded(one_ended) => one_ended.run().map(|()| ExitCode::SUCCESS),
        Command::Attribution(attribution) => attribution.run().map(|()| ExitCode::SUCCESS),
        Command::Render(render) => render.run().map(|()| ExitCode::SUCCESS),
        Command::Node(node) => node.run().map(|()| ExitCode::SUCCESS),
        Command::Pause(pause) => pause.run().map(|()| ExitCode::SUCCESS),
        Command::InPod(in_pod) => in_pod.run().map(|()| ExitCode::SUCCESS),
        Command::Apiserver(apiserver) => apiserver.run().map(|()| ExitCode::SUCCESS),
        Command::Contain(contain) => contain.run().map(|()| ExitCode::SUCCESS),
        Command::Victim(victim) => victim.run().map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netcause-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
