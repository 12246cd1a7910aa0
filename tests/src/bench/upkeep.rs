//! What the agent's own process costs when nothing happens but light traffic: the sweeps, the windows and the findings.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use rustix::process::Signal;

use super::{memory, scale::Scale};
use crate::lab::{
    agent::{Agent, Options},
    topology::Net,
};

/// Between two scrapes, as is usual.
const SCRAPES: Duration = Duration::from_secs(15);
/// Between two messages on each connection.
const TOUCHES: Duration = Duration::from_secs(1);

/// `netcause-lab bench upkeep`
#[derive(Args)]
pub(super) struct Upkeep {
    /// Edges, both ends of a pair counted
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(8..=65_000))]
    edges: u64,
    /// Open connections for each edge
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=50))]
    connections: u64,
    /// How long each case is measured
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// The agent's `sweep_interval_seconds`
    #[arg(long, default_value_t = 5)]
    sweep_interval: u64,
}

impl Upkeep {
    pub(super) fn run(self) -> Result<()> {
        let interval = self.sweep_interval.to_string();
        let args = ["--sweep-interval-seconds", &interval];
        let agent = Agent::start("upkeep", "agent", &Options { args: &args, ..Options::default() })?;
        let (_net, client, server) = Net::pair("upkeep")?;
        let scale = Scale { sockets: 2 * self.edges * self.connections, edges: self.edges };
        let mut crowd = scale.crowd(&client, &server)?;
        println!(
            "{} edges with {} connections each, swept every {interval} s; the agent's share of a core (at most 0.5 %):",
            self.edges, self.connections
        );
        // The new edges get their names.
        thread::sleep(Duration::from_secs(10));
        self.share(&agent, "all idle, not scraped", || Ok(()))?;
        let mut seconds = 0;
        self.share(&agent, "a message each second on each connection, not scraped", || crowd.touch())?;
        self.share(&agent, "the same, scraped every 15 s", || {
            seconds += TOUCHES.as_secs();
            if seconds % SCRAPES.as_secs() == 0 {
                agent.scrape()?;
            }
            crowd.touch()
        })?;
        agent.stop(Signal::TERM)
    }

    /// Prints what part of a core the agent has taken while `each` was done every second.
    fn share(&self, agent: &Agent, what: &str, mut each: impl FnMut() -> Result<()>) -> Result<()> {
        let began = Instant::now();
        let before = memory::processor_time(agent.pid())?;
        for _ in 0..self.seconds {
            each()?;
            let next = began.elapsed().as_secs() + 1;
            thread::sleep(Duration::from_secs(next).saturating_sub(began.elapsed()));
        }
        let (took, lasted) = (memory::processor_time(agent.pid())? - before, began.elapsed());
        let (share, milliseconds) = (took.as_secs_f64() / lasted.as_secs_f64(), took.as_millis());
        println!("  {what}: {:.2} % ({milliseconds} ms in {:.0} s)", 100.0 * share, lasted.as_secs_f64());
        Ok(())
    }
}
