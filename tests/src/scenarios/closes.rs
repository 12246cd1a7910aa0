//! How connections end, at the end that the edge is of.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{CLOSED, Edge, OPENED, RESETS_SENT},
    topology::Net,
};

/// A connection that ends in order, one whose data is never acknowledged and an idle one whose keep-alive probes are not
/// answered are told apart. (Resets: `resets.rs`.)
pub(super) fn reasons(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    client.sysctl(&[
        "net/ipv4/tcp_retries2=2",
        "net/ipv4/tcp_keepalive_time=1",
        "net/ipv4/tcp_keepalive_intvl=1",
        "net/ipv4/tcp_keepalive_probes=2",
    ])?;
    let echo = |port| server.serve(server.at(port), &["--mode", "echo"]);
    let _servers = [echo(8080)?, echo(8081)?, echo(8082)?];
    let outcome = client.connect(server.at(8082), &["--count", "3", "--send", "100", "--receive", "100"])?;
    ensure!(outcome.count("connected") == 3, "{outcome:?}");
    let mut busy = client.hold(server.at(8080), &["--count", "2"])?;
    let idle = client.hold(server.at(8081), &["--count", "4", "--keepalive"])?;
    let _gone = Fault::on_path(&net, &client, &["tcp dport { 8080, 8081 } drop"])?;
    busy.run_command("send 1000")?;
    agent.until("each connection has the reason of its end", |metrics| {
        for (port, count, reason) in [(8080, 2, "timed_out"), (8081, 4, "keepalive"), (8082, 3, "fin")] {
            let edge = Edge::at_client(&client, server.v4, port);
            metrics.expect(OPENED, &edge, count)?;
            metrics.expect(CLOSED, &edge, count)?;
            metrics.expect(CLOSED, &edge.with("reason", reason), count)?;
        }
        // The kernel resets a connection whose keep-alive probes are not answered.
        let probed = Edge::at_client(&client, server.v4, 8081);
        metrics.expect(RESETS_SENT, &probed, 4)?;
        metrics.expect(RESETS_SENT, &probed.with("reason", "timed_out"), 4)?;
        let accepted = Edge::at_server(&server, client.v4, 8082);
        metrics.expect(CLOSED, &accepted, 3)?;
        metrics.expect(CLOSED, &accepted.with("reason", "fin"), 3)
    })?;
    busy.finish()?;
    idle.finish().map(drop)
}
