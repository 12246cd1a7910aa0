//! Controls the programs of [`super::generate`]: starts them in a pod, sends them commands, and reads their results.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use super::{generate::Load, sites::Site};
use crate::lab::{
    machine,
    metrics::float,
    process::Process,
    topology::{Outcome, Pod, Server},
};

/// A program that carries out commands.
pub(super) struct Driver {
    process: Process,
    commands: u64,
}

/// The result of one command.
#[derive(Clone, Copy)]
pub(super) struct Done {
    pub(super) count: u64,
    pub(super) seconds: f64,
}

impl Driver {
    /// Starts `netcause-lab bench generate` with these arguments.
    pub(super) fn start(pod: &Pod, args: &[&str]) -> Result<Self> {
        let mut command = pod.command(&machine()?.exe)?;
        command.args(["bench", "generate"]).args(args);
        let process = Process::spawn(&args.join(" "), &mut command)?;
        process.wait_stdout("ready", |line| (line == "ready").then_some(()))?;
        Ok(Self { process, commands: 0 })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends a command and does not wait.
    pub(super) fn send_command(&mut self, command: &str) -> Result<()> {
        self.commands += 1;
        self.process.write_line(command)
    }

    /// Waits for what the last command did; it has to be done within the lab's timeout.
    pub(super) fn done(&self) -> Result<Done> {
        self.process.wait_stdout("the command carried out", |line| {
            let said: serde_json::Value = serde_json::from_str(line).ok()?;
            (said.get("command")?.as_u64()? == self.commands).then_some(Done {
                count: said.get("done")?.as_u64()?,
                seconds: said.get("seconds")?.as_f64()?,
            })
        })
    }

    /// Sends a command and waits until it is carried out.
    pub(super) fn run_command(&mut self, command: &str) -> Result<Done> {
        self.send_command(command)?;
        self.done()
    }
}

/// The server of a load.
enum Answering {
    Tcp(Server),
    Udp(Process),
    Dns(Driver),
}

impl Answering {
    fn start(load: Load, pod: &Pod, listen: SocketAddr) -> Result<Self> {
        let at = listen.to_string();
        let mode = match load {
            Load::Bulk => "sink",
            Load::RoundTrips => "echo",
            Load::Connects => "close",
            Load::Datagrams | Load::UnconnectedDatagrams => {
                let mut command = pod.command(&machine()?.exe)?;
                command.args(["traffic", "udp-server", "--listen", &at]);
                let process = Process::spawn("the server of datagrams", &mut command)?;
                process.wait_stdout("listening", |line| line.contains("listening").then_some(()))?;
                return Ok(Self::Udp(process));
            }
            Load::Dns | Load::DnsNewPorts | Load::DnsTcp => {
                return Driver::start(pod, &["answer", &at]).map(Self::Dns);
            }
        };
        Ok(Self::Tcp(pod.serve(listen, &["--mode", mode])?))
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Tcp(server) => server.pid(),
            Self::Udp(process) => process.pid(),
            Self::Dns(driver) => driver.pid(),
        }
    }
}

/// A load between two pods: usually a client and its server on every CPU, so that all of them are busy and the work of
/// the agent is missing from the sum.
pub(super) struct Loaded {
    pairs: Vec<(Driver, Answering)>,
}

impl Loaded {
    /// Starts the programs, idle, a pair for each site.
    pub(super) fn start(load: Load, client: &Pod, server: &Pod, sites: &[Site]) -> Result<Self> {
        let name = load.to_possible_value().context("a load without a name")?;
        let mut pairs = Vec::new();
        for site in sites {
            let answering = Answering::start(load, server, site.listen)?;
            site.seat_server(answering.pid())?;
            let driver = Driver::start(client, &["drive", name.get_name(), &site.to.to_string()])?;
            site.seat_client(driver.pid())?;
            pairs.push((driver, answering));
        }
        Ok(Self { pairs })
    }

    /// Runs the load for this long, and `meanwhile` halfway through; returns the results of each pair.
    pub(super) fn slice(
        &mut self,
        milliseconds: u64,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<Done>> {
        for (driver, _) in &mut self.pairs {
            driver.send_command(&milliseconds.to_string())?;
        }
        meanwhile()?;
        self.pairs.iter().map(|(driver, _)| driver.done()).collect()
    }

    /// Ends the programs; what the servers of connections counted.
    pub(super) fn finish(self) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for (driver, answering) in self.pairs {
            driver.process.finish()?.success()?;
            if let Answering::Tcp(server) = answering {
                outcomes.push(server.finish()?);
            }
        }
        Ok(outcomes)
    }
}

/// Operations per second, summed over all pairs.
pub(super) fn rate(done: &[Done]) -> f64 {
    done.iter().map(|done| float(done.count) / done.seconds).sum()
}
