//! The agent at its limits: what it loses it counts, and its sums stay exact.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    faults::Fault,
    metrics::{CLOSED, Edge, FAILURES, Metrics, OPENED, RESETS, RETRANSMITTED, float},
    namespace::own_counter,
    scaled,
    topology::Net,
};

/// A ring of one page and an agent that does not read it: events are lost and counted as lost; no count is wrong.
pub(super) fn tiny_ring(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let agent = Agent::start(
        name,
        "agent",
        &Options { env: &[("NETCAUSE_EVENT_RING_BYTES", "4096")], ..Options::default() },
    )?;
    let lost = |metrics: &Metrics| metrics.sum("netcause_events_lost_total", &[("where", "ring")]);
    agent.signal(Signal::STOP)?;
    let storm: u64 = scaled(500, 200);
    let outcome = client.connect(server.at(8080), &["--count", &storm.to_string(), "--parallel", "4"]);
    // Whatever came of the storm, the agent goes on.
    agent.signal(Signal::CONT)?;
    let outcome = outcome?;
    ensure!(outcome.failed("ECONNREFUSED") == storm, "{outcome:?}");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("the loss of events is said, and no count suffers", |metrics| {
        ensure!(lost(metrics) > 0.0, "no event was lost in a ring of one page");
        metrics.expect(FAILURES, &edge.with("reason", "refused"), storm)?;
        metrics.expect(FAILURES, &edge, storm)?;
        metrics.expect(RESETS, &edge.with("direction", "received"), storm)
    })?;
    agent.stop(Signal::TERM)
}

/// Room for eight flows and forty to count: what does not fit goes to `other`, and nothing is lost in the sum.
pub(super) fn max_flows(name: &str) -> Result<()> {
    const PORTS: u64 = 40;
    const EACH: u64 = 5;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _sink = server.serve(server.at(8000), &["--ports", &PORTS.to_string()])?;
    // The machine's own namespace goes on with its own connections; nothing else does, for this scenario runs alone.
    let own_before = own_connections()?;
    let agent =
        Agent::start(name, "agent", &Options { config: Some("max_tcp_flows: 8\n"), ..Options::default() })?;
    let count = (PORTS * EACH).to_string();
    let outcome = client
        .connect(server.at(8000), &["--count", &count, "--ports", &PORTS.to_string(), "--parallel", "2"])?;
    ensure!(outcome.count("connected") == PORTS * EACH, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    agent.until("the sums are conserved", |metrics| {
        let own = float(own_connections()? - own_before);
        for reporter in ["source", "destination"] {
            let all = metrics.sum(OPENED, &[("reporter", reporter)]);
            let real = float(PORTS * EACH);
            ensure!(
                (real..=real + own).contains(&all),
                "{all} connections by reporter {reporter}, not {real} (up to {own} of the machine's own):\n{}",
                metrics.list(|sample| sample.name == OPENED)
            );
        }
        let other = metrics.total(OPENED, |sample| sample.labels.values().any(|value| value == "other"));
        ensure!(other > 0.0, "nothing went to `other`:\n{}", metrics.list(|sample| sample.name == OPENED));
        let series = metrics.samples.iter().filter(|sample| sample.name == OPENED).count();
        ensure!(series <= 10, "{series} edges from a table of 8");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}

/// Room for four sockets and thirty to follow: roles and counts stay right without a memory of the socket.
pub(super) fn max_sockets(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let agent =
        Agent::start(name, "agent", &Options { args: &["--max-sockets", "4"], ..Options::default() })?;
    let mut held = client.start_client(server.at(8080), &["--hold", "--count", "30"])?;
    held.wait_open()?;
    let rule = "meta l4proto tcp meta length > 200 numgen inc mod 5 == 1 drop";
    let _faults = [Fault::on_path(&net, &client, &[rule])?, Fault::on_path(&net, &server, &[rule])?];
    held.echo(5000)?;
    held.wait_done(1)?;
    let outcome = held.finish()?;
    ensure!(outcome.count("bytes_received") == 150_000, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    agent.until("counts need no memory of the socket", |metrics| {
        for edge in [Edge::at_client(&client, server.v4, 8080), Edge::at_server(&server, client.v4, 8080)] {
            metrics.expect(OPENED, &edge, 30)?;
            metrics.expect(CLOSED, &edge, 30)?;
            metrics.expect(FAILURES, &edge, 0)?;
            metrics.expect_at_least(RETRANSMITTED, &edge, 1)?;
        }
        // Without a memory of the socket, what the kernel counts and does not report stays unknown; nothing is invented.
        for pod in [&client, &server] {
            let (agent, kernel) = (metrics.retransmitted_by(pod)?, float(pod.retransmitted()?));
            ensure!(agent <= kernel, "the agent says {agent} retransmitted segments, the kernel {kernel}");
        }
        let lost = metrics.sum("netcause_events_lost_total", &[("where", "map")]);
        ensure!(lost > 0.0, "the full table is not said");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}

/// Connections, in either direction, of the machine's own namespace so far.
fn own_connections() -> Result<u64> {
    Ok(own_counter("Tcp", "ActiveOpens")? + own_counter("Tcp", "PassiveOpens")?)
}
