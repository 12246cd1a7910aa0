//! Memory, sweeps and scrapes of the agent with many open sockets and many edges.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::process::Signal;

use super::{SWEEP_AGAIN, SWEEP_ALWAYS, drivers::Driver, memory, ratios::median};
use crate::lab::{
    agent::{Agent, Options},
    metrics::{Metrics, float},
    topology::{Net, Pod},
};

/// Connections per process: many systems limit a process to 20 000 open files.
const PER_PROCESS: u64 = 12_500;
/// Connections between two progress lines.
const STEP: u64 = 2500;
const FIRST_PORT: u16 = 8080;
/// Both pods own a network of addresses: as many peers as there are edges to be.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 65, 0, 1);
const SERVERS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
/// Scrapes of one kind, of which the median counts.
const SCRAPES: usize = 5;
const SWEEP: &str = "netcause_sweep_duration_seconds";

/// `netcause-lab bench scale`
#[derive(Args)]
pub(crate) struct Scale {
    /// Open sockets, both ends of a connection counted
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(8..=1_000_000))]
    pub(super) sockets: u64,
    /// Edges, both ends of a pair counted; the default leaves the machine itself a few of 10 000
    #[arg(long, default_value_t = 9980, value_parser = clap::value_parser!(u64).range(8..=65_000))]
    pub(super) edges: u64,
}

impl Scale {
    pub(super) fn run(self) -> Result<()> {
        let (agent, _) = start()?;
        let (_net, client, server) = Net::pair("scale")?;
        println!("before any connection:");
        memory::print(agent.pid())?;
        let mut crowd = self.crowd(&client, &server)?;
        println!("\nan agent that saw every connection open:");
        measure(&agent, &mut crowd)?;
        agent.stop(Signal::TERM)?;
        drop(agent);

        let (agent, ready) = start()?;
        println!("\nan agent that came when all were open, ready after {} ms:", ready.as_millis());
        measure(&agent, &mut crowd)?;
        agent.stop(Signal::TERM)
    }

    /// Opens the connections. Each process has its own port, so that one range of ephemeral ports is enough.
    pub(super) fn crowd(&self, client: &Pod, server: &Pod) -> Result<Crowd> {
        give_network(server, client, SERVERS)?;
        give_network(client, server, CLIENTS)?;
        let connections = self.sockets / 2;
        let processes = connections.div_ceil(PER_PROCESS);
        let each = connections / processes;
        // A pair of addresses and a port is an edge at each end.
        let addresses = (self.edges / 2 / processes).clamp(1, each).to_string();
        let mut crowd = Crowd { holders: Vec::new(), _keepers: Vec::new() };
        let ports = FIRST_PORT..FIRST_PORT + u16::try_from(processes).context("too many processes")?;
        for port in ports {
            crowd._keepers.push(Driver::start(server, &["keep", &format!("0.0.0.0:{port}")])?);
            let (to, from) = (format!("{SERVERS}:{port}"), CLIENTS.to_string());
            let args = ["hold", &to, "--addresses", &addresses, "--from", &from];
            crowd.holders.push(Driver::start(client, &args)?);
        }
        let began = Instant::now();
        let mut opened = 0;
        while opened < each {
            let step = STEP.min(each - opened);
            opened += step;
            crowd.all(&format!("open {step}"))?;
            eprintln!(
                "scale: {} sockets open after {:.1} s",
                2 * opened * processes,
                began.elapsed().as_secs_f64()
            );
        }
        Ok(crowd)
    }
}

/// The processes at both ends.
pub(super) struct Crowd {
    holders: Vec<Driver>,
    _keepers: Vec<Driver>,
}

impl Crowd {
    /// Sends a message on every connection.
    pub(super) fn touch(&mut self) -> Result<()> {
        self.all("touch")
    }

    /// Sends a command to all holders.
    fn all(&mut self, command: &str) -> Result<()> {
        self.holders.iter_mut().try_for_each(|holder| holder.send_command(command))?;
        self.holders.iter().try_for_each(|holder| holder.done().map(drop))
    }
}

/// Makes `owner` answer to every address of a network, and shows `peer` the way.
fn give_network(owner: &Pod, peer: &Pod, first: Ipv4Addr) -> Result<()> {
    let network = Ipv4Addr::from_bits(first.to_bits() & 0xffff_0000);
    owner.run("ip", &["route", "add", "local", &format!("{network}/16"), "dev", "lo"], "")?;
    peer.run("ip", &["route", "add", &format!("{network}/16"), "via", &owner.v4.to_string()], "").map(drop)
}

fn start() -> Result<(Agent, Duration)> {
    let began = Instant::now();
    let agent = Agent::start("scale", "agent", &Options { args: &SWEEP_ALWAYS, ..Options::default() })?;
    Ok((agent, began.elapsed()))
}

/// One scrape and how long it took.
struct Scraped {
    took: Duration,
    bytes: usize,
    metrics: Metrics,
}

fn scrape(agent: &Agent) -> Result<Scraped> {
    let began = Instant::now();
    let answer = agent.get("/metrics", "text/plain;version=0.0.4")?;
    let took = began.elapsed();
    ensure!(answer.status == 200, "/metrics says {}: {}", answer.status, answer.body.trim_end());
    Ok(Scraped { took, bytes: answer.body.len(), metrics: Metrics::parse(&answer.body)? })
}

fn measure(agent: &Agent, crowd: &mut Crowd) -> Result<()> {
    thread::sleep(SWEEP_AGAIN);
    let first = scrape(agent)?;
    println!("  first scrape: {} ms", millis(first.took));
    let mut last = sweeping(agent, "all idle", || Ok(()), first)?;
    last = sweeping(agent, "all with traffic since the last sweep", || crowd.touch(), last)?;
    let mut without = Vec::new();
    for _ in 0..SCRAPES {
        without.push(scrape(agent)?.took.as_secs_f64());
    }
    println!("  scrape at once after another: {:.1} ms", median(without) * 1e3);
    let metrics = &last.metrics;
    println!(
        "  body: {:.1} MB, {} samples, {} edges, {} updates folded by the tables",
        float(last.bytes as u64) / 1e6,
        metrics.samples.len(),
        metrics.sum("netcause_series", &[]),
        metrics.sum("netcause_flow_table_overflows_total", &[]),
    );
    memory::print(agent.pid())
}

/// Scrapes that sweep, each after `before`, and prints the medians; returns the last one.
fn sweeping(
    agent: &Agent,
    what: &str,
    mut before: impl FnMut() -> Result<()>,
    mut last: Scraped,
) -> Result<Scraped> {
    let (mut scrapes, mut sweeps) = (Vec::new(), Vec::new());
    for _ in 0..SCRAPES {
        before()?;
        thread::sleep(SWEEP_AGAIN);
        let now = scrape(agent)?;
        let delta = |suffix: &str| {
            let name = format!("{SWEEP}_{suffix}");
            now.metrics.sum(&name, &[]) - last.metrics.sum(&name, &[])
        };
        if delta("count") > 0.0 {
            sweeps.push(delta("sum") / delta("count"));
        }
        scrapes.push(now.took.as_secs_f64());
        last = now;
    }
    let swept = sweeps.len();
    println!(
        "  scrape, {what}: {:.1} ms (at most 200); the sweep: {:.1} ms (at most 150), {swept} of {SCRAPES} swept",
        median(scrapes) * 1e3,
        median(sweeps) * 1e3,
    );
    Ok(last)
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
