//! Payload of connections that existed before the agent started.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    crossed::{Crossed, Ends, OPEN},
    metrics::{CLOSED, Metrics, OPENED},
    scaled,
    topology::Net,
};

const SWEEP_ALWAYS: [&str; 2] = ["--sweep-cpu-percent", "100"];
const LIFETIME: [&str; 4] = ["--sweep-cpu-percent", "100", "--preexisting-connections", "lifetime"];

/// Bytes that a connection carried before the agent started are not counted by default, and are with
/// `--preexisting-connections lifetime`, those of connections without a descriptor too.
pub(super) fn lifetime_or_since_start(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo"])?;
    let answer = server.serve("[::]:8081".parse()?, &["--mode", "answer", "--bytes", "3001"])?;
    let _sink = server.serve("[::]:8082".parse()?, &[])?;
    let _before = server.serve("[::]:8083".parse()?, &["--mode", "echo", "--ports", "2"])?;
    let early = scaled(1_000_003, 100_003);
    let mut on_both_sides = client.hold(server.at(8080), &["--count", "3"])?;
    let mut before_only = client.hold(server.at_v6(8083), &["--count", "2"])?;
    let mut half_closed = client.hold(server.at(8081), &["--count", "2", "--mapped"])?;
    let mut after_only = client.hold(server.at_v6(8082), &["--count", "2"])?;
    on_both_sides.run_command(&format!("echo {early}"))?;
    before_only.run_command("echo 50021")?;
    for command in ["send 1000", "end", "receive 3001"] {
        half_closed.run_command(command)?;
    }

    // No process of the client's has a descriptor of these, which agents find in their own network namespace.
    let mut hidden = client.hold(server.at(8084), &["--count", "2"])?;
    hidden.run_command("echo 5003")?;
    hidden.run_command("hide-in-ring")?;

    let start = |agent, args| {
        let within = Some(&*client);
        Agent::start(name, agent, &Options { args, within, without_dns: true, ..Options::default() })
    };
    let (whole, rest) = (start("whole", &LIFETIME)?, start("rest", &SWEEP_ALWAYS)?);
    let ends = [
        Ends::v4(&client, &server, 8080),
        Ends::v6(&client, &server, 8083),
        Ends::v4(&client, &server, 8081),
        Ends::v6(&client, &server, 8082),
        Ends::v4(&client, &server, 8084),
    ];
    let expect = |agent: &Agent, what: &str, all: [Crossed; 5], open: bool| {
        agent.until(what, |metrics| {
            all.iter().zip(&ends).try_for_each(|(crossed, ends)| {
                expect_older(metrics, crossed, ends, open)?;
                crossed.expect_bytes(metrics, ends)
            })
        })
    };
    let crossed = |early: u64, late: u64, before: [u64; 2], half: [u64; 2], after: u64| {
        [
            Crossed::each(3, early + late, early + late),
            Crossed::each(2, before[0], before[0]),
            Crossed::each(2, half[0], half[1]),
            Crossed::each(2, after, 0),
            Crossed::each(2, before[1], before[1]),
        ]
    };
    expect(&whole, "what came before counts", crossed(early, 0, [50_021, 5003], [1000, 3001], 0), true)?;
    expect(&rest, "what came before does not count", crossed(0, 0, [0, 0], [0, 0], 0), true)?;

    on_both_sides.run_command("echo 7019")?;
    after_only.run_command("send 1013")?;
    let all = crossed(early, 7019, [50_021, 5003], [1000, 3001], 1013);
    let late = crossed(0, 7019, [0, 0], [0, 0], 1013);
    expect(&whole, "what comes after counts too", all, true)?;
    expect(&rest, "what comes after counts", late, true)?;

    answer.finish()?;
    for client in [on_both_sides, before_only, half_closed, after_only, hidden] {
        ensure!(client.finish()?.count("connected") > 0, "no connections");
    }
    client.wait_quiet()?;
    server.wait_quiet()?;
    for (agent, sum) in [(&whole, all), (&rest, late)] {
        agent.sweep_again()?;
        expect(agent, "the close adds nothing", sum, false)?;
        agent.stop(Signal::TERM)?;
    }
    Ok(())
}

/// Fails unless connections that are older than the agent are all open, or all closed.
fn expect_older(metrics: &Metrics, crossed: &Crossed, ends: &Ends, open: bool) -> Result<()> {
    let (open, closed) = if open { (crossed.connections, 0) } else { (0, crossed.connections) };
    for edge in ends.both() {
        metrics.expect(OPENED, edge, 0)?;
        metrics.expect(CLOSED, edge, closed)?;
        metrics.expect(OPEN, edge, open)?;
    }
    Ok(())
}

/// An agent that starts during transfers counts the whole transfers with `--preexisting-connections lifetime`.
pub(super) fn during_transfer(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let mut held = client.hold(server.at(8080), &["--count", "3"])?;
    let rounds = scaled(150, 15);
    for _ in 0..rounds {
        held.send_command("echo 1000003")?;
    }
    let agent =
        Agent::start(name, "agent", &Options { args: &LIFETIME, without_dns: true, ..Options::default() })?;
    held.wait_done(rounds)?;
    let crossed = Crossed::each(3, rounds * 1_000_003, rounds * 1_000_003);
    let ends = Ends::v4(&client, &server, 8080);
    agent.until("open connections count whole", |metrics| crossed.expect_bytes(metrics, &ends))?;
    let outcome = held.finish()?;
    ensure!(outcome.count("bytes_sent") == crossed.up, "{outcome:?}");
    client.wait_quiet()?;
    server.wait_quiet()?;
    agent.until("the close adds nothing", |metrics| {
        expect_older(metrics, &crossed, &ends, false)?;
        crossed.expect_bytes(metrics, &ends)
    })?;
    agent.stop(Signal::TERM)
}

/// An accepted connection is a server's, even if its listener was closed before the agent started and its port looks like a
/// client's.
pub(super) fn closed_listener(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _once = server.serve("[::]:61000".parse()?, &["--mode", "echo", "--accept", "5"])?;
    let mut v4 = client.hold(server.at(61000), &["--count", "3"])?;
    let mut v6 = client.hold(server.at_v6(61000), &["--count", "2"])?;
    v4.run_command("echo 100")?;
    v6.run_command("echo 100")?;
    let gone = client.connect(server.at(61000), &[])?;
    ensure!(gone.failed("ECONNREFUSED") == 1, "it still listens: {gone:?}");

    let agent = Agent::start(name, "agent", &Options { args: &SWEEP_ALWAYS, ..Options::default() })?;
    let all = Ends::of(&client, &server, 61000).server;
    agent.until("the server's end is a server", |metrics| metrics.expect(OPEN, &all, 5))?;
    v4.run_command("echo 100")?;
    v4.finish()?;
    v6.finish()?;
    agent.until("and stays one", |metrics| {
        metrics.expect(CLOSED, &all, 5)?;
        let wrong = metrics.total(CLOSED, |sample| {
            sample.labels.get("source_workload").is_some_and(|is| is == server.workload())
        });
        ensure!(wrong == 0.0, "{wrong} connections count as opened by the server");
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
