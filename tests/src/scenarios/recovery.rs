//! The kinds of retransmissions, each provoked.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{Edge, RETRANSMITTED},
    topology::{Net, Pod},
};

/// Sends 1000 bytes and receives them back, without a FIN behind them: its arrival would reveal a loss before a timer does.
fn echo(client: &Pod, server: &Pod) -> Result<()> {
    let mut held = client.hold(server.at(8080), &[])?;
    held.run_command("echo 1000")?;
    let outcome = held.finish()?;
    ensure!(outcome.count("bytes_received") == 1000, "{outcome:?}");
    client.wait_quiet()
}

/// The only segment in flight is lost, and its retransmission counts as `tail_loss_probe`.
///
/// Only one segment, because of several the probe repeats the last, and RACK ignores a round trip shorter than the
/// minimum (`tcp_rack_advance`), which happens where a busy machine delayed the first ones. Then the retransmission
/// timer fires after all.
pub(super) fn tail_loss_probe(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    // Leaves the probe's acknowledgement enough time. Behind one segment some kernels wait this long before the probe.
    client.set_min_rto(&server, "3s")?;
    let rule = "tcp dport 8080 meta length > 200 numgen inc mod 1000000 < 1 drop";
    let _fault = Fault::on_path(&net, &client, &[rule])?;
    echo(&client, &server)?;
    ensure!(client.counter("TcpExt", "TCPLossProbes")? > 0, "the kernel sent no loss probe");
    ensure!(client.counter("TcpExt", "TCPTimeouts")? == 0, "the kernel's timer went off");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("the loss probe is counted as one", |metrics| {
        metrics.expect_at_least(RETRANSMITTED, &edge.with("kind", "tail_loss_probe"), 1)?;
        metrics.expect(RETRANSMITTED, &edge.with("kind", "timeout"), 0)?;
        metrics.expect_kernel_retransmits(&client)
    })
}

/// With loss probes off and everything in flight lost several times, the retransmissions count as `timeout`.
pub(super) fn timeout(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    client.sysctl(&["net/ipv4/tcp_early_retrans=0"])?;
    let rule = "tcp dport 8080 meta length > 200 numgen inc mod 1000000 < 3 drop";
    let _fault = Fault::on_path(&net, &client, &[rule])?;
    echo(&client, &server)?;
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("retransmissions by timeout are counted as such", |metrics| {
        metrics.expect_at_least(RETRANSMITTED, &edge.with("kind", "timeout"), 3)?;
        metrics.expect(RETRANSMITTED, &edge.with("kind", "tail_loss_probe"), 0)?;
        metrics.expect(RETRANSMITTED, &edge.with("kind", "fast"), 0)?;
        metrics.expect_kernel_retransmits(&client)
    })
}

/// Retransmissions that the client's own firewall drops are counted: the kernel counts them too, though most kernels
/// do not report them at their tracepoint.
pub(super) fn local_drop(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
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
    agent.until("retransmissions that failed are counted", |metrics| {
        metrics.expect(RETRANSMITTED, &edge, counted)?;
        metrics.expect_kernel_retransmits(&client)
    })
}
