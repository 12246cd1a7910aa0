//! Connections and workloads older than the agent, or gone before the first scrape.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    faults::Fault,
    metrics::{CLOSED, Edge, FAILURES, OPENED, RETRANSMITTED},
    scaled,
    topology::Net,
};

/// A workload whose cgroup is removed before the first scrape keeps its name.
pub(super) fn gone_workload(name: &str) -> Result<()> {
    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    let net = Net::new(name)?;
    let server = net.pod("server")?;
    let _sink = server.serve(server.at(8080), &[])?;
    let edge = {
        let client = net.pod("client")?;
        client.connect(server.at(8080), &["--count", "3"])?;
        client.wait_quiet()?;
        // The agent collects what is new a few times a second.
        thread::sleep(Duration::from_secs(scaled(1, 5)));
        Edge::at_client(&client, server.v4, 8080)
    };
    agent.until("the client is named", |metrics| metrics.expect(CLOSED, &edge, 3))
}

/// An agent that starts after connections were opened counts their retransmissions and closes from its start on, in
/// the right roles.
pub(super) fn idle_connections(name: &str) -> Result<()> {
    let (net, client, server) = Net::pair(name)?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo"])?;
    let rule = "meta l4proto tcp meta length > 200 numgen inc mod 3 == 1 drop";
    let mut held = client.hold(server.at(8080), &["--count", "3"])?;
    let early = Fault::on_path(&net, &client, &[rule])?;
    held.run_command("echo 20000")?;
    early.clear()?;
    let before = (client.retransmitted()?, server.retransmitted()?);
    ensure!(before.0 > 0, "nothing was lost before the agent's start");

    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    // Nothing is in flight, so nothing is retransmitted between the count above and the agent's start.
    let _faults = [Fault::on_path(&net, &client, &[rule])?, Fault::on_path(&net, &server, &[rule])?];
    held.run_command("echo 50000")?;
    let outcome = held.finish()?;
    ensure!(outcome.count("broken") == 0, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    let since = (client.retransmitted()? - before.0, server.retransmitted()? - before.1);
    ensure!(since.0 > 0 && since.1 > 0, "nothing was lost after the agent's start: {since:?}");
    let (at_client, at_server) =
        (Edge::at_client(&client, server.v4, 8080), Edge::at_server(&server, client.v4, 8080));
    agent.until("the agent counts from its start, in the right roles", |metrics| {
        for (edge, retransmits) in [(&at_client, since.0), (&at_server, since.1)] {
            metrics.expect(OPENED, edge, 0)?;
            metrics.expect(CLOSED, edge, 3)?;
            metrics.expect(FAILURES, edge, 0)?;
            metrics.expect(RETRANSMITTED, edge, retransmits)?;
        }
        let ours = metrics.total(CLOSED, |sample| {
            sample.labels.values().any(|value| value == client.workload() || value == server.workload())
        });
        ensure!(ours == 6.0, "{ours} closes in all, not 6: some connection has the wrong role or port");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
