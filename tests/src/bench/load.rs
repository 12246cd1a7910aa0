//! What is left of throughput with the agent: slices with it between slices without it.
//!
//! A round has three slices, in an order of its own: without the agent, with it, and without it once more. The ratio of
//! the second to the first is the figure; that of the third to the first is its noise, the same statistic where the
//! agent makes no difference.

use std::{fmt, time::Duration};

use anyhow::Result;
use clap::Args;
use rustix::process::Signal;

use super::{
    drivers::{self, Loaded},
    generate::Load as Kind,
    ratios::{Ratios, median},
};
use crate::lab::{
    agent::{Agent, Options},
    topology::{Net, Pod},
};

/// The loads, with the least that must be left.
const KINDS: [(Kind, &str, Unit, f64); 4] = [
    (Kind::Bulk, "bulk TCP", Unit::Bytes, 0.99),
    (Kind::RoundTrips, "TCP requests answered", Unit::Operations, 0.99),
    (Kind::Connects, "connections made and closed", Unit::Operations, 0.97),
    (Kind::Datagrams, "UDP datagrams", Unit::Operations, 0.0),
];

/// What a slice can be.
#[derive(Clone, Copy)]
enum Slice {
    Without,
    With,
    Again,
}

/// Every order of them, so that a machine that gets slower or faster favours none.
const ORDERS: [[Slice; 3]; 6] = [
    [Slice::Without, Slice::With, Slice::Again],
    [Slice::Again, Slice::With, Slice::Without],
    [Slice::With, Slice::Without, Slice::Again],
    [Slice::Again, Slice::Without, Slice::With],
    [Slice::Without, Slice::Again, Slice::With],
    [Slice::With, Slice::Again, Slice::Without],
];

/// `netcause-lab bench load`
#[derive(Args)]
pub(crate) struct Load {
    /// Slices with the agent, each with two without it
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..))]
    pairs: u16,
    /// Length of a slice in milliseconds
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=10_000))]
    slice_ms: u64,
    /// Let the kernel place the programs; otherwise a client and its server are bound to one processor
    #[arg(long)]
    unbound: bool,
    /// Only this load (repeat for more)
    #[arg(long, value_enum)]
    only: Vec<Kind>,
}

impl Load {
    pub(super) fn run(self) -> Result<()> {
        let net = Net::new("load")?;
        let (client, server) = (net.pod("client")?, net.pod("server")?);
        client.sysctl(&["net/ipv4/ip_local_port_range=10000 60999"])?;
        println!("{:<28} {:>12}  with the agent / without, and without / without", "", "without");
        for (kind, name, unit, least) in KINDS {
            if self.only.is_empty() || self.only.contains(&kind) {
                let measured = self.measure(kind, name, &client, &server)?;
                let without = unit.of(median(measured.iter().map(|round| round[0]).collect()));
                let ratios =
                    |slice: usize| Ratios::of(measured.iter().map(|round| round[slice] / round[0]).collect());
                let figure = ratios(Slice::With as usize);
                let noise = ratios(Slice::Again as usize);
                println!("{name:<28} {without:>12}  {figure}  (at least {least})");
                println!("{:<28} {:>12}  {noise}", "", "noise");
            }
        }
        Ok(())
    }

    /// The rates of each round, by [`Slice`].
    fn measure(&self, kind: Kind, name: &str, client: &Pod, server: &Pod) -> Result<Vec<[f64; 3]>> {
        let mut loaded = Loaded::start(kind, client, server, 8080, !self.unbound)?;
        // Buffers, windows and the processors' clocks find their sizes.
        loaded.slice(self.slice_ms, || Ok(()))?;
        let mut rounds = Vec::new();
        for number in 0..usize::from(self.pairs) {
            let mut rates = [0.0; 3];
            for slice in ORDERS[number % ORDERS.len()] {
                let with = matches!(slice, Slice::With);
                rates[slice as usize] = self.slice(&mut loaded, with)?;
            }
            let [without, with, _] = rates;
            eprintln!("{name}: round {} of {}: {:.3}", number + 1, self.pairs, with / without);
            rounds.push(rates);
        }
        loaded.finish()?;
        Ok(rounds)
    }

    fn slice(&self, loaded: &mut Loaded, with: bool) -> Result<f64> {
        let agent = if with { Some(Agent::start("load", "agent", &Options::default())?) } else { None };
        // What the agent's start or end leaves for later, the kernel has done by then.
        std::thread::sleep(Duration::from_millis(200));
        let done = loaded.slice(self.slice_ms, || {
            std::thread::sleep(Duration::from_millis(self.slice_ms / 2));
            // A scrape in each slice, and with it a sweep: more often than any Prometheus asks.
            agent.as_ref().map_or(Ok(()), |agent| agent.get("/metrics", "*/*").map(drop))
        })?;
        if let Some(agent) = agent {
            agent.stop(Signal::TERM)?;
        }
        Ok(drivers::rate(&done))
    }
}

/// What a rate counts.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Operations,
}

impl Unit {
    fn of(self, rate: f64) -> Rate {
        Rate { unit: self, rate }
    }
}

/// A rate, to be read by a person.
struct Rate {
    unit: Unit,
    rate: f64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.unit {
            Unit::Bytes => format!("{:.2} GB/s", self.rate / 1e9),
            Unit::Operations => format!("{:.0} /s", self.rate),
        })
    }
}
