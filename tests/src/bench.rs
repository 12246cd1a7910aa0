//! What the agent's programs cost in the kernel.
//!
//! The kernel keeps, per program, how often it ran and for how long (`kernel.bpf_stats_enabled`). In the VM that
//! `cargo xtask bench` boots, one instruction takes one nanosecond, so that these times are instruction counts, which
//! repeat on any machine. Elsewhere they are nanoseconds of this machine: noisy, and of use for a first look only.

mod noop;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::lab::agent::{Agent, Options};
use crate::lab::faults::Fault;
use crate::lab::metrics::Metrics;
use crate::lab::topology::{Net, Pod};
use noop::Noop;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
const RUN_SECONDS: &str = "netcause_bpf_run_seconds_total";
const RUNS: &str = "netcause_bpf_runs_total";
const PORT: u16 = 8080;

/// Time and runs of each program.
type Costs = BTreeMap<String, (f64, f64)>;

/// Measures and prints.
pub(crate) fn run() -> Result<()> {
    let statistics = Statistics::on()?;
    let began = Instant::now();
    let agent = Agent::start("bench", "agent", &Options::default())?;
    let first_scrape = began.elapsed();
    let net = Net::new("bench")?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _close = server.serve(server.at(PORT), &["--mode", "sink"])?;
    client.connect(server.at(PORT), &["--count", "20"])?;
    let noop = Noop::attach()?;
    client.connect(server.at(PORT), &["--count", "50"])?;
    let noop = noop.nanoseconds_per_run()?;
    println!("a program that does nothing: {noop:.0} a run, taken off below");

    let bench = Bench { agent: &agent, noop };
    bench.measure("one connection, SYN to close, both ends", 200, || connect(&client, &server, 200))?;
    bench.measure("one refused connection, both ends", 200, || {
        client.connect(server.at(PORT + 1), &["--count", "200"]).map(drop)
    })?;
    let before = client.retransmitted()?;
    let costs = bench.costs()?;
    {
        let _loss = Fault::on_path(&net, &client, &["numgen random mod 100 < 5 drop"])?;
        client.connect(server.at(PORT), &["--send", "4000000"])?;
    }
    client.wait_quiet()?;
    let segments = client.retransmitted()? - before;
    bench.report("one retransmitted segment (a bulk transfer with loss)", segments, &costs)?;
    println!(
        "\nagent: {} ms from start to first scrape, {} KiB resident when idle",
        first_scrape.as_millis(),
        resident(agent.pid())?
    );
    drop(statistics);
    Ok(())
}

fn connect(client: &Pod, server: &Pod, count: u64) -> Result<()> {
    let outcome = client.connect(server.at(PORT), &["--count", &count.to_string()])?;
    ensure!(outcome.count("connected") == count, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()
}

struct Bench<'a> {
    agent: &'a Agent,
    /// What the kernel's own bookkeeping adds to each run.
    noop: f64,
}

impl Bench<'_> {
    fn measure(&self, what: &str, operations: u64, operate: impl FnOnce() -> Result<()>) -> Result<()> {
        let before = self.costs()?;
        operate()?;
        self.report(what, operations, &before)
    }

    fn report(&self, what: &str, operations: u64, before: &Costs) -> Result<()> {
        ensure!(operations > 0, "{what}: it never happened");
        let operations = crate::lab::metrics::float(operations);
        println!("\n{what}:");
        println!("  {:<24} {:>9} {:>12} {:>14}", "program", "runs", "each run", "per operation");
        let (mut runs_in_all, mut in_all) = (0.0, 0.0);
        for (program, (seconds, runs)) in self.costs()? {
            let (seconds_before, runs_before) = before.get(&program).copied().unwrap_or_default();
            let runs = runs - runs_before;
            if runs == 0.0 {
                continue;
            }
            let each = (seconds - seconds_before) * 1e9 / runs - self.noop;
            let (runs, cost) = (runs / operations, each * runs / operations);
            println!("  {program:<24} {runs:>9.2} {each:>12.0} {cost:>14.0}");
            runs_in_all += runs;
            in_all += cost;
        }
        println!("  {:<24} {runs_in_all:>9.2} {:>12} {in_all:>14.0}", "in all", "");
        Ok(())
    }

    fn costs(&self) -> Result<Costs> {
        let metrics = self.agent.scrape()?;
        let program =
            |metrics: &Metrics, name: &str, program: &str| metrics.sum(name, &[("program", program)]);
        let names: Vec<String> = metrics.label_values(RUNS, "program");
        Ok(names
            .into_iter()
            .map(|name| {
                let costs = (program(&metrics, RUN_SECONDS, &name), program(&metrics, RUNS, &name));
                (name, costs)
            })
            .collect())
    }
}

/// The kernel's statistics of programs, on until dropped.
struct Statistics {
    before: String,
}

impl Statistics {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("reading {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("writing {SWITCH}"))?;
        // The switch is a static key: give every processor the time to see it.
        std::thread::sleep(Duration::from_millis(50));
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        // On a machine that is thrown away in a moment nobody minds a failure; elsewhere the switch costs little.
        let _ = fs::write(SWITCH, self.before.trim());
    }
}

fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading the agent's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")
}
