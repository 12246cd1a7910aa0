//! Connects that fail, by reason, and connects that only appear to fail.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{CLOSED, Edge, FAILURES, OPENED, RESETS, RETRANSMITTED},
    scaled,
    topology::Net,
};

pub(super) mod unsent;

/// A connect to a port without a listener counts as one failure of reason `refused`, with the reset that the client
/// received.
pub(super) fn refused(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let outcome = client.connect(server.at(8080), &["--count", "3"])?;
    ensure!(outcome.failed("ECONNREFUSED") == 3, "{outcome:?}");
    let outcome = client.connect(server.at_v6(8080), &["--count", "2", "--nonblocking"])?;
    ensure!(outcome.failed("ECONNREFUSED") == 2, "{outcome:?}");

    agent.until("each refusal is counted once", |metrics| {
        for (edge, count) in
            [(Edge::at_client(&client, server.v4, 8080), 3), (Edge::at_client(&client, server.v6, 8080), 2)]
        {
            metrics.expect(FAILURES, &edge.with("reason", "refused"), count)?;
            metrics.expect(FAILURES, &edge, count)?;
            metrics.expect(RESETS, &edge.with("direction", "received"), count)?;
            metrics.expect(RESETS, &edge, count)?;
            metrics.expect(OPENED, &edge, 0)?;
            metrics.expect(CLOSED, &edge, 0)?;
        }
        // A closed port has no socket: the resets it sent are the namespace's.
        metrics.expect_kernel_resets(&server)
    })
}

/// A connect that an ICMP "host unreachable" answers counts as a failure of reason `unreachable`.
pub(super) fn unreachable(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _fault = Fault::on_input(
        &server,
        &[
            "meta nfproto ipv4 tcp dport 8080 reject with icmp type host-unreachable",
            "meta nfproto ipv6 tcp dport 8080 reject with icmpv6 type addr-unreachable",
        ],
    )?;
    let v4 = client.connect(server.at(8080), &["--count", "2"])?;
    ensure!(v4.failed("EHOSTUNREACH") == 2, "{v4:?}");
    let v6 = client.connect(server.at_v6(8080), &["--count", "2"])?;
    ensure!(v6.failed("EHOSTUNREACH") == 2, "{v6:?}");
    agent.until("unreachable hosts are counted", |metrics| {
        for edge in [Edge::at_client(&client, server.v4, 8080), Edge::at_client(&client, server.v6, 8080)] {
            metrics.expect(FAILURES, &edge.with("reason", "unreachable"), 2)?;
            metrics.expect(FAILURES, &edge, 2)?;
            metrics.expect(OPENED, &edge, 0)?;
        }
        Ok(())
    })
}

/// Connects that an ICMP message rejects while connect(2) still runs count by what `SO_ERROR` says, although that read takes
/// the error from the socket before it is closed.
pub(super) fn rejected(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let reject = |v4: &str, v6: &str, port: u16| {
        [
            format!("meta nfproto ipv4 tcp dport {port} reject with icmp type {v4}-unreachable"),
            format!("meta nfproto ipv6 tcp dport {port} reject with icmpv6 type {v6}-unreachable"),
        ]
    };
    let there = [reject("port", "port", 8080), reject("host", "addr", 8081)].concat();
    let here = [reject("port", "port", 8082), reject("host", "addr", 8083)].concat();
    let _there = Fault::on_input(&server, &there.iter().map(String::as_str).collect::<Vec<_>>())?;
    let _here = Fault::on_output(&client, &here.iter().map(String::as_str).collect::<Vec<_>>())?;
    let all = [
        (8080, "ECONNREFUSED", "refused"),
        (8081, "EHOSTUNREACH", "unreachable"),
        (8082, "ECONNREFUSED", "refused"),
        (8083, "EHOSTUNREACH", "unreachable"),
    ];
    for (port, errno, _) in all {
        let v4 = client.connect(server.at(port), &["--count", "8", "--nonblocking"])?;
        ensure!(v4.failed(errno) == 8, "port {port}: {v4:?}");
        let v6 = client.connect(server.at_v6(port), &["--count", "2", "--parallel", "2", "--nonblocking"])?;
        ensure!(v6.failed(errno) == 2, "port {port}: {v6:?}");
    }
    // A socket's earlier attempt is not this one: its message is still queued.
    let _blackhole = Fault::on_output(&server, &["tcp sport 8084 drop"])?;
    let again =
        client.connect(server.at(8080), &["--count", "3", "--nonblocking", "--then-abort", "8084"])?;
    ensure!(again.failed("aborted") == 3, "{again:?}");
    agent.until("each is counted by the error that the application got", |metrics| {
        for (port, _, reason) in all {
            let v4 = if port == 8080 { 11 } else { 8 };
            for (edge, count) in [
                (Edge::at_client(&client, server.v4, port), v4),
                (Edge::at_client(&client, server.v6, port), 2),
            ] {
                metrics.expect(FAILURES, &edge.with("reason", reason), count)?;
                metrics.expect(FAILURES, &edge, count)?;
                metrics.expect(OPENED, &edge, 0)?;
            }
        }
        let edge = Edge::at_client(&client, server.v4, 8084);
        metrics.expect(FAILURES, &edge.with("reason", "aborted"), 3)?;
        metrics.expect(FAILURES, &edge, 3)
    })
}

/// A connect whose SYNs are all dropped counts as a failure of reason `timed_out`, and every repeated SYN as a
/// retransmission.
pub(super) fn blackhole(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _fault = Fault::on_path(&net, &client, &["tcp dport 8080 drop"])?;
    client.sysctl(&["net/ipv4/tcp_syn_retries=1", "?net/ipv4/tcp_syn_linear_timeouts=0"])?;
    let outcome = client.connect(server.at(8080), &["--count", "3", "--parallel", "3"])?;
    ensure!(outcome.failed("ETIMEDOUT") == 3, "{outcome:?}");
    let repeated = client.retransmitted()?;
    ensure!(repeated == 3, "one repeated SYN each, not {repeated} in all");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("unanswered SYNs count as timeouts", |metrics| {
        metrics.expect(FAILURES, &edge.with("reason", "timed_out"), 3)?;
        metrics.expect(FAILURES, &edge, 3)?;
        metrics.expect(RETRANSMITTED, &edge.with("kind", "syn"), 3)?;
        metrics.expect(OPENED, &edge, 0)?;
        metrics.expect_kernel_retransmits(&client)
    })
}

/// A connect that the application gives up after a repeated SYN, before the kernel does, counts as `timed_out` too.
pub(super) fn gave_up(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _fault = Fault::on_path(&net, &client, &["tcp dport 8080 drop"])?;
    let limit = scaled("1500", "2500");
    let outcome = client
        .connect(server.at(8080), &["--count", "2", "--parallel", "2", "--connect-timeout-ms", limit])?;
    ensure!(outcome.failed("gave_up") == 2, "{outcome:?}");
    ensure!(client.retransmitted()? >= 2, "a SYN is repeated after a second");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("a connect given up counts as a timeout", |metrics| {
        metrics.expect(FAILURES, &edge.with("reason", "timed_out"), 2)?;
        metrics.expect(FAILURES, &edge, 2)?;
        metrics.expect_kernel_retransmits(&client)
    })
}

/// A connect that the application closes before any answer or repeated SYN counts as `aborted`, not as a timeout.
pub(super) fn aborted(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _fault = Fault::on_path(&net, &client, &["tcp dport 8080 drop"])?;
    let outcome = client.connect(server.at(8080), &["--count", "4", "--abort"])?;
    ensure!(outcome.failed("aborted") == 4, "{outcome:?}");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("an abort does not count as a timeout", |metrics| {
        metrics.expect(FAILURES, &edge.with("reason", "aborted"), 4)?;
        metrics.expect(FAILURES, &edge, 4)?;
        metrics.expect(RETRANSMITTED, &edge, 0)
    })
}

/// Connects that fail because all local ports to one server are in use count as `no_local_port`.
pub(super) fn no_local_port(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    client.sysctl(&["net/ipv4/ip_local_port_range=40000 40003"])?;
    let held = client.hold(server.at(8080), &["--count", "7"])?;
    let outcome = held.finish()?;
    ensure!((outcome.count("connected"), outcome.failed("EADDRNOTAVAIL")) == (4, 3), "{outcome:?}");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("exhausted ports are counted", |metrics| {
        metrics.expect(FAILURES, &edge.with("reason", "no_local_port"), 3)?;
        metrics.expect(FAILURES, &edge, 3)?;
        metrics.expect(OPENED, &edge, 4)?;
        metrics.expect(CLOSED, &edge, 4)
    })
}

/// Connects that fail because another socket has the same source port and the same target count as `no_local_port`: no SYN
/// is sent.
pub(super) fn taken_port(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve("[::]:8080".parse()?, &["--ports", "2"])?;
    for to in [server.at(8080), server.at_v6(8081)] {
        let held = client.hold(to, &["--bind-port", "45000"])?;
        let syns = client.counter("Tcp", "ActiveOpens")?;
        let outcome = client.connect(to, &["--bind-port", "45000", "--count", "7", "--nonblocking"])?;
        ensure!(outcome.failed("EADDRNOTAVAIL") == 7, "{outcome:?}");
        ensure!(client.counter("Tcp", "ActiveOpens")? == syns, "a SYN was sent");
        held.finish()?;
        let edge = Edge::at_client(&client, to.ip(), to.port());
        agent.until("no attempt is called aborted", |metrics| {
            metrics.expect(FAILURES, &edge.with("reason", "no_local_port"), 7)?;
            metrics.expect(FAILURES, &edge, 7)?;
            metrics.expect(OPENED, &edge, 1)
        })?;
    }
    Ok(())
}

/// A non-blocking connect, which first returns EINPROGRESS and succeeds later, is not a failure.
pub(super) fn nonblocking(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    let outcome = client
        .connect(server.at(8080), &["--count", "200", "--parallel", "4", "--nonblocking", "--send", "10"])?;
    ensure!(outcome.count("connected") == 200, "{outcome:?}");
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("no failure is counted", |metrics| {
        metrics.expect(OPENED, &edge, 200)?;
        metrics.expect(CLOSED, &edge, 200)?;
        metrics.expect(FAILURES, &edge, 0)?;
        metrics.expect_durations(&edge, 200)
    })
}
