//! Listening sockets: the length and the limit of their accept queues, and the connections dropped at a full queue.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::edges::json;
use crate::lab::{
    agent::{self, Agent},
    eventually,
    faults::Fault,
    metrics::{Edge, Metrics, float},
    topology::{Net, Pod},
};

const LENGTH: &str = "netcause_tcp_accept_queue_length";
const LIMIT: &str = "netcause_tcp_accept_queue_limit";
const OLDEST: &str = "netcause_tcp_accept_queue_oldest_seconds";
const REQUESTS: &str = "netcause_tcp_request_queue_length";
const DISCARDS: &str = "netcause_tcp_listener_discards_total";
const DROPS: &str = "netcause_tcp_listen_drops_total";
const RETRANSMITTED: &str = "netcause_tcp_retransmitted_segments_total";
const COOKIES: &str = "netcause_tcp_syn_cookies_sent_total";

/// The listeners of the pod have dropped what the kernel says, by reason.
pub(super) fn expect_drops(metrics: &Metrics, server: &Pod) -> Result<()> {
    let kernel = |name| server.counter("TcpExt", name);
    let (full, requests) = (kernel("ListenOverflows")?, kernel("TCPReqQFullDrop")?);
    let other = kernel("ListenDrops")? - full - requests;
    let found = |name, label: &[(&str, &str)]| {
        metrics.sum(name, &[&[("destination_workload", server.workload())], label].concat())
    };
    for (reason, right) in [("accept_queue_full", full), ("request_queue_full", requests), ("other", other)] {
        let drops = found(DROPS, &[("reason", reason)]);
        ensure!(drops == float(right), "{drops} drops because of {reason}, {right} by the kernel");
    }
    let (cookies, right) = (found(COOKIES, &[]), kernel("SyncookiesSent")?);
    ensure!(cookies == float(right), "{cookies} SYN cookies, {right} by the kernel");
    Ok(())
}

/// The length and the limit of accept queues (full, partly full and empty) and their drops are the kernel's.
pub(super) fn queues(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let deaf = |port: u16, backlog| {
        let listen = if port == 8081 { server.at_v6(port) } else { server.at(port) };
        server.serve(listen, &["--mode", "never-accept", "--backlog", backlog])
    };
    let servers = [deaf(8080, "4")?, deaf(8081, "2")?, deaf(8082, "7")?, deaf(8083, "9")?];
    let connected = Instant::now();
    // A queue takes one more than its limit.
    let held = [
        client.hold(server.at(8080), &["--count", "5"])?,
        client.hold(server.at_v6(8081), &["--count", "3"])?,
        client.hold(server.at(8082), &["--count", "3"])?,
    ];
    let give_up = ["--count", "3", "--parallel", "3", "--connect-timeout-ms", "300"];
    for to in [server.at(8080), server.at_v6(8081)] {
        let outcome = client.connect(to, &give_up)?;
        ensure!(outcome.failed("gave_up") == 3, "{outcome:?}");
    }
    let drops = |metrics: &Metrics| -> Result<()> {
        let kernel = server.counter("TcpExt", "ListenDrops")?;
        let by_port =
            [8080, 8081, 8082, 8083].map(|port| metrics.on(DISCARDS, &Edge::listener(&server, port)));
        let [v4, v6, rest @ ..] = by_port;
        ensure!(
            v4 >= 3.0 && v6 >= 3.0 && rest == [0.0, 0.0] && v4 + v6 == float(kernel),
            "the agent says {by_port:?} connections were dropped, the kernel {kernel} in all"
        );
        Ok(())
    };
    agent.until("queue lengths and limits are exact", |metrics| {
        for (port, length, limit) in [(8080, 5, 4), (8081, 3, 2), (8082, 3, 7), (8083, 0, 9)] {
            let listener = Edge::listener(&server, port);
            metrics.expect(LENGTH, &listener, length)?;
            metrics.expect(LIMIT, &listener, limit)?;
            metrics.expect(REQUESTS, &listener, 0)?;
            // No longer than they have been there; a tick may be added.
            let oldest = metrics.on(OLDEST, &listener);
            let is_right = if length == 0 { oldest == 0.0 } else { oldest > 0.2 };
            ensure!(is_right && oldest < connected.elapsed().as_secs_f64() + 0.02, "{oldest} s at {port}");
        }
        drops(metrics)?;
        expect_drops(metrics, &server)
    })?;
    eventually("the last minutes have the same", || in_windows(agent, &server))?;
    for server in servers {
        server.finish()?;
    }
    agent.until("a closed listener has no queue", |metrics| {
        for name in [LENGTH, LIMIT] {
            let left = metrics.list(|sample| {
                sample.name == name
                    && sample.labels.get("destination_workload").is_some_and(|is| is == server.workload())
            });
            ensure!(left.is_empty(), "still there:\n{left}");
        }
        Ok(())
    })?;
    held.into_iter().try_for_each(|client| client.finish().map(drop))
}

/// `/api/v1/node` has the discards of the full queue that `/metrics` has, and its limit on average.
fn in_windows(agent: &Agent, server: &Pod) -> Result<()> {
    let metrics = agent.scrape()?;
    let answer = json(agent, "/api/v1/node?window=10m")?;
    let rows = answer["listeners"]["rows"].as_array().context("no listeners")?;
    let is_it = |row: &&Value| {
        let labels = &row["labels"];
        labels["destination_workload"] == server.workload() && labels["destination_port"] == "8080"
    };
    let row = rows.iter().find(is_it).with_context(|| format!("no row of the listener: {answer}"))?;
    let discards = metrics.on(DISCARDS, &Edge::listener(server, 8080));
    ensure!(row["counted"]["discards"].as_f64() == Some(discards), "{discards} discards: {row}");
    ensure!(row["mean"]["accept_queue_limit"] == 4.0, "a queue of 4: {row}");
    ensure!(row["mean"]["accept_queue_length"].as_f64().is_some_and(|mean| mean > 0.0), "it was full: {row}");
    Ok(())
}

/// What listeners discard counts although each ends before a sweep sees it.
pub(super) fn ended(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    for _ in 0..3 {
        let deaf = server.serve(server.at(8080), &["--mode", "never-accept", "--backlog", "1"])?;
        let held = client.hold(server.at(8080), &["--count", "2"])?;
        let give_up = ["--count", "7", "--parallel", "7", "--connect-timeout-ms", "300"];
        let outcome = client.connect(server.at(8080), &give_up)?;
        ensure!(outcome.failed("gave_up") == 7, "{outcome:?}");
        deaf.finish()?;
        held.finish()?;
    }
    let kernel = server.counter("TcpExt", "ListenDrops")?;
    ensure!(kernel >= 21, "{kernel} drops");
    agent.until("discards of ended listeners are counted", |metrics| {
        let listener = Edge::listener(&server, 8080);
        metrics.expect(DISCARDS, &listener, kernel)?;
        let queues =
            metrics.list(|sample| [LENGTH, LIMIT].contains(&&*sample.name) && listener.matches(sample));
        ensure!(queues.is_empty(), "a closed listener has a queue:\n{queues}");
        Ok(())
    })
}

/// Dropped handshakes are counted by reason, as the kernel does, on the listener that dropped them; what a listener discards
/// because of loss is no drop.
pub(super) fn reasons(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let is_exact = |what: &str| agent.until(what, |metrics| expect_drops(metrics, &server));

    server.sysctl(&["net/ipv4/tcp_synack_retries=1"])?;
    let _echo = server.serve(server.at(8081), &["--mode", "echo"])?;
    let lost = Fault::on_path(&net, &server, &["tcp sport 8081 tcp flags & (syn|ack) == syn|ack drop"])?;
    let outcome = client.connect(server.at(8081), &["--count", "2", "--connect-timeout-ms", "2500"])?;
    ensure!(outcome.failed("gave_up") == 2, "{outcome:?}");
    lost.clear()?;
    // Later discards of this listener would be beside the drops of another, so that these could not be told apart.
    server.wait_quiet()?;
    agent.until("repeated SYNs are discards and no drops", |metrics| {
        let discards = metrics.on(DISCARDS, &Edge::listener(&server, 8081));
        ensure!(discards >= 2.0, "{discards} discards");
        expect_drops(metrics, &server)
    })?;

    let deaf = server.serve(server.at(8080), &["--mode", "never-accept", "--backlog", "1"])?;
    let held = client.hold(server.at(8080), &["--count", "2"])?;
    let give_up = ["--count", "7", "--parallel", "7", "--connect-timeout-ms", "300"];
    let outcome = client.connect(server.at(8080), &give_up)?;
    ensure!(outcome.failed("gave_up") == 7, "{outcome:?}");
    agent.until("the accept queue was full", |metrics| {
        let full = metrics.on(DROPS, &Edge::listener(&server, 8080).with("reason", "accept_queue_full"));
        ensure!(full >= 7.0, "{full} drops");
        expect_drops(metrics, &server)
    })?;
    deaf.finish()?;
    held.finish()?;
    is_exact("drops of a listener that is gone stay")?;

    // Handshakes that nobody completes: the answers go back where the forged SYNs come from, and are dropped there.
    let back = format!("route add 10.128.0.0/9 via {}\n", client.v4);
    server.run("ip", &["-batch", "-"], &back)?;
    let no_filter = ["net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/eth0/rp_filter=0"];
    server.sysctl(&no_filter)?;
    client.sysctl(&no_filter)?;
    client.sysctl(&["net/ipv4/ip_forward=0"])?;
    // They stay for a while.
    server.sysctl(&["net/ipv4/tcp_synack_retries=5"])?;
    let _small = server.serve(server.at(8082), &["--mode", "echo", "--backlog", "2"])?;
    for (cookies, counter) in [("0", "TCPReqQFullDrop"), ("1", "SyncookiesSent")] {
        server.sysctl(&[&format!("net/ipv4/tcp_syncookies={cookies}")])?;
        client.flood(server.at(8082), &["--kind", "syn", "--count", "100"])?;
        eventually(&format!("{counter} grew"), || {
            let counted = server.counter("TcpExt", counter)?;
            ensure!(counted > 0, "{counted}");
            Ok(())
        })?;
    }
    agent.until("they are in the queue of requests", |metrics| {
        metrics.expect_between(REQUESTS, &Edge::listener(&server, 8082), 1.0, 3.0)?;
        metrics.expect(REQUESTS, &Edge::listener(&server, 8081), 0)
    })?;
    is_exact("drops at a full queue of handshakes, and SYN cookies")?;
    agent.until("answers that are sent again are the listener's", |metrics| {
        let of_server =
            [("reporter", "destination"), ("destination_workload", server.workload()), ("kind", "synack")];
        let all = metrics.sum(RETRANSMITTED, &of_server);
        let flooded = metrics.sum(RETRANSMITTED, &[&of_server[..], &[("destination_port", "8082")]].concat());
        let right = server.counter("TcpExt", "TCPSynRetrans")?;
        ensure!(
            flooded > 0.0 && all == float(right),
            "{all} SYN-ACKs were sent again, {flooded} of them of the flooded port; {right} by the kernel"
        );
        Ok(())
    })
}
