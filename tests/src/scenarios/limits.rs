//! Full tables and rings: losses are counted, and sums stay exact.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    crossed::Ends,
    faults::Fault,
    metrics::{CLOSED, Edge, FAILURES, Metrics, OPENED, RESETS, RETRANSMITTED, float},
    scaled,
    topology::Net,
    witness::Witness,
};

use super::udp::{ANSWER, Datagrams, UDP_RECEIVED_DATAGRAMS, UDP_SENT_DATAGRAMS};

/// An event ring of one page that the agent does not read loses events, which are counted as lost; no counter of
/// edges is wrong.
pub(super) fn tiny_ring(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let agent = Agent::start(
        name,
        "agent",
        &Options { env: &[("NETCAUSE_EVENT_RING_BYTES", "4096")], without_dns: true, ..Options::default() },
    )?;
    let lost = |metrics: &Metrics| metrics.sum("netcause_events_lost_total", &[("where", "ring")]);
    agent.signal(Signal::STOP)?;
    let storm: u64 = scaled(500, 200);
    let outcome = client.connect(server.at(8080), &["--count", &storm.to_string(), "--parallel", "4"]);
    // The agent continues even if the client failed.
    agent.signal(Signal::CONT)?;
    let outcome = outcome?;
    ensure!(outcome.failed("ECONNREFUSED") == storm, "{outcome:?}");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("lost events are counted, and the counters of edges are right", |metrics| {
        ensure!(lost(metrics) > 0.0, "no event was lost in a ring of one page");
        metrics.expect(FAILURES, &edge.with("reason", "refused"), storm)?;
        metrics.expect(FAILURES, &edge, storm)?;
        metrics.expect(RESETS, &edge.with("direction", "received"), storm)
    })?;
    agent.stop(Signal::TERM)
}

/// With a table of eight flows and forty to count, the others are counted on `other`, and the sum over all edges is
/// conserved.
pub(super) fn max_flows(name: &str) -> Result<()> {
    const PORTS: u64 = 40;
    const EACH: u64 = 5;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8000), &["--ports", &PORTS.to_string()])?;
    let witness = Witness::start(name, &[&client, &server])?;
    let agent = Agent::start(
        name,
        "agent",
        &Options { config: Some("max_tcp_flows: 8\n"), without_dns: true, ..Options::default() },
    )?;
    let count = (PORTS * EACH).to_string();
    let outcome = client
        .connect(server.at(8000), &["--count", &count, "--ports", &PORTS.to_string(), "--parallel", "2"])?;
    ensure!(outcome.count("connected") == PORTS * EACH, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    agent.until("the sums are conserved", |metrics| {
        let sums = ["source", "destination"].map(|reporter| (OPENED, reporter, PORTS * EACH));
        witness.expect_conserved(metrics, &sums)?;
        sums.into_iter().try_for_each(|sum| witness.expect_folded(metrics, sum))?;
        let series = metrics.samples.iter().filter(|sample| sample.name == OPENED).count();
        ensure!(series <= 10, "{series} edges from a table of 8");
        Ok(())
    })?;
    witness.stop()?;
    agent.stop(Signal::TERM)
}

/// A workload with more peers than a quarter of the table takes no more than that: the rest of its own counts for `other` at its
/// name, and the next workload is shown as it is.
pub(super) fn one_workload(name: &str) -> Result<()> {
    const PORTS: u64 = 700;
    let net = Net::new(name)?;
    let [greedy, server, modest, other] = ["greedy", "server", "modest", "other"].map(|pod| net.pod(pod));
    let (greedy, server, modest, other) = (greedy?, server?, modest?, other?);
    let args = &["--max-udp-flows", "1200"][..];
    let agent = Agent::start(name, "agent", &Options { args, without_dns: true, ..Options::default() })?;
    let ports = PORTS.to_string();
    let _sink = server.serve_udp(server.at(20_000), &["--mode", "sink", "--ports", &ports])?;
    let _echo = other.serve_udp(other.at(20_000), &[])?;
    greedy.send_udp(server.at(20_000), &["--unconnected", "--ports", &ports, "--count", &ports])?;
    let modestly =
        Datagrams::answered(&modest.send_udp(other.at(20_000), &[&["--count", "5"], &ANSWER[..]].concat())?)?;
    agent.until("one workload has a quarter of the table", |metrics| {
        for (pod, end, peer, counter) in [
            (&greedy, "source_workload", "destination_workload", UDP_SENT_DATAGRAMS),
            (&server, "destination_workload", "source_workload", UDP_RECEIVED_DATAGRAMS),
        ] {
            let all = metrics.sum(counter, &[(end, pod.workload())]);
            let folded = metrics.sum(counter, &[(end, pod.workload()), (peer, "other")]);
            ensure!(
                (all, folded) == (float(PORTS), float(PORTS - 300)),
                "{all} counted, {folded} folded at {}",
                pod.workload()
            );
        }
        let entries = metrics.sum("netcause_map_entries", &[("map", "udp_flows")]);
        ensure!(entries < 700.0, "{entries} entries");
        modestly.expect_answered(metrics, &Ends::v4(&modest, &other, 20_000))
    })?;
    agent.stop(Signal::TERM)
}

/// With a table of four sockets and thirty connections, roles and counts stay right; what needs the table is counted
/// as lost.
pub(super) fn max_sockets(name: &str) -> Result<()> {
    let (net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let agent = Agent::start(
        name,
        "agent",
        &Options { args: &["--max-sockets", "4"], without_dns: true, ..Options::default() },
    )?;
    let mut held = client.hold(server.at(8080), &["--count", "30"])?;
    let rule = "meta l4proto tcp meta length > 200 numgen inc mod 5 == 1 drop";
    let _faults = [Fault::on_path(&net, &client, &[rule])?, Fault::on_path(&net, &server, &[rule])?];
    held.run_command("echo 5000")?;
    let outcome = held.finish()?;
    ensure!(outcome.count("bytes_received") == 150_000, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    agent.until("counts are right without an entry for the socket", |metrics| {
        for edge in [Edge::at_client(&client, server.v4, 8080), Edge::at_server(&server, client.v4, 8080)] {
            metrics.expect(OPENED, &edge, 30)?;
            metrics.expect(CLOSED, &edge, 30)?;
            metrics.expect(FAILURES, &edge, 0)?;
            metrics.expect_at_least(RETRANSMITTED, &edge, 1)?;
        }
        // Without an entry for the socket the agent may miss retransmissions that have no tracepoint, but never counts more.
        for pod in [&client, &server] {
            let (agent, kernel) = (metrics.retransmitted_by(pod)?, float(pod.retransmitted()?));
            ensure!(agent <= kernel, "the agent says {agent} retransmitted segments, the kernel {kernel}");
        }
        let lost = metrics.sum("netcause_events_lost_total", &[("where", "map")]);
        ensure!(lost > 0.0, "the full table is not reported");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
