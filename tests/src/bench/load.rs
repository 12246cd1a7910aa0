//! TCP and UDP throughput with the agent, relative to that without it.

use anyhow::Result;
use clap::Args;

use super::{
    drivers::{self, Loaded},
    generate::Load as Kind,
    rounds::{Rounds, Unit},
    sites::{Placement, Site},
};
use crate::lab::topology::Net;

/// The loads, with the least share of the throughput that must be left.
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
    /// Where clients and servers run
    #[arg(long, value_enum, default_value = "together")]
    placement: Placement,
    /// Only this load (repeat for more)
    #[arg(long, value_enum)]
    only: Vec<Kind>,
}

impl Load {
    pub(super) fn run(self) -> Result<()> {
        let (_net, client, server) = Net::pair("load")?;
        client.sysctl(&["net/ipv4/ip_local_port_range=10000 60999"])?;
        Rounds::head();
        for (kind, name, unit, least) in KINDS {
            if self.only.is_empty() || self.only.contains(&kind) {
                let sites = Site::ports(&server, 8080, self.placement)?;
                let mut loaded = Loaded::start(kind, &client, &server, &sites)?;
                // Buffers, windows and the processors' clocks find their sizes.
                loaded.slice(self.rounds.slice_ms, || Ok(()))?;
                self.rounds.measure(name, least, unit, &mut |meanwhile| {
                    Ok(drivers::rate(&loaded.slice(self.rounds.slice_ms, meanwhile)?))
                })?;
                loaded.finish()?;
            }
        }
        Ok(())
    }
}
