//! The cost of the agent: `bench` alone measures its programs in the kernel; the others compare this machine with and
//! without it.

mod churn;
mod costs;
mod count;
mod dns;
mod drivers;
mod exposition;
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
mod turn;
mod upkeep;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::lab::{cgroup, machine};

/// Lets the agent sweep at every scrape, whatever its duration: by default long sweeps are less frequent.
const SWEEP_ALWAYS: [&str; 2] = ["--sweep-cpu-percent", "100"];
/// The pause after which a scrape sweeps again: even then the agent sweeps at most once a second.
const SWEEP_AGAIN: Duration = Duration::from_millis(1200);

/// `netcause-lab bench`
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// The programs in the kernel: everything, or only what is named
    Programs(count::Programs),
    /// Throughput with the agent, relative to that without it
    Load(load::Load),
    /// Many open sockets and edges: the agent's memory, its sweeps and its scrapes
    Scale(scale::Scale),
    /// What a Prometheus pays for an agent with so many edges: series, bytes of a scrape, memory and disk
    Exposition(exposition::Exposition),
    /// Connections as fast as the machine can: none may be missing from the counts
    Churn(churn::Churn),
    /// DNS throughput with the agent, relative to that without it
    Dns(dns::Throughput),
    /// DNS as fast as the machine can: no query and no answer may be missing from the counts
    DnsCount(dns::Counting),
    /// Memory for the names of a cluster of pods; for the bytes per pod see `cargo bench -p netcause-core --bench directory`
    Names(names::Names),
    /// What connections wait for: what the agent says beside what clients have measured
    Turn(turn::Turn),
    /// What the agent takes of a core while little happens
    Upkeep(upkeep::Upkeep),
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
            None => count::Programs::default().run(),
            Some(Part::Programs(programs)) => programs.run(),
            Some(Part::Load(load)) => load.run(),
            Some(Part::Scale(scale)) => scale.run(),
            Some(Part::Exposition(exposition)) => exposition.run(),
            Some(Part::Churn(churn)) => churn.run(),
            Some(Part::Dns(dns)) => dns.run(),
            Some(Part::DnsCount(count)) => count.run(),
            Some(Part::Names(names)) => names.run(),
            Some(Part::Turn(turn)) => turn.run(),
            Some(Part::Upkeep(upkeep)) => upkeep.run(),
            Some(Part::Generate(program)) => program.run(),
        }
    }
}
