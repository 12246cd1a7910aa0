//! Connections as fast as the machine can, and whether the agent counts every one.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;

use super::{
    drivers::{self, Loaded},
    generate::Load,
    sites::{Placement, Site},
};
use crate::lab::{
    agent::{Agent, Options},
    metrics::{CLOSED, EVENTS_LOST, Edge, Metrics, OPENED, SKIPPED_RUNS, Sample, float},
    topology::Net,
};

const FIRST_PORT: u16 = 8080;
/// The load runs in slices of this length, with a progress line after each.
const PIECE_SECONDS: u64 = 5;

/// `netcause-lab bench churn`
#[derive(Args)]
pub(crate) struct Churn {
    /// How long to run, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

impl Churn {
    pub(super) fn run(self) -> Result<()> {
        let agent = Agent::start("churn", "agent", &Options::default())?;
        let (_net, client, server) = Net::pair("churn")?;
        client.sysctl(&["net/ipv4/ip_local_port_range=10000 60999"])?;
        let sites = Site::ports(&server, FIRST_PORT, Placement::Together)?;
        let mut loaded = Loaded::start(Load::Connects, &client, &server, &sites)?;
        let mut connected = Vec::new();
        let mut left = self.seconds;
        while left > 0 {
            let piece = left.min(PIECE_SECONDS);
            left -= piece;
            let done = loaded.slice(piece * 1000, || Ok(()))?;
            connected.resize(done.len(), 0);
            connected.iter_mut().zip(&done).for_each(|(all, done)| *all += done.count);
            eprintln!("churn: {:.0} connections a second; {left} s to go", drivers::rate(&done));
        }
        client.wait_quiet()?;
        server.wait_quiet()?;
        let accepted: Vec<u64> = loaded.finish()?.iter().map(|outcome| outcome.count("accepted")).collect();
        let all: u64 = connected.iter().sum();
        ensure!(connected == accepted, "the clients made {connected:?}, the servers got {accepted:?}");

        let missing = |metrics: &Metrics| {
            let mut ends = [0.0; 4];
            for (port, count) in (FIRST_PORT..).zip(&connected) {
                let at_client = Edge::at_client(&client, server.v4, port);
                let at_server = Edge::at_server(&server, client.v4, port);
                let ways =
                    [(OPENED, &at_client), (CLOSED, &at_client), (OPENED, &at_server), (CLOSED, &at_server)];
                for (end, (name, edge)) in ends.iter_mut().zip(ways) {
                    *end += float(*count) - metrics.on(name, edge);
                }
            }
            ends
        };
        let began = Instant::now();
        let metrics = loop {
            let metrics = agent.scrape()?;
            if missing(&metrics) == [0.0; 4] || began.elapsed() > Duration::from_secs(5) {
                break metrics;
            }
            thread::sleep(Duration::from_millis(500));
        };
        let missing = missing(&metrics);
        println!("connections made and closed in {} s: {all}", self.seconds);
        println!(
            "missing at the client: {} opened, {} closed; at the server: {} opened, {} closed (none may be)",
            missing[0], missing[1], missing[2], missing[3]
        );
        println!("{EVENTS_LOST}: {}\n{}", metrics.sum(EVENTS_LOST, &[]), lines(&metrics, EVENTS_LOST));
        println!("{SKIPPED_RUNS}: {}\n{}", metrics.sum(SKIPPED_RUNS, &[]), lines(&metrics, SKIPPED_RUNS));
        let made: Vec<_> = (FIRST_PORT..).zip(&connected).collect();
        // Under any name: what is missing may have been counted on another edge.
        let of_interest = |sample: &Sample| {
            let port = sample.labels.get("destination_port");
            [OPENED, CLOSED].contains(&&*sample.name)
                && (port == Some("0") || made.iter().any(|(made, _)| port == Some(&made.to_string())))
        };
        ensure!(
            missing == [0.0; 4],
            "connections are missing from the counts; made, by port: {made:?}; there is:\n{}",
            metrics.list(of_interest)
        );
        Ok(())
    }
}

fn lines(metrics: &Metrics, name: &str) -> String {
    metrics.list(|sample| sample.name == name && sample.value != 0.0)
}
