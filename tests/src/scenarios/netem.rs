//! Delay and reordering, where the kernel has `netem`.

use anyhow::{Result, ensure};

use super::quality::{REORDERED, REORDERING, reordering_events};
use crate::lab::{
    agent,
    metrics::{CONNECT_DURATION, Edge, RETRANSMITTED, float},
    scaled,
    topology::Net,
};

/// A delay shows in the duration of connects, and a loss beside it in the retransmissions.
pub(super) fn delay(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    client.queue("netem delay 120ms loss 10%")?;
    let mut connected = 0;
    for _ in 0..20 {
        let outcome =
            client.connect(server.at(8080), &["--count", "5", "--parallel", "5", "--send", "100000"])?;
        ensure!(outcome.count("connected") == 5, "{outcome:?}");
        connected += 5;
        if client.retransmitted()? > 0 {
            break;
        }
    }
    client.wait_quiet()?;
    server.wait_quiet()?;
    let edge = Edge::at_client(&client, server.v4, 8080);
    agent.until("no connect was quicker than the delay", |metrics| {
        metrics.expect(&format!("{CONNECT_DURATION}_count"), &edge, connected)?;
        let sum = metrics.on(&format!("{CONNECT_DURATION}_sum"), &edge);
        ensure!(
            sum >= 0.12 * float(connected),
            "{connected} connects took {sum} s together, with 0.12 s of delay each"
        );
        let bucket = format!("{CONNECT_DURATION}_bucket");
        for sample in metrics.samples.iter().filter(|sample| *sample.name == *bucket) {
            let below =
                sample.labels.get("le").and_then(|le| le.parse::<f64>().ok()).is_some_and(|le| le < 0.12);
            let ours = sample.labels.get("source_workload").is_some_and(|name| name == client.workload());
            ensure!(!below || !ours || sample.value == 0.0, "a connect below the delay: {sample:?}");
        }
        metrics.expect_at_least(RETRANSMITTED, &edge, 1)?;
        metrics.expect_kernel_retransmits(&client)?;
        metrics.expect_kernel_retransmits(&server)
    })
}

/// Reordering without loss causes no retransmission of kind `timeout` beyond the timeouts of the kernel, and the sender learns of it as
/// often as the kernel says.
pub(super) fn reordering(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    client.set_min_rto(&server, "20s")?;
    // The kernel counts packets out of order, the agent segments: one segment in each makes them the same.
    client.run("ip", &["link", "set", "dev", "eth0", "gso_max_segs", "1"], "")?;
    client.queue("netem delay 10ms reorder 25% 50%")?;
    let bytes = scaled("2000000", "500000");
    let outcome = client.connect(server.at(8080), &["--count", "2", "--send", bytes])?;
    ensure!(outcome.count("broken") == 0, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    let edge = Edge::at_client(&client, server.v4, 8080);
    let overtaken = server.counter("TcpExt", "TCPOFOQueue")?;
    ensure!(overtaken > 0, "nothing arrived out of order");
    // None, unless a slow receiver dropped what it had acknowledged selectively: `tcp_check_sack_reneging()` then times
    // out after half a round trip, whatever the shortest timeout is.
    let timeouts = client.counter("TcpExt", "TCPTimeouts")?;
    let learned = reordering_events(&client)?;
    ensure!(learned > 0, "the sender did not notice");
    agent.until("reordering is no timeout", |metrics| {
        metrics.expect_between(RETRANSMITTED, &edge.with("kind", "timeout"), 0.0, float(timeouts))?;
        metrics.expect_amount(REORDERED, &Edge::at_server(&server, client.v4, 8080), overtaken, overtaken)?;
        metrics.expect_amount(REORDERING, &edge, learned, learned)?;
        metrics.expect_kernel_retransmits(&client)
    })
}
