//! The quality of connections: round-trip times, limited senders, reordering and spurious retransmissions.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    eventually,
    faults::Fault,
    metrics::{Edge, Metrics, USED, float},
    scaled,
    topology::{Net, Pod},
};

pub(super) const RTT: &str = "netcause_tcp_rtt_seconds";
pub(super) const MIN_RTT: &str = "netcause_tcp_min_rtt_seconds";
pub(super) const REORDERED: &str = "netcause_tcp_reordered_segments_total";
pub(super) const REORDERING: &str = "netcause_tcp_reordering_events_total";
const SPURIOUS: &str = "netcause_tcp_spurious_retransmits_total";
const QUEUEING: &str = "netcause_tcp_queueing_delay_seconds";
const LIMITED: &str = "netcause_tcp_limited_seconds_total";

/// Fails unless a histogram has observations, all of them above `above` and not above `most`, two of its bounds.
pub(super) fn expect_all_in(
    metrics: &Metrics,
    name: &str,
    edge: &Edge,
    above: Option<&str>,
    most: &str,
) -> Result<()> {
    let bucket = |le: &str| metrics.on(&format!("{name}_bucket"), &edge.with("le", le));
    let count = metrics.on(&format!("{name}_count"), edge);
    let (below, within) = (above.map_or(0.0, bucket), bucket(most));
    ensure!(
        count > 0.0 && below == 0.0 && within == count,
        "{count} observations of {name}, {below} up to {above:?} and {within} up to {most} s; on {edge:?}"
    );
    Ok(())
}

/// On an undelayed path round-trip times are short; an idle connection is sampled once more, at its close.
pub(super) fn rtt(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let ends = Ends::v4(&client, &server, 8080);
    let mut held = client.hold(server.at(8080), &["--count", "3"])?;
    held.run_command("echo 100000")?;
    let most = scaled("0.03125", "1.0");
    agent.until("every connection has round-trip times", |metrics| {
        for (name, edge) in [RTT, MIN_RTT].iter().flat_map(|name| ends.both().map(|edge| (name, edge))) {
            metrics.expect_at_least(&format!("{name}_count"), edge, 3)?;
            expect_all_in(metrics, name, edge, None, most)?;
        }
        for edge in ends.both() {
            metrics.expect_at_least(USED, &edge.with("retransmitted", "false"), 3)?;
            expect_all_in(metrics, QUEUEING, edge, None, most)?;
        }
        Ok(())
    })?;
    // The last acknowledgement may have come between two sweeps.
    agent.sweep_again()?;
    let counts = |metrics: &Metrics| {
        [&ends.client, &ends.server].map(|edge| metrics.on(&format!("{RTT}_count"), edge))
    };
    let before = counts(&agent.scrape()?);
    agent.sweep_again()?;
    let idle = counts(&agent.scrape()?);
    ensure!(before == idle, "idle connections were sampled: {before:?}, then {idle:?}");
    held.finish()?;
    agent.until("the close adds a sample", |metrics| {
        let closed = counts(metrics);
        ensure!(closed == before.map(|count| count + 3.0), "{before:?} before the close, {closed:?} after");
        Ok(())
    })
}

/// A delay of 30 ms each way shows as a round trip of 60 ms at both ends.
pub(super) fn delayed_rtt(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    client.queue("netem delay 30ms")?;
    server.queue("netem delay 30ms")?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let mut held = client.hold(server.at(8080), &["--count", "2"])?;
    held.run_command("echo 1000")?;
    held.run_command("echo 1000")?;
    let ends = Ends::v4(&client, &server, 8080);
    let expect = || {
        agent.until("round trips are as long as the delays", |metrics| {
            for edge in ends.both() {
                expect_all_in(metrics, MIN_RTT, edge, Some("0.03125"), scaled("0.125", "1.0"))?;
                expect_all_in(metrics, RTT, edge, Some("0.03125"), "1.0")?;
                let (sum, count) =
                    (metrics.on(&format!("{RTT}_sum"), edge), metrics.on(&format!("{RTT}_count"), edge));
                ensure!(sum >= 0.06 * count, "{count} round trips took {sum} s together");
            }
            Ok(())
        })
    };
    expect()?;
    held.finish()?;
    expect()
}

/// A queue before a slow link shows as delay of the connection that fills it, although the kernel's own minimum rises with it,
/// and as nothing on an edge whose queue is empty.
pub(super) fn queueing(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, slow, server) = (net.pod("client")?, net.pod("slow")?, net.pod("server")?);
    let _echo = server.serve(server.at(8080), &["--mode", "sink"])?;
    slow.queue("tbf rate 2mbit burst 16kb latency 1s")?;
    let hold = |pod: &Pod| pod.hold(server.at(8080), &[]);
    let mut empty = hold(&client)?;
    // TCP keeps little of each connection in the queues of its own node (`tcp_small_queue_check`, net/ipv4/tcp_output.c), on older
    // kernels (5.10) less than makes a delay: together they fill it.
    let mut full = (0..12).map(|_| hold(&slow)).collect::<Result<Vec<_>>>()?;
    let [empty_edge, full_edge] = [&client, &slow].map(|pod| Edge::at_client(pod, server.v4, 8080));
    full.iter_mut().try_for_each(|connection| connection.run_command("send 100"))?;
    agent.until("the path was seen without a queue", |metrics| {
        expect_all_in(metrics, QUEUEING, &full_edge, None, scaled("0.03125", "0.125"))
    })?;
    // Two minutes in all, longer than the slowest sweeps are apart.
    full.iter_mut().try_for_each(|connection| connection.send_command("send 2500000"))?;
    empty.run_command("send 1000")?;
    agent.until("the queue shows as delay", |metrics| {
        let long = metrics.on(&format!("{QUEUEING}_count"), &full_edge)
            - metrics.on(&format!("{QUEUEING}_bucket"), &full_edge.with("le", "0.125"));
        ensure!(long >= 2.0, "{long} observations above 125 ms");
        expect_all_in(metrics, QUEUEING, &empty_edge, None, scaled("0.03125", "1.0"))
    })?;
    drop(full);
    empty.finish().map(drop)
}

/// The time that senders are limited is attributed to the receive window or the network, and an idle sender has none.
pub(super) fn limited(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, slow, server) = (net.pod("client")?, net.pod("slow")?, net.pod("server")?);
    let _unread = server.serve(server.at(8080), &["--mode", "never-read", "--receive-buffer", "4096"])?;
    let _sink = server.serve(server.at(8081), &[])?;
    slow.queue("tbf rate 8mbit burst 16kb latency 1s")?;
    let start = Instant::now();
    let idle = client.hold(server.at(8081), &[])?;
    let mut stuck = client.hold(server.at(8080), &[])?;
    stuck.send_command("send 10000000")?;
    let outcome = slow.connect(server.at(8081), &["--send", "1000000"])?;
    ensure!(outcome.count("bytes_sent") == 1_000_000, "{outcome:?}");
    let [unread, idle_edge, slow_edge] = [
        Edge::at_client(&client, server.v4, 8080),
        Edge::at_client(&client, server.v4, 8081),
        Edge::at_client(&slow, server.v4, 8081),
    ];
    let closed = unread.with("by", "receive_window");
    agent.until("the limit of each sender is attributed", |metrics| {
        let elapsed = start.elapsed().as_secs_f64();
        metrics.expect_between(LIMITED, &closed, 1.0, elapsed)?;
        metrics.expect_between(LIMITED, &slow_edge.with("by", "network"), 0.5, elapsed)?;
        for edge in [&unread, &slow_edge] {
            metrics.expect_between(LIMITED, edge, 0.5, elapsed)?;
        }
        metrics.expect(LIMITED, &idle_edge, 0)
    })?;
    let (then, was) = (Instant::now(), agent.scrape()?.on(LIMITED, &closed));
    agent.sweep_again()?;
    let (is, passed) = (agent.scrape()?.on(LIMITED, &closed), then.elapsed().as_secs_f64());
    // The first value may be as old as the sweep before it.
    let oldest = passed + scaled(1.5, 5.0);
    ensure!(is > was && is - was <= oldest, "a closed window took {} s more in {passed} s", is - was);
    drop(stuck);
    idle.finish().map(drop)
}

/// How often the senders of a pod have learned of reordering, by the kernel.
pub(super) fn reordering_events(pod: &Pod) -> Result<u64> {
    ["TCPSACKReorder", "TCPTSReorder", "TCPRenoReorder"].iter().map(|name| pod.counter("TcpExt", name)).sum()
}

/// The segments that overtake a lost one are counted as out of order by the receiver, as many as the kernel counts.
pub(super) fn out_of_order(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &["--ports", "2"])?;
    // The kernel counts packets, the agent segments: one segment in each makes them the same.
    client.run("ip", &["link", "set", "dev", "eth0", "gso_max_segs", "1"], "")?;
    let rule = "tcp dport 8080 meta length > 200 numgen inc mod 20 == 7 drop";
    let _fault = Fault::on_path(&net, &client, &[rule])?;
    for port in [8080, 8081] {
        let outcome =
            client.connect(server.at(port), &["--count", "3", "--send", scaled("500000", "200000")])?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
    }
    client.wait_quiet()?;
    server.wait_quiet()?;
    let overtook = server.counter("TcpExt", "TCPOFOQueue")?;
    ensure!(overtook > 0, "nothing arrived out of order");
    let (lossy, sound) = (Ends::v4(&client, &server, 8080), Ends::v4(&client, &server, 8081));
    agent.until("the receiver counts segments out of order", |metrics| {
        metrics.expect_at_least(REORDERED, &lossy.server, 1)?;
        // On a busy machine something may overtake on a sound path too.
        let both = [&lossy.server, &sound.server].map(|edge| metrics.on(REORDERED, edge));
        ensure!(
            both[0] + both[1] == float(overtook),
            "{both:?} segments, but the kernel says {overtook} in all"
        );
        for edge in [&lossy.client, &sound.client] {
            metrics.expect(REORDERED, edge, 0)?;
        }
        // What is lost is not reordered, but for what the kernel finds so itself.
        let learned = [&lossy.client, &sound.client].map(|edge| metrics.on(REORDERING, edge));
        let kernel = reordering_events(&client)?;
        ensure!(
            learned[0] + learned[1] == float(kernel),
            "{learned:?} times, but the kernel says {kernel} in all"
        );
        Ok(())
    })
}

/// Segments retransmitted only because acknowledgements were lost are counted as spurious, as many as the kernel
/// learns by DSACK.
pub(super) fn spurious(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    let edge = Edge::at_client(&client, server.v4, 8080);
    let mut held = client.hold(server.at(8080), &[])?;
    held.run_command("send 1000")?;
    let _fault = Fault::on_path(&net, &server, &["tcp sport 8080 numgen inc mod 1000000 < 2 drop"])?;
    held.run_command("send 1000")?;
    let reported = || client.counter("TcpExt", "TCPDSACKRecvSegs");
    eventually("the server reports duplicates", || {
        ensure!(reported()? > 0, "none so far");
        Ok(())
    })?;
    let expect = |what| {
        agent.until(what, |metrics| {
            let kernel = reported()?;
            metrics.expect_amount(SPURIOUS, &edge, kernel, kernel)?;
            metrics.expect_at_least(SPURIOUS, &edge, 1)
        })
    };
    expect("duplicates of an open connection count")?;
    held.finish()?;
    client.wait_quiet()?;
    expect("duplicates count once")
}
