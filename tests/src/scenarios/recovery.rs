//! How a loss was repaired: the kinds of retransmits, each made to happen.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{Edge, RETRANSMITTED},
    topology::Net,
};

/// The one segment in flight is lost: the timer that is armed then sends a loss probe, whatever it would have been without.
///
/// Of several segments the probe is the last, and its acknowledgement need not tell of the others' loss: RACK makes nothing of
/// a round trip that is shorter than the shortest before (`tcp_rack_advance`), which is nothing rare where the first ones
/// were slowed down by a busy machine. Then the retransmission timer goes off after all.
pub(super) fn tail_loss_probe(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    // The time that the probe's acknowledgement has. Behind one segment some kernels wait as long before they send the probe.
    client.set_min_rto(&server, "3s")?;
    let rule = "tcp dport 8080 meta length > 200 numgen inc mod 1000000 < 1 drop";
    let _fault = Fault::on_path(&net, &client, &[rule])?;
    // No end of the stream behind the data: its arrival would tell of the loss before the probe does.
    let mut held = client.start_client(server.at(8080), &["--hold"])?;
    held.wait_open()?;
    held.echo(1000)?;
    held.wait_done(1)?;
    let outcome = held.finish()?;
    ensure!(outcome.count("bytes_received") == 1000, "{outcome:?}");
    client.wait_quiet()?;
    ensure!(client.counter("TcpExt", "TCPLossProbes")? > 0, "the kernel sent no loss probe");
    ensure!(client.counter("TcpExt", "TCPTimeouts")? == 0, "the kernel's timer went off");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("a loss probe is one", |metrics| {
        metrics.expect_at_least(RETRANSMITTED, &edge.with("kind", "tail_loss_probe"), 1)?;
        metrics.expect(RETRANSMITTED, &edge.with("kind", "timeout"), 0)?;
        metrics.expect_kernel_retransmits(&client)
    })
}

/// Loss probes off, everything in flight lost several times: the timer goes off.
pub(super) fn timeout(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    client.sysctl(&["net/ipv4/tcp_early_retrans=0"])?;
    let rule = "tcp dport 8080 meta length > 200 numgen inc mod 1000000 < 3 drop";
    let _fault = Fault::on_path(&net, &client, &[rule])?;
    // No end of the stream behind the data: its arrival would tell of the loss before the timer does.
    let mut held = client.start_client(server.at(8080), &["--hold"])?;
    held.wait_open()?;
    held.echo(1000)?;
    held.wait_done(1)?;
    let outcome = held.finish()?;
    ensure!(outcome.count("bytes_received") == 1000, "{outcome:?}");
    client.wait_quiet()?;
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("the timer's retransmits are its own", |metrics| {
        metrics.expect_at_least(RETRANSMITTED, &edge.with("kind", "timeout"), 3)?;
        metrics.expect(RETRANSMITTED, &edge.with("kind", "tail_loss_probe"), 0)?;
        metrics.expect(RETRANSMITTED, &edge.with("kind", "fast"), 0)?;
        metrics.expect_kernel_retransmits(&client)
    })
}

/// The client's own firewall drops what it retransmits: the kernel counts retransmits that it could not transmit, and most
/// kernels report none of them at their tracepoint. The agent's sum is exact all the same.
pub(super) fn local_drop(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _sink = server.serve(server.at(8080), &[])?;
    let data = "tcp dport 8080 meta length > 200 numgen inc mod 1000000";
    let _faults = [
        // The first transmission leaves the pod and is lost; then three retransmits do not even leave it.
        Fault::on_path(&net, &client, &[&format!("{data} < 1 drop")])?,
        Fault::on_output(&client, &[&format!("{data} 1-3 drop")])?,
    ];
    let outcome = client.connect(server.at(8080), &["--send", "1000"])?;
    ensure!(outcome.count("broken") == 0, "{outcome:?}");
    client.wait_quiet()?;
    let counted = client.retransmitted()?;
    ensure!(
        counted >= 4,
        "three retransmits that failed and one that did not, but the kernel counted {counted}"
    );
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("retransmits that failed are counted", |metrics| {
        metrics.expect(RETRANSMITTED, &edge, counted)?;
        metrics.expect_kernel_retransmits(&client)
    })
}
