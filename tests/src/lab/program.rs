//! The servers and clients that run inside the pods, and their own counts.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context as _, Result};

use super::process::Process;

/// A running server.
pub(crate) struct Server {
    process: Process,
}

impl Server {
    pub(super) fn start(
        program: &str,
        listen: SocketAddr,
        args: &[&str],
        command: impl FnOnce(&[&str]) -> Result<Command>,
    ) -> Result<Self> {
        let listen = listen.to_string();
        let mut all = vec!["--listen", &listen];
        all.extend(args);
        let process = Process::spawn(&format!("{program} at {listen}"), &mut command(&all)?)?;
        process.wait_stdout("listening", |line| line.contains("\"listening\"").then_some(()))?;
        Ok(Self { process })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Stops it and takes its totals.
    pub(crate) fn finish(self) -> Result<Outcome> {
        Outcome::read(&self.process.finish()?.success().context("the server")?)
    }
}

/// A running client.
pub(crate) struct Client {
    process: Process,
    /// Commands sent so far.
    commands: u64,
}

impl Client {
    pub(super) fn start(
        to: SocketAddr,
        args: &[&str],
        command: impl FnOnce(&[&str]) -> Result<Command>,
    ) -> Result<Self> {
        let to = to.to_string();
        let mut all = vec!["--connect", &to];
        all.extend(args);
        let process = Process::spawn(&format!("client of {to}"), &mut command(&all)?)?;
        Ok(Self { process, commands: 0 })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Waits until a client with `--hold` has opened all its connections.
    pub(super) fn wait_open(&self) -> Result<()> {
        self.process.wait_stdout("open connections", |line| line.contains("\"open\"").then_some(()))
    }

    /// Sends a command to a client with `--hold` and does not wait; see `netcause-lab traffic client --help`.
    pub(crate) fn send_command(&mut self, command: &str) -> Result<()> {
        self.commands += 1;
        self.process.write_line(command)
    }

    /// Sends it a command and waits until it has carried it out.
    pub(crate) fn run_command(&mut self, command: &str) -> Result<()> {
        self.send_command(command)?;
        self.wait_done(self.commands)
    }

    /// Waits until it has carried out all commands so far.
    pub(crate) fn wait_all_done(&self) -> Result<()> {
        self.wait_done(self.commands)
    }

    /// Waits until it has carried out the `n`-th command.
    pub(crate) fn wait_done(&self, n: u64) -> Result<()> {
        let done = format!("{{\"done\":{n}}}");
        self.process.wait_stdout("the command carried out", |line| (line == done).then_some(()))
    }

    /// Lets it end and takes its totals.
    pub(crate) fn finish(self) -> Result<Outcome> {
        Outcome::read(&self.process.finish()?.success().context("the client")?)
    }
}

/// A running program that lines of its standard input change.
pub(crate) struct Controlled {
    process: Process,
    /// Lines sent so far.
    lines: usize,
}

impl Controlled {
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self> {
        let process = Process::spawn(name, command)?;
        process.wait_stdout("its start", |line| line.contains("\"ready\"").then_some(()))?;
        Ok(Self { process, lines: 0 })
    }

    /// Changes it: `think_ms=300`, see `netcause-lab traffic service --help`; waits until it does so.
    pub(crate) fn set(&mut self, setting: &str) -> Result<()> {
        self.process.write_line(setting)?;
        self.lines += 1;
        let done = format!("{{\"done\":{}}}", self.lines);
        self.process.wait_stdout(setting, |line| (line == done).then_some(()))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        self.process.signal(signal)
    }
}

/// A traffic program's own counts: the last line of its output.
#[derive(Debug)]
pub(crate) struct Outcome(serde_json::Value);

impl Outcome {
    pub(crate) fn read(stdout: &str) -> Result<Self> {
        let last = stdout.lines().last().context("the traffic program printed nothing")?;
        Ok(Self(serde_json::from_str(last).with_context(|| format!("reading {last:?}"))?))
    }

    /// One of its counts; zero if it has none of that name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }

    /// How many connects failed with this errno name.
    pub(crate) fn failed(&self, errno: &str) -> u64 {
        self.0.get("failures").and_then(|all| all.get(errno)).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }
}
