//! Resets, by the end that sent them.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{CLOSED, Edge, FAILURES, Metrics, OPENED, RESETS},
    topology::{Net, Pod},
};

/// `count` connections opened and closed at both ends, each by one reset of the sender to the receiver.
fn expect_resets(metrics: &Metrics, sender: &Edge, receiver: &Edge, count: u64) -> Result<()> {
    for edge in [sender, receiver] {
        metrics.expect(OPENED, edge, count)?;
        metrics.expect(CLOSED, edge, count)?;
        metrics.expect(FAILURES, edge, 0)?;
        metrics.expect(RESETS, edge, count)?;
    }
    metrics.expect(RESETS, &sender.with("direction", "sent"), count)?;
    metrics.expect(RESETS, &receiver.with("direction", "received"), count)
}

fn ends(client: &Pod, server: &Pod) -> (Edge, Edge) {
    (Edge::at_client(client, server.v4, 8080), Edge::at_server(server, client.v4, 8080))
}

/// Connections that the client closes with a reset count one reset sent by the client and one received by the server.
pub(super) fn by_client(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let outcome = client
        .connect(server.at(8080), &["--count", "5", "--send", "100", "--receive", "100", "--end", "reset"])?;
    ensure!(outcome.count("connected") == 5, "{outcome:?}");
    let (source, destination) = ends(&client, &server);
    agent.until("the client sent the resets", |metrics| {
        expect_resets(metrics, &source, &destination, 5)?;
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
        expect_resets(metrics, &destination, &source, 5)?;
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
        expect_resets(metrics, &destination, &source, 5)?;
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
        expect_resets(metrics, &destination, &source, 3)
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
