//! Packets lost on the way: retransmissions on the right edge, as many as the kernel counts.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{AFTER_IDLE, Edge, FULL_SIZE, OPENED, RESETS_SENT, RETRANSMITTED, TIMEOUTS, USED},
    scaled,
    topology::Net,
};

/// With loss on one of two paths of a client, all retransmitted segments are on that edge and none on the other.
pub(super) fn one_path(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, lossy, sound) = (net.pod("client")?, net.pod("lossy")?, net.pod("sound")?);
    // On a busy machine a healthy path may see a spurious retransmission: loss probes are off and the timeout is long.
    client.sysctl(&["net/ipv4/tcp_early_retrans=0"])?;
    client.set_min_rto(&sound, "20s")?;
    let _sinks = [lossy.serve(lossy.at(8080), &[])?, sound.serve(sound.at(8080), &[])?];
    let rule =
        format!("ip daddr {} tcp dport 8080 meta length > 200 numgen random mod 100 < 10 drop", lossy.v4);
    let _fault = Fault::on_path(&net, &client, &[&rule])?;
    let bytes = scaled("2000000", "500000");
    let mut transfers = 0;
    while client.retransmitted()? < 5 && transfers < 50 {
        let good = client.start_client(sound.at(8080), &["--send", bytes])?;
        let bad = client.connect(lossy.at(8080), &["--send", bytes])?;
        ensure!(bad.count("broken") == 0 && good.finish()?.count("broken") == 0, "{bad:?}");
        transfers += 1;
    }
    client.wait_quiet()?;
    let lost = client.retransmitted()?;
    ensure!(lost >= 5, "{transfers} transfers lost nothing");
    let (bad, good) = (Edge::at_client(&client, lossy.v4, 8080), Edge::at_client(&client, sound.v4, 8080));
    agent.until("the lossy edge has all the retransmits", |metrics| {
        metrics.expect(RETRANSMITTED, &bad, lost)?;
        metrics.expect(RETRANSMITTED, &good, 0)?;
        for name in [FULL_SIZE, TIMEOUTS, AFTER_IDLE, RESETS_SENT] {
            metrics.expect(name, &good, 0)?;
        }
        metrics.expect(USED, &good.with("retransmitted", "true"), 0)?;
        metrics.expect_at_least(FULL_SIZE, &bad, 1)?;
        metrics.expect(AFTER_IDLE, &bad, 0)?;
        metrics.expect(OPENED, &bad, transfers)?;
        metrics.expect(OPENED, &good, transfers)?;
        let repair = ["fast", "timeout", "slow_start"];
        let known: f64 = repair.iter().map(|kind| metrics.on(RETRANSMITTED, &bad.with("kind", kind))).sum();
        ensure!(known > 0.0, "no retransmit has a kind that repairs loss");
        metrics.expect(RETRANSMITTED, &bad.with("kind", "syn"), 0)
    })
}

/// With loss of any packet in both directions, the retransmitted segments equal the kernel's RetransSegs at both
/// ends.
pub(super) fn bulk(name: &str) -> Result<()> {
    both_directions(name, false)
}

/// Over IPv6, too, the retransmitted segments equal the kernel's RetransSegs at both ends.
pub(super) fn bulk_v6(name: &str) -> Result<()> {
    both_directions(name, true)
}

fn both_directions(name: &str, v6: bool) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let bytes = scaled("1000000", "200000");
    let at = |port| if v6 { server.at_v6(port) } else { server.at(port) };
    let _sink = server.serve(at(8080), &[])?;
    let _source = server.serve(at(8081), &["--mode", "source", "--bytes", bytes])?;
    let rule = "meta l4proto tcp numgen random mod 100 < 4 drop";
    let _faults = [Fault::on_path(&net, &client, &[rule])?, Fault::on_path(&net, &server, &[rule])?];
    let parallel = ["--count", "8", "--parallel", "4"];
    for _ in 0..20 {
        let up = client.start_client(at(8080), &[&parallel[..], &["--send", bytes]].concat())?;
        let down = client.connect(at(8081), &[&parallel[..], &["--receive", bytes]].concat())?;
        let up = up.finish()?;
        ensure!(up.count("broken") == 0 && down.count("broken") == 0, "{up:?} {down:?}");
        if client.retransmitted()? > 20 && server.retransmitted()? > 20 {
            break;
        }
    }
    client.wait_quiet()?;
    server.wait_quiet()?;
    let (to, from): (IpAddr, IpAddr) =
        if v6 { (server.v6.into(), client.v6.into()) } else { (server.v4.into(), client.v4.into()) };
    agent.until("the agent's sums equal the kernel's RetransSegs", |metrics| {
        metrics.expect_at_least(RETRANSMITTED, &Edge::at_client(&client, to, 8080), 1)?;
        metrics.expect_at_least(RETRANSMITTED, &Edge::at_server(&server, from, 8081), 1)?;
        metrics.expect_kernel_retransmits(&client)?;
        metrics.expect_kernel_retransmits(&server)
    })
}

/// Repeated SYN-ACKs count as retransmissions of the server's end, and repeated SYNs as those of the client's.
pub(super) fn synack(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    let rule = "tcp sport 8080 tcp flags & (syn|ack) == syn|ack numgen inc mod 1000000 < 4 drop";
    let _fault = Fault::on_path(&net, &server, &[rule])?;
    let outcome = client.connect(server.at(8080), &["--count", "3", "--parallel", "3", "--send", "10"])?;
    ensure!(outcome.count("connected") == 3, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    let (repeated, syns) = (server.counter("Tcp", "RetransSegs")?, client.retransmitted()?);
    ensure!(repeated >= 2, "four lost SYN-ACKs of three connections, {repeated} repeated");
    let (at_client, at_server) =
        (Edge::at_client(&client, server.v4, 8080), Edge::at_server(&server, client.v4, 8080));
    agent.until("repeated SYN-ACKs are the server's", |metrics| {
        metrics.expect(RETRANSMITTED, &at_server.with("kind", "synack"), repeated)?;
        metrics.expect(RETRANSMITTED, &at_client.with("kind", "syn"), syns)?;
        metrics.expect(OPENED, &at_client, 3)?;
        metrics.expect(OPENED, &at_server, 3)?;
        metrics.expect_kernel_retransmits(&client)?;
        metrics.expect_kernel_retransmits(&server)
    })
}
