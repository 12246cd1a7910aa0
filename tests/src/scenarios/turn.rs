//! Whose turn it is: what open connections wait for.

pub(super) mod servers;

use anyhow::{Result, ensure};

use crate::lab::{
    agent::{Agent, Options},
    crossed::Ends,
    faults::Fault,
    metrics::{Edge, Metrics},
    topology::Net,
};

const WAITING: &str = "netcause_tcp_waiting_connections";
const WAITED: &str = "netcause_tcp_waited_seconds_total";
const RESPONSES: &str = "netcause_tcp_response_duration_seconds";

/// Longer than any scenario.
const FOREVER: &str = "600000";

fn agent(name: &str) -> Result<Agent> {
    let args = ["--sweep-interval-seconds", "1", "--sweep-cpu-percent", "100"];
    Agent::start(name, "agent", &Options { args: &args, without_dns: true, ..Options::default() })
}

/// All connections of an edge wait for this.
fn expect(metrics: &Metrics, edge: &Edge, on: &str, connections: u64) -> Result<()> {
    metrics.expect(WAITING, &edge.with("on", on), connections)?;
    metrics.expect(WAITING, edge, connections)
}

/// Each state, made by what really causes it, seen at both ends at once.
pub(super) fn whose(name: &str) -> Result<()> {
    let (net, client, server) = Net::pair(name)?;
    let _thinks =
        server.serve(server.at(8080), &["--mode", "echo", "--quick", "1", "--think-ms", FOREVER])?;
    let _kept = server.serve(server.at(8081), &["--mode", "echo"])?;
    let _deaf = server.serve(server.at(8082), &["--mode", "never-read"])?;
    let _far = server.serve(server.at(8083), &["--mode", "echo"])?;
    let _pushes = server.serve(server.at(8084), &["--mode", "push", "--think-ms", "1500"])?;
    let _sink = server.serve(server.at(8085), &["--mode", "sink"])?;
    let answers = server.serve(server.at(8086), &["--mode", "echo"])?;
    let agent = agent(name)?;

    let mut asks = client.hold(server.at(8080), &["--count", "2"])?;
    asks.run_command("echo 64")?;
    asks.run_command("send 64")?;
    let mut keeps = client.hold(server.at(8081), &["--count", "3"])?;
    keeps.run_command("echo 64")?;
    let _blocked = client.start_client(server.at(8082), &["--send", "50000000"])?;
    let mut lost = client.hold(server.at(8083), &[])?;
    lost.run_command("echo 64")?;
    let _fault = Fault::on_path(&net, &client, &["tcp dport 8083 drop"])?;
    lost.run_command("send 64")?;
    let _listens = client.start_client(server.at(8084), &["--send", "64", "--receive", "1000000"])?;
    let mut logs = client.hold(server.at(8085), &[])?;
    logs.run_command("send 64")?;
    // Answered on a connection that has ended, which no sweep has seen; then the client ends its side and waits.
    client.connect(server.at(8086), &["--send", "64", "--receive", "64"])?;
    answers.finish()?;
    let _silent = server.serve(server.at(8086), &["--mode", "answer"])?;
    let mut half = client.hold(server.at(8086), &[])?;
    half.run_command("send 64")?;
    half.run_command("end")?;

    let ends = |port| Ends::v4(&client, &server, port);
    agent.until("each connection waits for what holds it up", |metrics| {
        for (port, at_client, at_server, connections) in [
            (8080, "peer_application", "local_application", 2),
            (8081, "idle", "idle", 3),
            (8082, "peer_window", "local_reader", 1),
            // The server has answered all that it knows of.
            (8083, "network", "idle", 1),
            (8084, "idle", "idle", 1),
            // Never answered: perhaps it never will be.
            (8085, "unknown", "unknown", 1),
            (8086, "peer_application", "local_application", 1),
        ] {
            let [source, destination] = ends(port).both().map(Clone::clone);
            expect(metrics, &source, at_client, connections)?;
            expect(metrics, &destination, at_server, connections)?;
        }
        Ok(())
    })?;
    // What a sweep adds now: one before may have met a request that its server was about to answer.
    let before = agent.scrape()?;
    agent.sweep_again()?;
    let after = agent.scrape()?;
    let added = |metric: &str, edge: &Edge| after.on(metric, edge) - before.on(metric, edge);
    let ages = |what, port| {
        ends(port).both().map(|edge| added(&format!("netcause_tcp_{what}_age_seconds_count"), edge))
    };
    let network = [8080, 8082, 8083].map(|port| ages("unacknowledged", port)[0] >= 1.0);
    ensure!(network == [false, false, true], "ages of what the network owes: {network:?}");
    for port in [8080, 8086] {
        ensure!(ages("unanswered", port).iter().all(|count| *count >= 1.0), "ages of what servers owe");
    }
    for port in [8081, 8082, 8083, 8084, 8085] {
        ensure!(ages("unanswered", port) == [0.0; 2], "servers owe nothing at {port}");
    }
    let waited = added(WAITED, &ends(8080).both()[0].with("on", "peer_application"));
    ensure!(waited > 0.0, "clients waited {waited} s more");
    for on in ["peer_application", "network", "local_application"] {
        for edge in ends(8084).both() {
            ensure!(after.on(WAITED, &edge.with("on", on)) == 0.0, "pushes look like {on}");
        }
    }
    Ok(())
}

/// Responses take as long as the server thinks, at both ends, and connections kept alive between them are idle.
pub(super) fn responses(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _server = server.serve(server.at(8080), &["--mode", "echo", "--think-ms", "300"])?;
    let agent = agent(name)?;
    let mut held = client.hold(server.at(8080), &["--count", "2"])?;
    let ends = Ends::v4(&client, &server, 8080);
    for asked in 1..=2 {
        held.run_command("echo 64")?;
        agent.until("the responses are observed", |metrics| {
            for edge in ends.both() {
                expect(metrics, edge, "idle", 2)?;
                // The last one of each connection before a sweep.
                metrics.expect_at_least(&format!("{RESPONSES}_count"), edge, 2 * asked)?;
            }
            Ok(())
        })?;
    }
    agent.sweep_again()?;
    let metrics = agent.scrape()?;
    for edge in ends.both() {
        let count = metrics.on(&format!("{RESPONSES}_count"), edge);
        let mean = metrics.on(&format!("{RESPONSES}_sum"), edge) / count;
        ensure!(count == 4.0, "{count} responses instead of 4: {edge:?}");
        // Two ticks of the slowest kernel; a busy machine makes them longer.
        ensure!(mean >= 0.28, "{mean} s instead of 0.3 s: {edge:?}");
        ensure!(
            metrics.on(&format!("{RESPONSES}_bucket"), &edge.with("le", "0.25")) == 0.0,
            "shorter: {edge:?}"
        );
    }
    Ok(())
}
