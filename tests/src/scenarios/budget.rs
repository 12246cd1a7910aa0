//! The budget of time series: edges over the budget are folded into `other`, the smallest first, and sums are conserved.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::udp::{ANSWER, Datagrams, UDP_SENT};
use crate::lab::{
    agent::{Agent, Options},
    crossed::{Crossed, OPEN, RECEIVED, SENT},
    metrics::{CLOSED, Edge, Metrics, OPENED, Watch, float},
    scaled,
    topology::{Net, Pod},
    witness::{Sum, Witness},
};

const SERIES: &str = "netcause_series";
/// Series for the scenario's own edges, of which it makes some hundred.
const OWN_SERIES: u64 = 300;

/// With more edges than the series budget allows, the smallest are folded into `other`, the largest keep their names
/// as the ranking changes, every sum is conserved, and no counter decreases.
pub(super) fn series(name: &str) -> Result<()> {
    let ports: u16 = scaled(40, 20);
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8000), &["--ports", &ports.to_string()])?;
    let _echo = server.serve_udp(server.at(5300), &["--ports", &ports.to_string()])?;
    let witness = Witness::start(name, &[&client, &server])?;
    // What else runs on this machine may have larger edges, which keep their series, and may have more of them later.
    let limit = OWN_SERIES + scaled(200, 0) + witness.series_of_others()?;
    let agent = Agent::start(
        name,
        "agent",
        &Options {
            args: &["--max-series", &limit.to_string(), "--sweep-cpu-percent", "100"],
            without_dns: true,
            ..Options::default()
        },
    )?;
    let mut watch = Watch::default();
    let mut crossed = Crossed::default();
    let mut datagrams = Datagrams::default();
    // The last port is by far the largest, until the first one is, whose earlier counts stay in `other`.
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
        agent.until("the sums are conserved within the budget", |metrics| {
            let sums = sums(&crossed, &datagrams);
            witness.expect_conserved(metrics, &sums)?;
            within_budget(metrics, limit)?;
            for name in [OPENED, SENT, UDP_SENT] {
                let folded = sums.iter().find(|(of, reporter, _)| (*of, *reporter) == (name, "source"));
                folded.map_or(Ok(()), |sum| witness.expect_folded(metrics, *sum))?;
            }
            keeps_its_name(metrics, &client, &server, 8000 + named)
        })?;
        watch.see(&agent.scrape()?)?;
    }
    witness.stop()?;
    agent.stop(Signal::TERM)
}

/// The sums that both reporters must have.
fn sums(crossed: &Crossed, datagrams: &Datagrams) -> Vec<Sum> {
    let of = |reporter, sent, received| {
        [
            (OPENED, reporter, crossed.connections),
            (CLOSED, reporter, crossed.connections),
            (sent, reporter, crossed.up),
            (received, reporter, 0),
            (UDP_SENT, reporter, datagrams.bytes),
        ]
    };
    [of("source", SENT, RECEIVED), of("destination", RECEIVED, SENT)].concat()
}

/// Fails unless the series are within the budget and folding is reported.
fn within_budget(metrics: &Metrics, limit: u64) -> Result<()> {
    let (said, said_limit) = (metrics.sum(SERIES, &[]), metrics.sum("netcause_series_limit", &[]));
    let real = metrics.samples.iter().filter(|sample| sample.labels.get("reporter").is_some()).count();
    ensure!(
        said_limit == float(limit) && said <= said_limit && u64::try_from(real)? <= limit,
        "netcause_series is {said}, there are {real}, and the limit is {said_limit}, not {limit}"
    );
    ensure!(metrics.sum("netcause_series_folded_total", &[]) > 0.0, "nothing was folded");
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
