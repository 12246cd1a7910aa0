//! Resets, by the end that sent them.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{self, Agent, Options},
    faults::Fault,
    kernel_is_before,
    metrics::{CLOSED, Edge, FAILURES, Metrics, OPENED, RESETS, RESETS_SENT, RETRANSMITTED, netns_workload},
    scaled,
    topology::{Net, Pod},
};

/// `count` connections opened and closed at both ends, each by one reset of the sender to the receiver, for this reason.
fn expect_resets(metrics: &Metrics, sender: &Edge, receiver: &Edge, count: u64, reason: &str) -> Result<()> {
    for edge in [sender, receiver] {
        metrics.expect(OPENED, edge, count)?;
        metrics.expect(CLOSED, edge, count)?;
        metrics.expect(FAILURES, edge, 0)?;
        metrics.expect(RESETS, edge, count)?;
    }
    metrics.expect(CLOSED, &sender.with("reason", "reset_sent"), count)?;
    metrics.expect(CLOSED, &receiver.with("reason", "reset_received"), count)?;
    metrics.expect(RESETS, &sender.with("direction", "sent"), count)?;
    metrics.expect(RESETS_SENT, sender, count)?;
    metrics.expect(RESETS_SENT, &sender.with("reason", reason), count)?;
    metrics.expect(RESETS_SENT, receiver, 0)?;
    metrics.expect(RESETS, &receiver.with("direction", "received"), count)
}

fn ends(client: &Pod, server: &Pod) -> (Edge, Edge) {
    (Edge::at_client(client, server.v4, 8080), Edge::at_server(server, client.v4, 8080))
}

/// Connections that the client closes with a reset count one reset sent by the client and one received by the server, by why:
/// it did not linger, or has not read all.
pub(super) fn by_client(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let outcome = client
        .connect(server.at(8080), &["--count", "5", "--send", "100", "--receive", "100", "--end", "reset"])?;
    ensure!(outcome.count("connected") == 5, "{outcome:?}");
    let _source = server.serve(server.at(8081), &["--mode", "source", "--bytes", "1000"])?;
    let outcome =
        client.connect(server.at(8081), &["--count", "4", "--dwell-ms", "500", "--end", "abrupt"])?;
    ensure!(outcome.count("connected") == 4, "{outcome:?}");
    let (source, destination) = ends(&client, &server);
    let unread = (Edge::at_client(&client, server.v4, 8081), Edge::at_server(&server, client.v4, 8081));
    agent.until("the client sent the resets", |metrics| {
        expect_resets(metrics, &source, &destination, 5, "aborted")?;
        expect_resets(metrics, &unread.0, &unread.1, 4, "unread_data")?;
        metrics.expect_kernel_resets(&client)
    })
}

/// Connections that the server resets on accept count one reset sent by the server and one received by the client.
pub(super) fn by_server(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _reset = server.serve(server.at(8080), &["--mode", "reset"])?;
    let outcome = client.connect(server.at(8080), &["--count", "5", "--receive", "1"])?;
    // A reset that comes before the client has seen its connect succeed is an error of its connect(2), though not a
    // failure to connect.
    ensure!(outcome.count("broken") + outcome.failed("ECONNRESET") == 5, "{outcome:?}");
    let (source, destination) = ends(&client, &server);
    agent.until("the server sent the resets", |metrics| {
        expect_resets(metrics, &destination, &source, 5, "aborted")?;
        metrics.expect_kernel_resets(&server)
    })
}

/// Resets that the server sends after it has read count the same way over IPv6.
pub(super) fn after_read(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _reset = server.serve(server.at_v6(8080), &["--mode", "reset-after-read"])?;
    let outcome = client.connect(server.at_v6(8080), &["--count", "5", "--send", "100", "--receive", "1"])?;
    ensure!(outcome.count("broken") == 5, "{outcome:?}");
    let (source, destination) =
        (Edge::at_client(&client, server.v6, 8080), Edge::at_server(&server, client.v6, 8080));
    agent.until("the server sent the resets", |metrics| {
        expect_resets(metrics, &destination, &source, 5, "aborted")?;
        metrics.expect_kernel_resets(&server)
    })
}

/// Connections that the server never accepted count as opened, and as reset by the server when its process ends.
pub(super) fn never_accepted(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let deaf = server.serve(server.at(8080), &["--mode", "never-accept"])?;
    let held = client.hold(server.at(8080), &["--count", "3"])?;
    let (source, destination) = ends(&client, &server);
    agent.until("the connections are open, accepted or not", |metrics| {
        for edge in [&source, &destination] {
            metrics.expect(OPENED, edge, 3)?;
            metrics.expect(CLOSED, edge, 0)?;
        }
        Ok(())
    })?;
    deaf.finish()?;
    agent.until("the server's end sent the resets", |metrics| {
        expect_resets(metrics, &destination, &source, 3, "aborted")
    })?;
    held.finish().map(drop)
}

/// Resets that a firewall sends in the server's name count as received by the client, and as sent by no connection of
/// the server.
pub(super) fn by_firewall(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let mut held = client.hold(server.at(8080), &["--count", "2"])?;
    held.run_command("echo 100")?;
    let _fault = Fault::on_input(&server, &["tcp dport 8080 reject with tcp reset"])?;
    let refused = client.connect(server.at(8080), &["--count", "3"])?;
    ensure!(refused.failed("ECONNREFUSED") == 3, "{refused:?}");
    held.finish()?;
    let (source, destination) = ends(&client, &server);
    agent.until("open connections are reset, new ones refused", |metrics| {
        metrics.expect(OPENED, &source, 2)?;
        metrics.expect(CLOSED, &source, 2)?;
        metrics.expect(FAILURES, &source.with("reason", "refused"), 3)?;
        metrics.expect(FAILURES, &source, 3)?;
        metrics.expect(RESETS, &source.with("direction", "received"), 5)?;
        metrics.expect(RESETS, &source.with("direction", "sent"), 0)?;
        metrics.expect(RESETS, &destination, 0)
    })
}

/// Data that a server sends to a client that has shut down both directions is refused with a reset: the client sent it,
/// received none, and keeps its socket.
pub(super) fn shut_down(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let answer = server.serve(server.at(8080), &["--mode", "answer", "--bytes", "3001"])?;
    let mut held = client.hold(server.at(8080), &["--count", "5"])?;
    held.run_command("end-both")?;
    let (source, destination) = ends(&client, &server);
    agent.until("the client sent the resets and received none", |metrics| {
        for edge in [&source, &destination] {
            metrics.expect(OPENED, edge, 5)?;
            metrics.expect(RESETS, edge, 5)?;
        }
        metrics.expect(RESETS, &source.with("direction", "sent"), 5)?;
        metrics.expect(RESETS_SENT, &source.with("reason", "data_after_close"), 5)?;
        metrics.expect(RESETS_SENT, &source, 5)?;
        metrics.expect(RESETS, &destination.with("direction", "received"), 5)?;
        for (edge, reason) in [(&source, "reset_sent"), (&destination, "reset_received")] {
            metrics.expect(CLOSED, edge, 5)?;
            metrics.expect(CLOSED, &edge.with("reason", reason), 5)?;
        }
        metrics.expect_kernel_resets(&client)
    })?;
    held.finish()?;
    answer.finish().map(drop)
}

/// Resets that answer segments which come too late for the client's socket count on the edge of its connection, and make no
/// other edge.
pub(super) fn too_late(name: &str) -> Result<()> {
    const COUNT: u64 = 60;
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _answer = server.serve(server.at(8080), &["--mode", "answer", "--bytes", "3001"])?;
    let (source, destination) = ends(&client, &server);
    let args = ["--count", "60", "--end", "abrupt"];
    let outcome = client.connect(server.at(8080), &args)?;
    ensure!(outcome.count("connected") == COUNT, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    // A SYN-ACK that is lost comes again, when the client has closed its socket.
    let rule = "tcp sport 8080 tcp flags & (syn|ack) == syn|ack drop";
    let lost = Fault::on_path(&net, &server, &[rule])?;
    let args = ["--count", "20", "--connect-timeout-ms", "50", "--end", "abrupt"];
    let gave_up = client.connect(server.at(8080), &args)?;
    ensure!(gave_up.failed("gave_up") == 20, "{gave_up:?}");
    lost.clear()?;
    client.wait_outgoing_resets(80)?;
    agent.until("late segments are of the edge that they belong to", |metrics| {
        metrics.expect(OPENED, &source, COUNT)?;
        metrics.expect_kernel_resets(&client)?;
        metrics.expect_kernel_resets(&server)?;
        metrics.expect_kernel_retransmits(&server)?;
        let sent = metrics.on(RESETS, &source.with("direction", "sent"));
        let by_reason = ["data_after_close", "no_socket", "unread_data"]
            .map(|reason| metrics.on(RESETS_SENT, &source.with("reason", reason)));
        ensure!(by_reason.iter().sum::<f64>() == sent, "{sent} resets sent, {by_reason:?} by reason");
        // Older kernels do not report resets without a socket.
        if !kernel_is_before(6, 8) {
            metrics.expect(RESETS, &source.with("direction", "sent"), client.counter("Tcp", "OutRsts")?)?;
        }
        let strange = metrics.list(|sample| {
            let is_at = |pod: &Pod| {
                sample.labels.values().any(|value| {
                    value == pod.workload() || Some(value) == netns_workload(pod).ok().as_deref()
                })
            };
            (is_at(&client) || is_at(&server))
                && sample.labels.get("reporter").is_some()
                && !source.matches(sample)
                && !destination.matches(sample)
        });
        ensure!(strange.is_empty(), "edges of no connection:\n{strange}");
        Ok(())
    })
}

/// Floods and scans from forged addresses leave the flow table as small as the number of real peers; every reset and every
/// repeated SYN-ACK is counted all the same, and the edge of a real client is exact.
pub(super) fn hostile(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    // Answers go back where the forged segments come from, and are dropped there.
    let back = format!("route add 10.128.0.0/9 via {}\n", client.v4);
    server.run("ip", &["-batch", "-"], &back)?;
    let no_filter = ["net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/eth0/rp_filter=0"];
    server.sysctl(&no_filter)?;
    client.sysctl(&[
        "net/ipv4/conf/all/rp_filter=0",
        "net/ipv4/conf/eth0/rp_filter=0",
        "net/ipv4/ip_forward=0",
    ])?;
    server.sysctl(&["net/ipv4/tcp_synack_retries=2"])?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let agent = Agent::start(
        name,
        "agent",
        &Options { args: &["--sweep-interval-seconds", "1"], without_dns: true, ..Options::default() },
    )?;
    let each = scaled("200000", "4000");
    let real = client.start_client(
        server.at(8080),
        &["--count", "50", "--send", "10", "--receive", "10", "--interval-ms", "20"],
    )?;
    for (port, kind, scan) in [
        (8080, "syn", false),
        (8080, "ack", false),
        (8080, "syn", true),
        (8080, "ack", true),
        (8080, "syn-ack", true),
    ] {
        let args = ["--kind", kind, "--count", each, "--scan"];
        client.flood(server.at(port), if scan { &args } else { &args[..4] })?;
    }
    let outcome = real.finish()?;
    let connected = outcome.count("connected");
    ensure!(connected > 0, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    let (source, destination) = ends(&client, &server);
    agent.until("everything is counted, in few flows", |metrics| {
        for edge in [&source, &destination] {
            metrics.expect(OPENED, edge, connected)?;
        }
        metrics.expect_kernel_retransmits(&server)?;
        metrics.expect_kernel_resets(&server)?;
        // The forged addresses lie in a known network, so that each flow has an edge of its own.
        let edges = metrics.edges_at(&client)? + metrics.edges_at(&server)?;
        ensure!(edges <= 200, "{edges} edges of a million forged peers and one real one");
        Ok(())
    })?;
    let unknown = Edge::at_server(&server, "unknown", 8080);
    agent.until("repeated SYN-ACKs are the listener's", |metrics| {
        metrics.expect_at_least(RETRANSMITTED, &unknown.with("kind", "synack"), 1)
    })?;
    agent.stop(Signal::TERM)
}
