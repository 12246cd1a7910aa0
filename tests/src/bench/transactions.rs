//! What a DNS transaction costs in the kernel: a query and its answer, at the end that asks and at the end that answers.
//!
//! Both ends are on this machine, and the agent's programs run at both. To tell them apart, the port is changed on the
//! way, so that one end only sees DNS. The other sees packets of the same size that are no DNS: what those cost is
//! known from a run where both ends do.

use anyhow::Result;

use super::{
    costs::Meter,
    drivers::Loaded,
    generate::Load,
    sites::{Placement, Site},
};
use crate::lab::topology::Pod;

const DNS: u16 = 53;
const OTHER: u16 = 5300;
/// At one end, both directions.
const MOST: f64 = 4000.0;

/// Measures and prints. A load runs for so many milliseconds.
pub(super) fn measure(meter: &Meter<'_>, client: &Pod, server: &Pod, milliseconds: u64) -> Result<()> {
    let sites = Site::addresses(server, DNS, Placement::Together)?;
    for (load, protocol, what) in [
        (Load::Dns, "udp", "over UDP, all from one port"),
        (Load::DnsNewPorts, "udp", "over UDP, each from a new port"),
        (Load::DnsTcp, "tcp", "over one TCP connection"),
    ] {
        let run = |seen: &str, to: u16, listen: u16| -> Result<f64> {
            let sites: Vec<Site> = sites.iter().map(|site| site.with_ports(listen, to)).collect();
            let change = (to != listen).then(|| PortChange::make(client, server, protocol, to, listen));
            let change = change.transpose()?;
            let mut loaded = Loaded::start(load, client, server, &sites)?;
            loaded.slice(milliseconds, || Ok(()))?;
            let cost = meter.measure(&format!("one query and its answer {what}, {seen}"), || {
                Ok(loaded.slice(milliseconds, || Ok(()))?.iter().map(|done| done.count).sum())
            })?;
            loaded.finish()?;
            client.wait_quiet()?;
            server.wait_quiet()?;
            change.map_or(Ok(()), PortChange::undo)?;
            Ok(cost)
        };
        let neither = run("to another port: no DNS", OTHER, OTHER)? / 2.0;
        let at_client = run("DNS where it is asked", DNS, OTHER)? - neither;
        let at_server = run("DNS where it is answered", OTHER, DNS)? - neither;
        println!("  one end of it: {neither:.0} without DNS");
        println!(
            "  one end of it: {at_client:.0} where it is asked, {at_server:.0} where it is answered (at most {MOST})"
        );
    }
    Ok(())
}

/// Has a client send to one port and its server listen at another; both see their own only.
struct PortChange<'a> {
    pods: [&'a Pod; 2],
}

impl<'a> PortChange<'a> {
    fn make(client: &'a Pod, server: &'a Pod, protocol: &str, to: u16, listen: u16) -> Result<Self> {
        let change = |pod: &Pod, field: &str, from: u16, to: u16| {
            let script = format!(
                "table inet ports {{\n chain arrival {{\n  type filter hook prerouting priority -300\n  \
                 {protocol} {field} {from} {protocol} {field} set {to}\n }}\n}}\n"
            );
            pod.run("nft", &["-f", "-"], &script)
        };
        change(server, "dport", to, listen)?;
        change(client, "sport", listen, to)?;
        Ok(Self { pods: [client, server] })
    }

    fn undo(self) -> Result<()> {
        self.pods.iter().try_for_each(|pod| pod.run("nft", &["delete table inet ports"], "").map(drop))
    }
}
