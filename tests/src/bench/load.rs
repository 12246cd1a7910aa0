//! What is left of throughput with the agent, for TCP and UDP.

use std::fmt;

use anyhow::Result;
use clap::Args;

use super::{
    drivers::{self, Loaded, Site},
    generate::Load as Kind,
    rounds::Rounds,
};
use crate::lab::topology::Net;

/// The loads, with the least that must be left.
const KINDS: [(Kind, &str, Unit, f64); 4] = [
    (Kind::Bulk, "bulk TCP", Unit::Bytes, 0.99),
    (Kind::RoundTrips, "TCP requests answered", Unit::Operations, 0.99),
    (Kind::Connects, "connections made and closed", Unit::Operations, 0.97),
    (Kind::Datagrams, "UDP datagrams", Unit::Operations, 0.0),
];

/// `netcause-lab bench load`
#[derive(Args)]
pub(crate) struct Load {
    #[command(flatten)]
    rounds: Rounds,
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
        Rounds::head();
        for (kind, name, unit, least) in KINDS {
            if self.only.is_empty() || self.only.contains(&kind) {
                let sites = Site::ports(&server, 8080)?;
                let mut loaded = Loaded::start(kind, &client, &server, &sites, !self.unbound)?;
                // Buffers, windows and the processors' clocks find their sizes.
                loaded.slice(self.rounds.slice_ms, || Ok(()))?;
                self.rounds.measure(name, least, |rate| unit.of(rate), &mut |meanwhile| {
                    Ok(drivers::rate(&loaded.slice(self.rounds.slice_ms, meanwhile)?))
                })?;
                loaded.finish()?;
            }
        }
        Ok(())
    }
}

/// What a rate counts.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Bytes,
    Operations,
}

impl Unit {
    pub(super) fn of(self, rate: f64) -> Rate {
        Rate { unit: self, rate }
    }
}

/// A rate, to be read by a person.
pub(super) struct Rate {
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
