//! Findings: a fault is named with its side, and nothing else is; healthy traffic is not called a fault.
//!
//! What happens on the way between nodes is done by a program that no kernel sees ([`NodePath`]).

pub(super) mod places;

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Result, ensure};

use super::drops;
use crate::lab::{
    agent::{self, Agent},
    faults::Fault,
    findings::{self, Wanted},
    path::NodePath,
    process::Process,
    scaled,
    topology::{Client, Net, Pod},
};

/// From the begin of a fault until it is named.
fn named_within() -> Duration {
    Duration::from_secs(scaled(40, 120))
}

/// From the end of a fault until its finding has ended.
fn over_within() -> Duration {
    Duration::from_secs(scaled(60, 120))
}

/// A client and its server on two nodes, and another server beside it that has no fault.
struct Stage {
    _net: Net,
    _far: Net,
    path: NodePath,
    client: Pod,
    server: Pod,
}

impl Stage {
    fn new(name: &str) -> Result<Self> {
        let net = Net::new(name)?;
        let (far, path) = net.beyond()?;
        let (client, server) = (net.pod("client")?, far.pod("server")?);
        Ok(Self { _net: net, _far: far, path, client, server })
    }

    fn pods(&self) -> [&Pod; 2] {
        [&self.client, &self.server]
    }

    /// Waits for this cause, of this subject.
    fn expect(&self, agent: &Agent, cause: &str, side: &str, kind: &str) -> Result<()> {
        let client = (kind == "edge").then_some(&self.client);
        let wanted = Wanted { cause, side, kind, client, server: Some(&self.server) };
        findings::expect(agent, &wanted, &self.pods(), named_within()).map(drop)
    }
}

/// Asks over kept connections until dropped, as a service does.
struct Asking {
    _client: Client,
}

fn transfers(client: &Pod, to: SocketAddr, bytes: &str) -> Result<Asking> {
    let client = client.start_client(
        to,
        &["--count", "100000", "--parallel", "2", "--send", bytes, "--interval-ms", "20"],
    )?;
    Ok(Asking { _client: client })
}

/// Loss between the nodes is the path's.
pub(super) fn path_loss(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let mut stage = Stage::new(name)?;
    let _sink = stage.server.serve(stage.server.at(8080), &[])?;
    let _traffic = transfers(&stage.client, stage.server.at(8080), "100000")?;
    stage.path.treat("forward lose=0.03")?;
    stage.expect(agent, "path_loss", "path", "edge")
}

/// A path that delivers nothing any more is dead, for connections that are open and for new ones.
pub(super) fn dead_path(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let mut stage = Stage::new(name)?;
    let _echo = stage.server.serve(stage.server.at(8080), &["--mode", "echo"])?;
    let mut held = stage.client.hold(stage.server.at(8080), &["--count", "4"])?;
    held.run_command("echo 1000")?;
    stage.path.treat("both lose=1")?;
    held.send_command("echo 1000")?;
    stage.expect(agent, "dead_path", "path", "edge")
}

/// Full-size packets vanish, and small ones pass.
pub(super) fn mtu_black_hole(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let mut stage = Stage::new(name)?;
    let _sink = stage.server.serve(stage.server.at(8080), &[])?;
    stage.path.treat("both mtu=1400")?;
    let _traffic = transfers(&stage.client, stage.server.at(8080), "100000")?;
    stage.expect(agent, "mtu_black_hole", "path", "edge")
}

/// Nobody listens: the server's side. `netcause why` says so in words, and by its exit code.
pub(super) fn refused(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let stage = Stage::new(name)?;
    let args = ["--count", "100000", "--send", "10", "--interval-ms", "100"];
    let _traffic = stage.client.start_client(stage.server.at(8080), &args)?;
    stage.expect(agent, "connection_refused", "server", "edge")?;
    let why = |more: &[&str]| {
        let mut command = agent::command(None, false)?;
        let url = format!("http://{}", agent.address());
        command.args(["why", "--url", &url, "--workload", stage.client.workload()]).args(more);
        Process::run("netcause why", &mut command, "")
    };
    let said = why(&[])?;
    let first = said.stdout.lines().next().unwrap_or_default();
    ensure!(
        said.status.code() == Some(2) && first.contains("nobody listens"),
        "{}: {}",
        said.status,
        said.stdout
    );
    ensure!(
        said.stdout.contains("connection_refused (medium confidence)") && !said.stdout.contains('\x1b'),
        "{}",
        said.stdout
    );
    ensure!(why(&["--fail-on", "high"])?.status.code() == Some(0), "medium is not high");
    let metrics = agent.scrape()?;
    let labels = [("cause", "connection_refused"), ("source_workload", stage.client.workload())];
    ensure!(metrics.sum("netcause_finding_active", &labels) == 1.0, "no series of the finding");
    ensure!(metrics.sum("netcause_findings_total", &[("cause", "connection_refused")]) >= 1.0, "not counted");
    Ok(())
}

/// A rule on this node that drops is named, and not the path.
pub(super) fn policy_drop(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !drops::is_available(agent)? {
        return Ok(());
    }
    let stage = Stage::new(name)?;
    let _sink = stage.server.serve(stage.server.at(8080), &["--ports", "2"])?;
    let _sound = transfers(&stage.client, stage.server.at(8081), "1000")?;
    let _fault = Fault::on_input(&stage.server, &["tcp dport 8080 drop"])?;
    let args = ["--count", "100000", "--parallel", "4", "--send", "10"];
    let _traffic = stage.client.start_client(stage.server.at(8080), &args)?;
    stage.expect(agent, "policy_drop", "policy", "edge")
}

/// A server that takes longer than it did is slow, and the network is not.
pub(super) fn slow_server(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let stage = Stage::new(name)?;
    let args = ["--mode", "echo", "--quick", "80", "--think-ms", "1500"];
    let _server = stage.server.serve(stage.server.at(8080), &args)?;
    let mut asks = stage.client.hold(stage.server.at(8080), &["--count", "4"])?;
    for _ in 0..80 {
        asks.run_command("echo 100")?;
        thread::sleep(Duration::from_millis(400));
    }
    // From here on each answer takes longer; the client asks on.
    for _ in 0..200 {
        asks.send_command("echo 100")?;
    }
    stage.expect(agent, "slow_server", "server", "edge")
}

/// An application that does not read is the end that holds data up.
pub(super) fn stalled(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let stage = Stage::new(name)?;
    let _deaf = stage.server.serve(stage.server.at(8080), &["--mode", "never-read"])?;
    let _traffic = stage.client.start_client(stage.server.at(8080), &["--send", "50000000"])?;
    stage.expect(agent, "receiver_stalled", "server", "edge")
}

/// A server that accepts nothing overflows its accept queue: a finding of the port, which explains the clients' SYNs.
pub(super) fn accept_queue(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let stage = Stage::new(name)?;
    let _busy = stage.server.serve(stage.server.at(8080), &["--mode", "never-accept", "--backlog", "4"])?;
    let args = ["--count", "100000", "--parallel", "12", "--send", "10", "--receive", "1"];
    let _traffic = stage.client.start_client(stage.server.at(8080), &args)?;
    stage.expect(agent, "accept_queue_overflow", "server", "listener")
}

/// Requests and answers, transfers, connections that come and go: nothing is wrong with them.
pub(super) fn healthy(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let mut stage = Stage::new(name)?;
    stage.path.treat("both delay_ms=2 jitter_ms=1")?;
    let at = |port| stage.server.at(port);
    let _sink = stage.server.serve(at(8080), &[])?;
    let _echo = stage.server.serve(at(8081), &["--mode", "echo", "--think-ms", "30"])?;
    let _push = stage.server.serve(at(8082), &["--mode", "push", "--think-ms", "1500"])?;
    let _polled = stage.server.serve(at(8083), &["--mode", "echo", "--think-ms", "8000"])?;
    let _bulk = transfers(&stage.client, at(8080), "200000")?;
    let args =
        ["--count", "100000", "--parallel", "4", "--send", "100", "--receive", "100", "--interval-ms", "50"];
    let _requests = stage.client.start_client(at(8081), &args)?;
    let _listens = stage.client.start_client(at(8082), &["--send", "64", "--receive", "1000000"])?;
    let args = ["--count", "100000", "--parallel", "2", "--send", "100", "--receive", "100"];
    let _polls = stage.client.start_client(at(8083), &args)?;
    // Longer than a finding needs.
    thread::sleep(Duration::from_secs(scaled(60, 90)));
    let mut found = findings::of(agent, &stage.pods())?;
    found.retain(findings::Finding::is_sure);
    ensure!(found.is_empty(), "healthy traffic is called {found:#?}");
    Ok(())
}
