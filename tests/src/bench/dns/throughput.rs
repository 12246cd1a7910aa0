//! DNS throughput with the agent, relative to that without it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::{
    super::{
        drivers::{self, Driver},
        rounds::{Rounds, Unit},
        sites::{Placement, Site},
    },
    dnsperf::Dnsperf,
    server::DnsServer,
};
use crate::lab::topology::Net;

/// The least share of the throughput that should be left.
const LEAST: f64 = 0.97;

/// Where queries come from.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// dnsperf with one socket
    OnePort,
    /// dnsperf with 200 sockets
    ManyPorts,
    /// A client that makes a socket for each query, and asks one at a time
    NewPorts,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::OnePort => "dnsperf, one port",
            Self::ManyPorts => "dnsperf, 200 ports",
            Self::NewPorts => "a new port for each query",
        }
    }
}

/// `netcause-lab bench dns`
#[derive(Args)]
pub(crate) struct Throughput {
    #[command(flatten)]
    rounds: Rounds,
    /// Where clients and servers run
    #[arg(long, value_enum, default_value = "together")]
    placement: Placement,
    /// Queries a second of each dnsperf, at most; without it as many as it can
    #[arg(long)]
    rate: Option<u32>,
    /// Only this load (repeat for more)
    #[arg(long, value_enum)]
    only: Vec<Kind>,
}

impl Throughput {
    pub(crate) fn run(self) -> Result<()> {
        let (_net, client, server) = Net::pair("dns")?;
        let sites = Site::addresses(&server, super::PORT, self.placement)?;
        let start = |site: &Site| {
            let process = DnsServer::start(&server, site.to)?;
            site.seat_server(process.pid())?;
            Ok(process)
        };
        let _servers: Vec<DnsServer> = sites.iter().map(start).collect::<Result<_>>()?;
        let time = Duration::from_millis(self.rounds.slice_ms);
        Rounds::head();
        for &kind in Kind::value_variants() {
            if !self.only.is_empty() && !self.only.contains(&kind) {
                continue;
            }
            let with_dnsperf = |sockets: u32, meanwhile: &dyn Fn() -> Result<()>| -> Result<f64> {
                let start = |site: &Site| {
                    let dnsperf = Dnsperf::start(&client, site.to, time, sockets, self.rate)?;
                    site.seat_client(dnsperf.pid())?;
                    Ok(dnsperf)
                };
                let running: Vec<Dnsperf> = sites.iter().map(start).collect::<Result<_>>()?;
                meanwhile()?;
                running.into_iter().map(|dnsperf| Ok(dnsperf.finish()?.per_second)).sum()
            };
            let mut drivers = Vec::new();
            if kind == Kind::NewPorts {
                for site in &sites {
                    let driver = Driver::start(&client, &["drive", "dns-new-ports", &site.to.to_string()])?;
                    site.seat_client(driver.pid())?;
                    drivers.push(driver);
                }
            }
            let mut run = |meanwhile: &dyn Fn() -> Result<()>| match kind {
                Kind::OnePort => with_dnsperf(1, meanwhile),
                Kind::ManyPorts => with_dnsperf(200, meanwhile),
                Kind::NewPorts => {
                    let milliseconds = self.rounds.slice_ms.to_string();
                    drivers.iter_mut().try_for_each(|driver| driver.send_command(&milliseconds))?;
                    meanwhile()?;
                    let done = drivers.iter().map(Driver::done).collect::<Result<Vec<_>>>()?;
                    Ok(drivers::rate(&done))
                }
            };
            run(&|| Ok(())).context("a first slice")?;
            self.rounds.measure(kind.name(), LEAST, Unit::Operations, &mut run)?;
        }
        Ok(())
    }
}
