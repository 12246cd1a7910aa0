//! Payload bytes at both ends, exactly, of connections that open and close while the agent runs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{self, Agent, Options},
    crossed::{Crossed, Ends, SENT},
    faults::Fault,
    metrics::{CLOSED, OPENED, Watch, float},
    scaled,
    topology::Net,
};

const SENT_SEGMENTS: &str = "netcause_tcp_sent_segments_total";
const RECEIVED_SEGMENTS: &str = "netcause_tcp_received_segments_total";

/// Payload bytes are exact at both ends for zero, one and many bytes, sequential and parallel, both directions, IPv4,
/// IPv6 and v4-mapped.
pub(super) fn both_ways(name: &str) -> Result<()> {
    const ECHO: u16 = 8080;
    const SINK: u16 = 8081;
    const SOURCE: u16 = 8082;
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let many = scaled("1000003", "200003");
    let servers = [
        (ECHO, server.serve("[::]:8080".parse()?, &["--mode", "echo"])?),
        (SINK, server.serve("[::]:8081".parse()?, &[])?),
        (SOURCE, server.serve("[::]:8082".parse()?, &["--mode", "source", "--bytes", many])?),
    ];
    let calls: [(u16, &[&str]); 5] = [
        (ECHO, &["--count", "3"]),
        (ECHO, &["--count", "5", "--send", "1", "--receive", "1"]),
        (ECHO, &["--count", "7", "--parallel", "3", "--send", "3001", "--receive", "3001"]),
        (SINK, &["--count", "4", "--parallel", "2", "--send", many]),
        (SOURCE, &["--count", "4", "--parallel", "2", "--send", "19", "--receive", many]),
    ];
    let mut running = Vec::new();
    for (port, args) in calls {
        for (to, more) in
            [(server.at(port), vec![]), (server.at_v6(port), vec![]), (server.at(port), vec!["--mapped"])]
        {
            running.push((port, client.start_client(to, &[args, &more].concat())?));
        }
    }
    let mut crossed = BTreeMap::<u16, Crossed>::new();
    for (port, client) in running {
        let outcome = client.finish()?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
        let sum = crossed.entry(port).or_default();
        *sum = sum.and(Crossed::of(&outcome));
    }
    client.wait_quiet()?;
    server.wait_quiet()?;
    for (port, server) in servers {
        let outcome = server.finish()?;
        let sum = crossed.get(&port).copied().unwrap_or_default();
        let is = ["accepted", "bytes_received", "bytes_sent"].map(|count| outcome.count(count));
        ensure!(is == [sum.connections, sum.up, sum.down], "client and server disagree: {sum:?} {outcome:?}");
    }
    agent.until("both ends have counted every byte", |metrics| {
        for (port, crossed) in &crossed {
            let ends = Ends::of(&client, &server, *port);
            crossed.expect_closed(metrics, &ends)?;
            for (from, to) in [(&ends.client, &ends.server), (&ends.server, &ends.client)] {
                // The answer to a SYN is sent before there is a socket to count it; an end may find the socket gone.
                let (sent, got) = (metrics.on(SENT_SEGMENTS, from), metrics.on(RECEIVED_SEGMENTS, to));
                let connections = float(crossed.connections);
                ensure!(
                    (connections..=sent + connections).contains(&got),
                    "{got} segments of {connections} connections received of {sent} sent: {from:?}"
                );
            }
        }
        Ok(())
    })
}

/// While hundreds of connections open, transfer and close during sweeps, every byte is counted once and no counter
/// decreases.
pub(super) fn while_swept(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let agent = Agent::start(
        name,
        "agent",
        &Options { args: &["--sweep-cpu-percent", "100"], without_dns: true, ..Options::default() },
    )?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo", "--ports", "3"])?;
    let count = scaled("400", "40");
    let mut running = Vec::new();
    for (port, end, bytes) in [(8080, "close", "1003"), (8081, "abrupt", "517"), (8082, "reset", "211")] {
        let args = ["--count", count, "--parallel", "8", "--dwell-ms", "50", "--end", end];
        let args = [&args[..], &["--send", bytes, "--receive", bytes]].concat();
        running.push((port, client.start_client(server.at(port), &args)?));
    }
    let mut watch = Watch::default();
    while running.iter().any(|(_, client)| client.is_running()) {
        watch.see(&agent.scrape()?)?;
    }
    client.wait_quiet()?;
    server.wait_quiet()?;
    let mut all = Vec::new();
    for (port, running) in running {
        let outcome = running.finish()?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
        all.push((port == 8082, Ends::v4(&client, &server, port), Crossed::of(&outcome)));
    }
    let expect = || {
        agent.until("every byte is counted once", |metrics| {
            for (reset, ends, crossed) in &all {
                crossed.expect_ended(metrics, ends)?;
                if *reset {
                    crossed.expect_bytes_of_reset(metrics, ends)?;
                } else {
                    crossed.expect_bytes(metrics, ends)?;
                }
            }
            Ok(())
        })
    };
    expect()?;
    let swept = agent.scrape()?.sum("netcause_sweep_duration_seconds_count", &[]);
    ensure!(swept >= 2.0, "only {swept} sweeps beside the traffic");
    // Sockets in TIME_WAIT are not counted again.
    agent.sweep_again()?;
    expect()?;
    watch.see(&agent.scrape()?)?;
    agent.stop(Signal::TERM)
}

/// Connections that are never accepted count the bytes that they carried.
pub(super) fn never_accepted(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let deaf = server.serve(server.at(8080), &["--mode", "never-accept"])?;
    let mut held = client.hold(server.at(8080), &["--count", "3"])?;
    held.run_command("send 1234")?;
    let ends = Ends::v4(&client, &server, 8080);
    let crossed = Crossed::each(3, 1234, 0);
    // The client's end learns of arrived bytes by acknowledgements, so it has to get them before the server ends.
    agent
        .until("the client's bytes have arrived", |metrics| metrics.expect(SENT, &ends.client, crossed.up))?;
    deaf.finish()?;
    held.finish()?;
    agent.until("both ends have counted them", |metrics| crossed.expect_closed(metrics, &ends))
}

/// Bytes that the peer did not acknowledge are not counted as sent, and a FIN is never counted as a byte.
pub(super) fn unacknowledged(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo", "--ports", "2"])?;
    let ends = [Ends::v4(&client, &server, 8080), Ends::v4(&client, &server, 8081)];
    let crossed = Crossed::each(2, 100, 100);
    let mut data = client.hold(server.at(8080), &["--count", "2", "--end", "reset"])?;
    let mut end = client.hold(server.at(8081), &["--count", "2", "--end", "reset"])?;
    data.run_command("echo 100")?;
    end.run_command("echo 100")?;
    agent.until("what arrived is acknowledged", |metrics| {
        ends.iter().try_for_each(|ends| crossed.expect_open(metrics, ends))
    })?;

    // From now on the data of the one and the acknowledgement of the other's FIN are lost.
    let _faults = [
        Fault::on_path(&net, &client, &["tcp dport 8080 drop"])?,
        Fault::on_path(&net, &server, &["tcp sport 8081 drop"])?,
    ];
    data.run_command("send 5000")?;
    end.run_command("end")?;
    agent.sweep_again()?;
    let unchanged = |what| {
        agent.until(what, |metrics| {
            ends.iter().try_for_each(|ends| crossed.expect_bytes(metrics, ends)).context("payload")
        })
    };
    unchanged("nothing more has been sent")?;
    data.finish()?;
    end.finish()?;
    agent.until("the clients' ends are closed", |metrics| {
        ends.iter().try_for_each(|ends| {
            metrics.expect(OPENED, &ends.client, 2)?;
            metrics.expect(CLOSED, &ends.client, 2)
        })
    })?;
    unchanged("nothing more was counted at the close")
}
