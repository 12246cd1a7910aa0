//! What the agent costs: `bench` alone counts what its programs cost in the kernel; the others measure
//! this machine with it, and without.

mod bpf;
mod churn;
mod costs;
mod count;
mod dns;
mod drivers;
mod generate;
mod load;
mod memory;
mod names;
mod noop;
mod ratios;
mod rounds;
mod scale;
mod sites;
mod transactions;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::lab::{cgroup, machine};

/// Lets the agent sweep at every scrape, whatever that takes: the default lets a long sweep wait.
const UNTHRIFTY: [&str; 2] = ["--sweep-cpu-percent", "100"];
/// Even then no scrape sweeps whose last sweep is younger than a second.
const SWEEP_AGAIN: Duration = Duration::from_millis(1200);

/// `netcause-lab bench`
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// What is left of throughput with the agent, beside what is left of it without one
    Load(load::Load),
    /// Many open sockets and edges: the agent's memory, its sweeps and its scrapes
    Scale(scale::Scale),
    /// Connections as fast as the machine can: none may be missing from the counts
    Churn(churn::Churn),
    /// What is left of the throughput of DNS with the agent
    Dns(dns::Throughput),
    /// DNS as fast as the machine can: no query and no answer may be missing from the counts
    DnsCount(dns::Counting),
    /// Memory for the names of a cluster of pods; what is kept of each pod, `cargo bench -p netcause-core --bench directory` says
    Names(names::Names),
    /// The programs inside the pods
    #[command(subcommand, hide = true)]
    Generate(generate::Generate),
}

impl Bench {
    /// Measures and prints.
    pub(crate) fn run(self) -> Result<()> {
        if let Some(Part::Generate(program)) = self.part {
            return program.run();
        }
        machine()?;
        cgroup::sweep_stale()?;
        match self.part {
            None => count::run(),
            Some(Part::Load(load)) => load.run(),
            Some(Part::Scale(scale)) => scale.run(),
            Some(Part::Churn(churn)) => churn.run(),
            Some(Part::Dns(dns)) => dns.run(),
            Some(Part::DnsCount(count)) => count.run(),
            Some(Part::Names(names)) => names.run(),
            Some(Part::Generate(program)) => program.run(),
        }
    }
}
