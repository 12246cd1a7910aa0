//! What the agent says connections wait for, beside what their clients have measured.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rustix::process::Signal;

use super::{
    SWEEP_AGAIN, SWEEP_ALWAYS,
    drivers::Driver,
    generate::{Distribution, Style},
};
use crate::lab::{
    agent::{Agent, Options},
    crossed::Ends,
    machine,
    metrics::{Edge, Metrics},
    process::Process,
    topology::{Net, Pod},
};

const FIRST_PORT: u16 = 8080;
const WAITED: &str = "netcause_tcp_waited_seconds_total";
const RESPONSES: &str = "netcause_tcp_response_duration_seconds";
const AGES: &str = "netcause_tcp_unanswered_age_seconds";

/// `netcause-lab bench turn`
#[derive(Args)]
pub(super) struct Turn {
    /// For how long all clients ask, all at the same time
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Before that, so that flows are known
    #[arg(long, default_value_t = 20)]
    warm_up: u64,
}

/// One row of the table.
struct Row {
    style: Style,
    distribution: Distribution,
    think_ms: u32,
    pause_ms: u32,
    connections: u32,
}

const fn row(style: Style, think_ms: u32, connections: u32) -> Row {
    // As many requests as this machine can answer beside all others.
    let pause_ms = if connections > 100 { 4000 } else { 1000 };
    Row { style, distribution: Distribution::Fixed, think_ms, pause_ms, connections }
}

const ROWS: [Row; 20] = [
    row(Style::KeptAlive, 10, 1),
    row(Style::KeptAlive, 10, 100),
    row(Style::KeptAlive, 10, 1000),
    row(Style::KeptAlive, 50, 100),
    row(Style::KeptAlive, 200, 1),
    row(Style::KeptAlive, 200, 100),
    row(Style::KeptAlive, 1000, 1),
    row(Style::KeptAlive, 1000, 100),
    row(Style::KeptAlive, 1000, 1000),
    row(Style::KeptAlive, 3000, 1),
    row(Style::KeptAlive, 3000, 100),
    Row { distribution: Distribution::Exponential, ..row(Style::KeptAlive, 200, 100) },
    Row { distribution: Distribution::Rarely, ..row(Style::KeptAlive, 3000, 100) },
    // A long poll.
    Row { distribution: Distribution::Exponential, pause_ms: 0, ..row(Style::KeptAlive, 10_000, 100) },
    row(Style::Closing, 1000, 100),
    row(Style::HalfClosed, 1000, 100),
    row(Style::Pipelined, 50, 100),
    row(Style::Pipelined, 1000, 100),
    row(Style::Pushed, 3000, 100),
    row(Style::PushedAcknowledged, 3000, 100),
];

/// A client that runs.
struct Asker {
    process: Process,
    asked: usize,
    ends: Ends,
}

/// Sums up to a moment, in seconds.
#[derive(Clone, Copy, Default)]
struct Sums {
    open: f64,
    waited: f64,
    /// The agent's, at the client, at the server, and what it cannot tell at the client.
    client: f64,
    server: f64,
    unknown: f64,
    answers: f64,
    took: f64,
    squares: f64,
    seen: f64,
    seen_took: f64,
    unanswered: f64,
    unanswered_age: f64,
}

impl Turn {
    pub(super) fn run(self) -> Result<()> {
        let agent = Agent::start("turn", "agent", &Options { args: &SWEEP_ALWAYS, ..Options::default() })?;
        let (_net, client, server) = Net::pair("turn")?;
        let ports = ROWS.len().to_string();
        let at = server.at(FIRST_PORT).to_string();
        let _server = Driver::start(&server, &["think", &at, "--ports", &ports])?;
        let mut askers = Vec::new();
        for (row, port) in ROWS.iter().zip(FIRST_PORT..) {
            askers.push(Asker::start(row, &client, &server, port)?);
        }
        sweep_for(&agent, Duration::from_secs(self.warm_up))?;
        let before = sums(&mut askers, &agent.scrape()?)?;
        let metrics = sweep_for(&agent, Duration::from_secs(self.seconds))?;
        let after = sums(&mut askers, &metrics)?;
        println!(
            "| clients | server takes | connections | waited: client | of the time | `peer_application` | `local_application` | \
             `unknown` | answers: client / observed | mean: client / observed | mean age: client / observed |\n\
             |---|---|---|---|---|---|---|---|---|---|---|"
        );
        for ((row, before), after) in ROWS.iter().zip(before).zip(after) {
            row.print(before, after)?;
        }
        agent.stop(Signal::TERM)
    }
}

/// Scrapes as often as the agent sweeps; returns the last scrape.
fn sweep_for(agent: &Agent, time: Duration) -> Result<Metrics> {
    let began = Instant::now();
    loop {
        thread::sleep(SWEEP_AGAIN);
        let metrics = agent.scrape()?;
        if began.elapsed() >= time {
            return Ok(metrics);
        }
    }
}

/// The sums of each client, and the agent's.
fn sums(askers: &mut [Asker], metrics: &Metrics) -> Result<Vec<Sums>> {
    // All clients are asked before any is waited for, so that they answer as soon after the sweep as they can.
    askers.iter_mut().try_for_each(Asker::ask)?;
    askers.iter().map(|asker| asker.sums(metrics)).collect()
}

impl Asker {
    fn start(row: &Row, client: &Pod, server: &Pod, port: u16) -> Result<Self> {
        let mut command = client.command(&machine()?.exe)?;
        let [think, pause, connections] =
            [row.think_ms, row.pause_ms, row.connections].map(|number| number.to_string());
        command.args(["bench", "generate", "ask", &server.at(port).to_string()]);
        command.args(["--style", &name(&row.style)?, "--distribution", &name(&row.distribution)?]);
        command.args(["--think-ms", &think, "--pause-ms", &pause, "--connections", &connections]);
        let process = Process::spawn(&format!("the client at {port}"), &mut command)?;
        process.wait_stdout("ready", |line| (line == "ready").then_some(()))?;
        Ok(Self { process, asked: 0, ends: Ends::v4(client, server, port) })
    }

    fn ask(&mut self) -> Result<()> {
        self.asked += 1;
        self.process.write_line("")
    }

    fn sums(&self, metrics: &Metrics) -> Result<Sums> {
        let answer = self.process.wait_nth_stdout("its sums", self.asked, |line| {
            serde_json::from_str::<serde_json::Value>(line).ok()
        })?;
        let own = |name: &str| answer.get(name).and_then(serde_json::Value::as_f64).context("no such sum");
        let waited = |edge: &Edge, on| metrics.on(WAITED, &edge.with("on", on));
        let Ends { client, server } = &self.ends;
        Ok(Sums {
            open: own("open")?,
            waited: own("waited")?,
            answers: own("answers")?,
            took: own("took")?,
            squares: own("squares")?,
            client: waited(client, "peer_application"),
            server: waited(server, "local_application"),
            unknown: waited(client, "unknown"),
            seen: metrics.on(&format!("{RESPONSES}_count"), client),
            seen_took: metrics.on(&format!("{RESPONSES}_sum"), client),
            unanswered: metrics.on(&format!("{AGES}_count"), client),
            unanswered_age: metrics.on(&format!("{AGES}_sum"), client),
        })
    }
}

impl Row {
    /// How they talk.
    fn clients(&self) -> Result<String> {
        let pauses = if self.pause_ms == 0 { ", without pauses" } else { "" };
        Ok(format!("{}{pauses}", name(&self.style)?))
    }

    fn print(&self, before: Sums, after: Sums) -> Result<()> {
        let grown = |of: fn(&Sums) -> f64| of(&after) - of(&before);
        let (waited, open) = (grown(|sums| sums.waited), grown(|sums| sums.open));
        let share = |part: f64| if waited > 0.0 { format!(" ({:.2})", part / waited) } else { String::new() };
        let [client, server] = [grown(|sums| sums.client), grown(|sums| sums.server)]
            .map(|part| format!("{part:.1} s{}", share(part)));
        let mean = |sum: f64, count: f64| {
            if count > 0.0 { format!("{:.0}", sum / count * 1e3) } else { "–".to_owned() }
        };
        let takes = match self.distribution {
            Distribution::Fixed => format!("{} ms", self.think_ms),
            Distribution::Exponential => format!("{} ms, exponential", self.think_ms),
            Distribution::Rarely => format!("10 ms, one of ten {} ms", self.think_ms),
        };
        println!(
            "| {} | {takes} | {} | {waited:.1} s | {:.1} % | {client} | {server} | {:.1} s | {} / {} | {} / {} ms | {} / {} ms |",
            self.clients()?,
            self.connections,
            100.0 * waited / open.max(f64::MIN_POSITIVE),
            grown(|sums| sums.unknown),
            grown(|sums| sums.answers),
            grown(|sums| sums.seen),
            mean(grown(|sums| sums.took), grown(|sums| sums.answers)),
            mean(grown(|sums| sums.seen_took), grown(|sums| sums.seen)),
            mean(grown(|sums| sums.squares) / 2.0, grown(|sums| sums.took)),
            mean(grown(|sums| sums.unanswered_age), grown(|sums| sums.unanswered)),
        );
        Ok(())
    }
}

/// Its name on the command line.
fn name(value: &impl ValueEnum) -> Result<String> {
    Ok(value.to_possible_value().context("without a name")?.get_name().to_owned())
}
