//! Counts without faults: every connection once, at both ends, in every address family.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    metrics::{CLOSED, CONNECT_DURATION, Edge, FAILURES, OPENED},
    scaled,
    topology::Net,
};

/// Each of thousands of short connections of several clients is counted exactly once at each end.
pub(super) fn many_short(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let server = net.pod("server")?;
    let clients = [net.pod("one")?, net.pod("two")?];
    let listener = server.serve(server.at(8080), &["--mode", "close"])?;
    let each: u64 = scaled(1000, 100);
    let count = each.to_string();
    let running = clients
        .iter()
        .map(|client| client.start_client(server.at(8080), &["--count", &count, "--parallel", "4"]))
        .collect::<Result<Vec<_>>>()?;
    for client in running {
        let outcome = client.finish()?;
        ensure!(outcome.count("connected") == each, "{outcome:?}");
    }
    server.wait_quiet()?;
    let outcome = listener.finish()?;
    ensure!(outcome.count("accepted") == 2 * each, "{outcome:?}");
    agent.until("every connection is counted once at each end", |metrics| {
        for client in &clients {
            let ends = [Edge::at_client(client, server.v4, 8080), Edge::at_server(&server, client.v4, 8080)];
            for edge in &ends {
                metrics.expect(OPENED, edge, each)?;
                metrics.expect(CLOSED, edge, each)?;
                metrics.expect(FAILURES, edge, 0)?;
            }
            metrics.expect_durations(&ends[0], each)?;
            metrics.expect(&format!("{CONNECT_DURATION}_count"), &ends[1], 0)?;
            metrics.expect_kernel_retransmits(client)?;
            metrics.expect_kernel_resets(client)?;
        }
        metrics.expect_kernel_retransmits(&server)?;
        // Now and then the kernel answers a late segment of an ended connection with a reset; then the agent says so.
        metrics.expect_kernel_resets(&server)
    })
}

/// IPv4, IPv6, and IPv4 through an IPv6 socket at either end are counted; a v4-mapped address is shown as an IPv4
/// address.
pub(super) fn families(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let any = "[::]:8080".parse()?;
    // A port for each: pods that have names are one edge for both families.
    let _dual = server.serve(any, &["--mode", "echo", "--ports", "2"])?;
    let exchange = ["--send", "100", "--receive", "100", "--count"];
    for (to, args) in [
        (server.at(8080), vec!["3"]),
        (server.at_v6(8081), vec!["5"]),
        (server.at(8080), vec!["4", "--mapped"]),
    ] {
        let outcome = client.connect(to, &[&exchange[..], &args].concat())?;
        ensure!(outcome.count("broken") == 0 && outcome.count("connected") > 0, "{outcome:?}");
    }
    agent.until("each family has its edge", |metrics| {
        for (edge, count) in [
            (Edge::at_client(&client, server.v4, 8080), 7),
            (Edge::at_server(&server, client.v4, 8080), 7),
            (Edge::at_client(&client, server.v6, 8081), 5),
            (Edge::at_server(&server, client.v6, 8081), 5),
        ] {
            metrics.expect(OPENED, &edge, count)?;
            metrics.expect(CLOSED, &edge, count)?;
            metrics.expect(FAILURES, &edge, 0)?;
        }
        let ours = metrics.total(OPENED, |sample| {
            sample.labels.values().any(|value| value == client.workload() || value == server.workload())
        });
        ensure!(ours == 24.0, "{ours} connections in all, not 24: some edge has another label");
        Ok(())
    })
}

/// A connection within one pod over loopback is two edges, one for each role, and each is between the pod and itself.
pub(super) fn loopback(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let pod = net.pod("pod")?;
    let _dual = pod.serve("[::]:8080".parse()?, &[])?;
    pod.connect("127.0.0.1:8080".parse()?, &["--count", "6", "--send", "100"])?;
    pod.connect("[::1]:8080".parse()?, &["--count", "4", "--send", "100"])?;
    agent.until("each connection has two ends", |metrics| {
        let itself = [("source_workload", pod.workload()), ("destination_workload", pod.workload())];
        for reporter in ["source", "destination"] {
            let edge = Edge::labelled(&itself).with("reporter", reporter);
            metrics.expect(OPENED, &edge, 10)?;
            metrics.expect(CLOSED, &edge, 10)?;
            metrics.expect(FAILURES, &edge, 0)?;
        }
        Ok(())
    })
}

/// Connections of a program that was not written for this lab (curl) are counted like those of the lab's own client.
pub(super) fn curl(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _http = server.serve("[::]:80".parse()?, &["--mode", "http"])?;
    for url in [format!("http://{}/", server.v4), format!("http://[{}]/", server.v6)] {
        let said =
            client.run("curl", &["--silent", "--fail", "--max-time", "60", "--noproxy", "*", &url], "")?;
        ensure!(said == "hello", "curl got {said:?}");
    }
    agent.until("each of curl's connections is counted", |metrics| {
        for edge in Ends::of(&client, &server, 80).both() {
            metrics.expect(OPENED, edge, 2)?;
            metrics.expect(CLOSED, edge, 2)?;
            metrics.expect(FAILURES, edge, 0)?;
        }
        Ok(())
    })
}
