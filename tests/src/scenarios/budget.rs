//! The budget for time series: what is too much goes to `other`, the smallest first, and no sum suffers.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::udp::{ANSWER, Datagrams, UDP_SENT};
use crate::lab::{
    agent::{Agent, Options},
    crossed::{Crossed, OPEN, RECEIVED, SENT},
    metrics::{CLOSED, Edge, Metrics, OPENED, OTHER, Watch, float},
    namespace::own_counter,
    scaled,
    topology::{Net, Pod},
};

const SERIES: &str = "netcause_series";

/// One client, many ports of a server, each with its own amount: the large ones keep their names while the ranking
/// changes, and every counter stays what it was or grows.
pub(super) fn series(name: &str) -> Result<()> {
    let ports: u16 = scaled(40, 20);
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _sink = server.serve(server.at(8000), &["--ports", &ports.to_string()])?;
    let _echo = server.serve_udp(server.at(5300), &["--ports", &ports.to_string()])?;
    let own_before = Own::now()?;
    let agent = Agent::start(
        name,
        "agent",
        &Options { args: &["--max-series", "300", "--sweep-cpu-percent", "100"], ..Options::default() },
    )?;
    let mut watch = Watch::default();
    let mut crossed = Crossed::default();
    let mut datagrams = Datagrams::default();
    // The last one is by far the largest, until the first one is. What that had before it had its name stays in `other`.
    let last = ports - 1;
    let all =
        (0..ports).map(|offset| (offset, if offset == last { 800_000 } else { 1000 * u64::from(offset) }));
    let rounds: [(Vec<(u16, u64)>, u16); 3] =
        [(all.collect(), last), (vec![(0, 5_000_000)], last), (vec![(0, 1009)], 0)];
    for (round, named) in rounds {
        for (offset, bytes) in round {
            let bytes = bytes.to_string();
            let outcome = client.connect(server.at(8000 + offset), &["--send", &bytes])?;
            ensure!(outcome.count("connected") == 1 && outcome.count("broken") == 0, "{outcome:?}");
            crossed = crossed.and(Crossed::of(&outcome));
            if offset % 8 == 0 {
                watch.see(&agent.scrape()?)?;
            }
        }
        let many = ports.to_string();
        let args = [&["--sockets", &many, "--ports", &many, "--size", "901"], &ANSWER[..]].concat();
        datagrams = datagrams.and(Datagrams::answered(&client.send_udp(server.at(5300), &args)?)?);
        client.wait_quiet()?;
        server.wait_quiet()?;
        agent.until("no sum suffers", |metrics| {
            conserved(metrics, &crossed, &datagrams, &own_before)?;
            within_budget(metrics)?;
            keeps_its_name(metrics, &client, &server, 8000 + named)
        })?;
        watch.see(&agent.scrape()?)?;
    }
    agent.stop(Signal::TERM)
}

/// Fails unless all edges together have what crossed, and what the machine's own namespace did meanwhile at most.
fn conserved(metrics: &Metrics, crossed: &Crossed, datagrams: &Datagrams, before: &Own) -> Result<()> {
    let noise = Own::now()?.since(before);
    let between = |name: &str, reporter: &str, least: u64, noise: u64| -> Result<()> {
        let sum = metrics.sum(name, &[("reporter", reporter)]);
        ensure!(
            (float(least)..=float(least + noise)).contains(&sum),
            "{name} of reporter {reporter} is {sum} in all, not {least} (and up to {noise} of the machine's own)"
        );
        Ok(())
    };
    for reporter in ["source", "destination"] {
        between(OPENED, reporter, crossed.connections, noise.connections)?;
        between(CLOSED, reporter, crossed.connections, noise.connections)?;
        // Every octet of the machine's own connections is in one of its packets.
        let (sent, received) = if reporter == "source" { (SENT, RECEIVED) } else { (RECEIVED, SENT) };
        between(sent, reporter, crossed.up, noise.octets)?;
        between(received, reporter, 0, noise.octets)?;
        between(UDP_SENT, reporter, datagrams.bytes, if noise.datagrams == 0 { 0 } else { noise.octets })?;
    }
    Ok(())
}

/// Fails unless the series are as few as they may be, and what was folded is said.
fn within_budget(metrics: &Metrics) -> Result<()> {
    let (said, limit) = (metrics.sum(SERIES, &[]), metrics.sum("netcause_series_limit", &[]));
    let real = metrics.samples.iter().filter(|sample| sample.labels.contains_key("reporter")).count();
    ensure!(
        limit == 300.0 && said <= limit && real <= 300,
        "netcause_series is {said}, there are {real}, and the limit is {limit}"
    );
    ensure!(metrics.sum("netcause_series_folded_total", &[]) > 0.0, "nothing was folded");
    for name in [OPENED, SENT, UDP_SENT] {
        let other = metrics.total(name, |sample| sample.labels.values().any(|value| value == OTHER));
        ensure!(other > 0.0, "no {name} of `other`");
    }
    Ok(())
}

/// Fails unless the edge to this port is shown under its name at both ends.
fn keeps_its_name(metrics: &Metrics, client: &Pod, server: &Pod, port: u16) -> Result<()> {
    for edge in [Edge::at_client(client, server.v4, port), Edge::at_server(server, client.v4, port)] {
        metrics.expect_at_least(CLOSED, &edge, 1)?;
        metrics.expect(OPEN, &edge, 0)?;
    }
    Ok(())
}

/// What the machine's own namespace has done: the agent sees it as well.
struct Own {
    connections: u64,
    octets: u64,
    datagrams: u64,
}

impl Own {
    fn now() -> Result<Self> {
        Ok(Self {
            connections: own_counter("Tcp", "ActiveOpens")? + own_counter("Tcp", "PassiveOpens")?,
            octets: own_counter("IpExt", "OutOctets")?
                + own_counter("IpExt", "InOctets")?
                + own_counter("Ip6", "OutOctets")?
                + own_counter("Ip6", "InOctets")?,
            datagrams: own_counter("Udp", "OutDatagrams")? + own_counter("Udp6", "OutDatagrams")?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            connections: self.connections - before.connections,
            octets: self.octets - before.octets,
            datagrams: self.datagrams - before.datagrams,
        }
    }
}
