//! The kinds of retransmissions, each provoked.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{AFTER_IDLE, Edge, FULL_SIZE, Metrics, RETRANSMITTED, TIMEOUTS, USED, float},
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
        for consecutive in ["1", "2", "3_or_more"] {
            metrics.expect_at_least(TIMEOUTS, &edge.with("consecutive", consecutive), 1)?;
        }
        // The kernel counts timeouts of handshakes as well.
        let handshakes = metrics.on(RETRANSMITTED, &edge.with("kind", "syn"));
        let (timeouts, kernel) = (metrics.on(TIMEOUTS, &edge), client.counter("TcpExt", "TCPTimeouts")?);
        ensure!(timeouts + handshakes == float(kernel), "{timeouts} timeouts, {kernel} by the kernel");
        metrics.expect(FULL_SIZE, &edge, 0)?;
        metrics.expect(AFTER_IDLE, &edge, 0)?;
        metrics.expect_kernel_retransmits(&client)
    })
}

/// A path that drops large packets without saying so: small data gets through, and all that is sent again is of full size.
pub(super) fn large_segments(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    // A loss probe would repeat the last segment, which is small and has arrived.
    client.sysctl(&["net/ipv4/tcp_early_retrans=0"])?;
    let hole = Fault::on_path(&net, &client, &["tcp dport 8080 meta length > 1400 drop"])?;
    let mut held = client.hold(server.at(8080), &[])?;
    held.run_command("echo 100")?;
    held.send_command("send 20000")?;
    let edge = Edge::at_client(&client, server.v4, 8080);
    let again = |metrics: &Metrics| -> f64 {
        let kinds = ["fast", "timeout", "slow_start"];
        kinds.iter().map(|kind| metrics.on(RETRANSMITTED, &edge.with("kind", kind))).sum()
    };
    agent.until("only full segments are sent again", |metrics| {
        let (full, again) = (metrics.on(FULL_SIZE, &edge), again(metrics));
        ensure!(again >= 3.0 && full == again, "{full} of {again} segments sent again are of full size");
        metrics.expect_at_least(TIMEOUTS, &edge.with("consecutive", "3_or_more"), 1)
    })?;
    hole.clear()?;
    held.finish().map(drop)
}

/// A firewall has forgotten an idle connection, and the path of one that is in use goes away at the same time: the first
/// timeouts of both count, and only that of the first as one after a long idle time.
pub(super) fn forgotten(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _servers = [
        server.serve(server.at(8080), &["--mode", "echo"])?,
        server.serve(server.at(8081), &["--mode", "echo"])?,
    ];
    let (mut idle, mut used) = (client.hold(server.at(8080), &[])?, client.hold(server.at(8081), &[])?);
    idle.run_command("echo 100")?;
    used.run_command("echo 100")?;
    // `LONG_IDLE` of agent-common, and a second.
    thread::sleep(Duration::from_secs(31));
    used.run_command("echo 100")?;
    let gone = Fault::on_path(&net, &client, &["tcp dport { 8080, 8081 } drop"])?;
    idle.run_command("send 100")?;
    used.run_command("send 100")?;
    let [idle_edge, used_edge] = [8080, 8081].map(|port| Edge::at_client(&client, server.v4, port));
    agent.until("each path is dead, and one connection was idle before", |metrics| {
        for (edge, after_idle) in [(&idle_edge, 1), (&used_edge, 0)] {
            metrics.expect_at_least(TIMEOUTS, &edge.with("consecutive", "3_or_more"), 1)?;
            metrics.expect(TIMEOUTS, &edge.with("consecutive", "1"), 1)?;
            metrics.expect(AFTER_IDLE, edge, after_idle)?;
        }
        Ok(())
    })?;
    gone.clear()?;
    idle.finish()?;
    used.finish().map(drop)
}

/// One of several paths to a server is dead: of the connections that sweeps find used, one always retransmits and the others
/// never.
pub(super) fn one_connection(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let mut bad = client.hold(server.at(8080), &["--bind-port", "7999"])?;
    bad.run_command("echo 100")?;
    let dead = Fault::on_path(&net, &client, &["tcp sport 7999 tcp dport 8080 drop"])?;
    let mut good = client.hold(server.at(8080), &["--count", "5"])?;
    let edge = Edge::at_client(&client, server.v4, 8080);
    bad.run_command("send 100")?;
    for turn in 1..=3 {
        good.run_command("echo 100")?;
        agent.until("used connections are told apart", |metrics| {
            metrics.expect_at_least(USED, &edge.with("retransmitted", "true"), turn)?;
            metrics.expect_at_least(USED, &edge.with("retransmitted", "false"), 5 * turn)
        })?;
    }
    dead.clear()?;
    bad.finish()?;
    good.finish().map(drop)
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
