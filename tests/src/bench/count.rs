//! The cost of the agent's programs in the kernel.
//!
//! The kernel keeps, per program, how often it ran and for how long (`kernel.bpf_stats_enabled`). In the VM that
//! `cargo xtask bench` boots, one instruction takes one nanosecond, so that these times are instruction counts, which
//! are reproducible on any machine. Elsewhere they are real nanoseconds: noisy, and only a first estimate.

use std::{thread, time::Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use super::{
    SWEEP_AGAIN, SWEEP_ALWAYS,
    costs::{Costs, Meter, SWEEP, Statistics},
    drivers::{Driver, Loaded},
    generate::Load,
    memory,
    noop::Noop,
    sites::{Placement, Site},
    transactions,
};
use crate::lab::{
    agent::{Agent, Options},
    faults::Fault,
    metrics::float,
    topology::{Net, Pod},
};

const PORT: u16 = 8080;
/// How long each load runs: some thousand packets.
const LOAD_MILLISECONDS: u64 = 200;
/// Counters of the pods' namespaces.
const TCP_SENT: (&str, &str) = ("Tcp", "OutSegs");
const UDP_SENT: (&str, &str) = ("Udp", "OutDatagrams");
/// Connections held open while sweeps are measured; each is two sockets.
const HELD: u64 = 1000;
/// Sweeps measured in each case.
const SWEEPS: u32 = 4;

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// DNS transactions
    Dns,
    /// Connections, refused ones and retransmissions
    Connections,
    /// TCP segments and UDP datagrams
    Packets,
    /// Open sockets in a sweep
    Sweeps,
}

/// `netcause-lab bench programs`
#[derive(Args, Default)]
pub(super) struct Programs {
    /// Only these
    only: Vec<Subject>,
}

impl Programs {
    /// Measures and prints.
    pub(super) fn run(&self) -> Result<()> {
        run(|subject| self.only.is_empty() || self.only.contains(&subject))
    }
}

fn run(is_wanted: impl Fn(Subject) -> bool) -> Result<()> {
    let statistics = Statistics::on()?;
    let (net, client, server) = Net::pair("bench")?;
    let _close = server.serve(server.at(PORT), &["--mode", "sink"])?;
    let mut noop = f64::INFINITY;
    for _ in 0..5 {
        let attached = Noop::attach()?;
        client.connect(server.at(PORT), &["--count", "20"])?;
        // The least: an interrupt in the middle of one run counts as much as all the others.
        noop = noop.min(attached.nanoseconds_per_run()?);
    }
    println!("a program that does nothing: {noop:.0} a run, taken off below");
    if is_wanted(Subject::Dns) {
        transactions::measure(noop, &client, &server, LOAD_MILLISECONDS)?;
    }

    let began = Instant::now();
    let agent = Agent::start("bench", "agent", &Options { args: &SWEEP_ALWAYS, ..Options::default() })?;
    let first_scrape = began.elapsed();

    let meter = Meter { agent: &agent, noop };
    if is_wanted(Subject::Connections) {
        connections(&meter, &net, &client, &server)?;
    }
    if is_wanted(Subject::Packets) {
        packets(&meter, &client, &server)?;
    }
    if is_wanted(Subject::Sweeps) {
        swept_sockets(&meter, &client, &server)?;
    }
    println!(
        "\nagent: {} ms from start to first scrape, {} KiB resident when idle",
        first_scrape.as_millis(),
        memory::status(agent.pid(), "VmRSS")?
    );
    drop(statistics);
    Ok(())
}

fn connections(meter: &Meter<'_>, net: &Net, client: &Pod, server: &Pod) -> Result<()> {
    meter.measure("one connection, SYN to close, both ends", || connect(client, server, 200))?;
    meter.measure("one refused connection, both ends", || {
        client.connect(server.at(PORT + 1), &["--count", "200"]).map(|_| 200)
    })?;
    meter.measure("one retransmitted segment (a bulk transfer with loss)", || {
        let before = client.retransmitted()?;
        let loss = Fault::on_path(net, client, &["numgen random mod 100 < 5 drop"])?;
        client.connect(server.at(PORT), &["--send", "4000000"])?;
        loss.clear()?;
        client.wait_quiet()?;
        Ok(client.retransmitted()? - before)
    })
}

fn packets(meter: &Meter<'_>, client: &Pod, server: &Pod) -> Result<()> {
    for (load, what, (protocol, sent)) in [
        (Load::RoundTrips, "one TCP segment, sent and received, of requests and responses", TCP_SENT),
        (Load::Bulk, "one TCP segment, sent and received, in bulk (a run sees many at once)", TCP_SENT),
        (Load::Datagrams, "one UDP datagram, sent and received, clients connected", UDP_SENT),
        (Load::UnconnectedDatagrams, "one UDP datagram, sent and received, clients not connected", UDP_SENT),
    ] {
        let sites = Site::ports(server, PORT + 2, Placement::Together)?;
        let mut loaded = Loaded::start(load, client, server, &sites)?;
        loaded.slice(LOAD_MILLISECONDS, || Ok(()))?;
        let sent =
            || Ok::<_, anyhow::Error>(client.counter(protocol, sent)? + server.counter(protocol, sent)?);
        meter.measure(what, || {
            let before = sent()?;
            loaded.slice(LOAD_MILLISECONDS, || Ok(()))?;
            Ok(sent()? - before)
        })?;
        loaded.finish()?;
        client.wait_quiet()?;
    }
    Ok(())
}

fn connect(client: &Pod, server: &Pod, count: u64) -> Result<u64> {
    let outcome = client.connect(server.at(PORT), &["--count", &count.to_string()])?;
    ensure!(outcome.count("connected") == count, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    Ok(count)
}

/// The cost of a sweep per open socket: that of a sweep with many of them, less that of one without.
fn swept_sockets(meter: &Meter<'_>, client: &Pod, server: &Pod) -> Result<()> {
    println!("\na sweep, with {} more open sockets or without:", 2 * HELD);
    println!(
        "  {:<38} {:>9} {:>9} {:>12} {:>11} {:>12} {:>11}",
        "", "runs", "each run", "the programs", "per socket", "the sweep", "per socket"
    );
    let to = server.at(PORT + 2).to_string();
    let _keeper = Driver::start(server, &["keep", &to])?;
    let mut holder = Driver::start(client, &["hold", &to])?;
    let mut hold = |command: &str| holder.run_command(command).map(drop);
    let none = sweeps(meter, "without them", SWEEPS, None, || Ok(()))?;
    sweeps(meter, "all seen for the first time", 1, Some(&none), || hold(&format!("open {HELD}")))?;
    sweeps(meter, "all idle", SWEEPS, Some(&none), || Ok(()))?;
    sweeps(meter, "all with traffic since the last sweep", SWEEPS, Some(&none), || hold("touch"))?;
    Ok(())
}

/// Nanoseconds of one sweep.
struct Swept {
    in_programs: f64,
    in_all: f64,
}

/// Makes the agent sweep this many times, each after `before_each`, and prints the difference to `without`.
fn sweeps(
    meter: &Meter<'_>,
    what: &str,
    count: u32,
    without: Option<&Swept>,
    mut before_each: impl FnMut() -> Result<()>,
) -> Result<Swept> {
    thread::sleep(SWEEP_AGAIN);
    let before = meter.agent.scrape()?;
    let mut now = None;
    for _ in 0..count {
        before_each()?;
        thread::sleep(SWEEP_AGAIN);
        now = Some(meter.agent.scrape()?);
    }
    let now = now.context("no sweep is asked for")?;
    let delta = |name: &str| now.sum(name, &[]) - before.sum(name, &[]);
    let (cost, runs) = Costs::of(&now).since(&Costs::of(&before), SWEEP, meter.noop);
    let swept = delta("netcause_sweep_duration_seconds_count");
    ensure!(runs > 0.0 && swept > 0.0, "the agent did not sweep");
    let one = Swept {
        in_programs: cost / swept,
        in_all: delta("netcause_sweep_duration_seconds_sum") * 1e9 / swept,
    };
    let per_socket = |of: fn(&Swept) -> f64| {
        without.map_or(String::new(), |without| format!("{:.0}", (of(&one) - of(without)) / float(2 * HELD)))
    };
    println!(
        "  {what:<38} {:>9.0} {:>9.0} {:>12.0} {:>11} {:>12.0} {:>11}",
        runs / swept,
        cost / runs,
        one.in_programs,
        per_socket(|swept| swept.in_programs),
        one.in_all,
        per_socket(|swept| swept.in_all),
    );
    Ok(one)
}
