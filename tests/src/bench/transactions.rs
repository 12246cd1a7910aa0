//! The cost of a DNS transaction (a query and its answer) in the kernel, at the client and at the server.
//!
//! Both ends are on this machine, and the agent's programs run at both. To separate them, the port is changed on the
//! way, so that one end only sees DNS. The other sees packets of the same size that are no DNS: what those cost is
//! known from a run where both ends do.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{
    costs::{Meter, Spent, in_all},
    drivers::Loaded,
    generate::Load,
    sites::{Placement, Site},
};
use crate::lab::{
    agent::{Agent, Options},
    metrics::EVENTS_LOST,
    topology::Pod,
};

const DNS: u16 = 53;
const OTHER: u16 = 5300;

/// Measures and prints the costs; each load runs for this many milliseconds.
pub(super) fn measure(noop: f64, client: &Pod, server: &Pod, milliseconds: u64) -> Result<()> {
    let sites = Site::addresses(server, DNS, Placement::Together)?;
    for (details, most) in [("few details", "1"), ("a detail of every answer", "1000000")] {
        let args = ["--dns-event-rate-limit", most];
        let agent = Agent::start("bench-dns", "agent", &Options { args: &args, ..Options::default() })?;
        let bench = Transactions {
            meter: Meter { agent: &agent, noop },
            client,
            server,
            sites: &sites,
            milliseconds,
        };
        for (load, protocol, what) in [
            (Load::Dns, "udp", "over UDP, all from one port"),
            (Load::DnsNewPorts, "udp", "over UDP, each from a new port"),
            (Load::DnsTcp, "tcp", "over one TCP connection"),
        ] {
            bench.measure(load, protocol, &format!("one query and its answer {what}, {details}"))?;
        }
        let metrics = agent.scrape()?;
        let detail = |outcome: &str| metrics.sum("netcause_dns_events_total", &[("outcome", outcome)]);
        println!(
            "  details: {} received, {} left out, {} lost",
            detail("received"),
            detail("rate_limited"),
            metrics.sum(EVENTS_LOST, &[("probe", "dns")])
        );
    }
    Ok(())
}

struct Transactions<'a> {
    meter: Meter<'a>,
    client: &'a Pod,
    server: &'a Pod,
    sites: &'a [Site],
    milliseconds: u64,
}

impl Transactions<'_> {
    fn measure(&self, load: Load, protocol: &str, what: &str) -> Result<()> {
        let run = |to, listen| self.both_ends(load, protocol, what, to, listen);
        let (neither, asked, answered) = (run(OTHER, OTHER)?, run(DNS, OTHER)?, run(OTHER, DNS)?);
        println!("\n{what}, at one end (at most 4000):");
        println!("  {:<24} {:>9} {:>9} {:>9}", "program", "asked", "answered", "no DNS");
        let line = |name: &str, cost: &dyn Fn(&BTreeMap<String, Spent>) -> f64| {
            let none = cost(&neither) / 2.0;
            let [asked, answered] = [&asked, &answered].map(|spent| cost(spent) - none);
            println!("  {name:<24} {asked:>9.0} {answered:>9.0} {none:>9.0}");
        };
        for program in
            [&neither, &asked, &answered].iter().flat_map(|spent| spent.keys()).collect::<BTreeSet<_>>()
        {
            line(program, &|spent| spent.get(program).copied().unwrap_or_default().cost);
        }
        line("in all", &in_all);
        Ok(())
    }

    /// The cost of a transaction in each program, at both ends together.
    fn both_ends(
        &self,
        load: Load,
        protocol: &str,
        what: &str,
        to: u16,
        listen: u16,
    ) -> Result<BTreeMap<String, Spent>> {
        let sites: Vec<Site> = self.sites.iter().map(|site| site.with_ports(listen, to)).collect();
        let change =
            (to != listen).then(|| PortChange::make([self.client, self.server], protocol, to, listen));
        let change = change.transpose()?;
        let mut loaded = Loaded::start(load, self.client, self.server, &sites)?;
        loaded.slice(self.milliseconds, || Ok(()))?;
        let spent = self.meter.spent(what, || {
            Ok(loaded.slice(self.milliseconds, || Ok(()))?.iter().map(|done| done.count).sum())
        })?;
        loaded.finish()?;
        self.client.wait_quiet()?;
        self.server.wait_quiet()?;
        change.map_or(Ok(()), PortChange::undo)?;
        Ok(spent)
    }
}

/// Has a client send to one port and its server listen at another; each sees its own only.
struct PortChange<'a> {
    pods: [&'a Pod; 2],
}

impl<'a> PortChange<'a> {
    fn make(pods: [&'a Pod; 2], protocol: &str, to: u16, listen: u16) -> Result<Self> {
        let change = |pod: &Pod, field: &str, from: u16, to: u16| {
            let script = format!(
                "table inet ports {{\n chain arrival {{\n  type filter hook prerouting priority -300\n  \
                 {protocol} {field} {from} {protocol} {field} set {to}\n }}\n}}\n"
            );
            pod.run("nft", &["-f", "-"], &script)
        };
        let [client, server] = pods;
        change(server, "dport", to, listen)?;
        change(client, "sport", listen, to)?;
        Ok(Self { pods })
    }

    fn undo(self) -> Result<()> {
        self.pods.iter().try_for_each(|pod| pod.run("nft", &["delete table inet ports"], "").map(drop))
    }
}
