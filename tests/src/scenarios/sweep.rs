//! The sweep over open sockets.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    crossed::{Crossed, Ends},
    metrics::{CLOSED, OPENED},
    topology::Net,
};

const DURATION: &str = "netcause_sweep_duration_seconds";

/// A scrape causes a sweep, and the duration of each sweep is observed.
pub(super) fn duration(name: &str) -> Result<()> {
    let asked = Agent::start(
        name,
        "asked",
        &Options { args: &["--sweep-cpu-percent", "100"], without_dns: true, ..Options::default() },
    )?;
    let count =
        |agent: &Agent| Ok::<_, anyhow::Error>(agent.scrape()?.sum(&format!("{DURATION}_count"), &[]));
    let before = count(&asked)?;
    asked.sweep_again()?;
    let metrics = asked.scrape()?;
    let (after, sum) = (count(&asked)?, metrics.sum(&format!("{DURATION}_sum"), &[]));
    ensure!(after >= before + 2.0, "{before} sweeps, then {after}");
    ensure!(sum > 0.0, "sweeps took {sum} s");
    asked.stop(Signal::TERM)
}

/// In a PID namespace of its own the agent reports that it cannot sweep open sockets, and why; counts at the close
/// stay exact.
pub(super) fn own_pid_namespace(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo", "--ports", "2"])?;
    let mut older = client.hold(server.at(8080), &["--count", "2"])?;
    older.run_command("echo 10007")?;
    let agent =
        Agent::start(name, "agent", &Options { own_pids: true, without_dns: true, ..Options::default() })?;
    let up = agent.scrape()?;
    let probe = up
        .samples
        .iter()
        .find(|sample| {
            sample.name == "netcause_probe_unavailable_info"
                && sample.labels.get("probe").is_some_and(|probe| probe == "open_sockets")
        })
        .context("the probe is up")?;
    let reason = probe.labels.get("reason").unwrap_or_default();
    ensure!(reason == "not_in_host_pid_namespace", "{probe:?}");
    ensure!(up.sum("netcause_probe_up", &[("probe", "open_sockets")]) == 0.0, "{probe:?}");

    let args = ["--count", "20", "--parallel", "4", "--send", "3001", "--receive", "3001"];
    let outcome = client.connect(server.at(8081), &args)?;
    older.run_command("echo 503")?;
    older.finish()?;
    client.wait_quiet()?;
    server.wait_quiet()?;
    let (young, crossed) = (Ends::v4(&client, &server, 8081), Crossed::of(&outcome));
    let (old, whole) = (Ends::v4(&client, &server, 8080), Crossed::each(2, 10_510, 10_510));
    agent.until("counts at the close are exact", |metrics| {
        crossed.expect_closed(metrics, &young)?;
        whole.expect_bytes(metrics, &old)?;
        old.both().into_iter().try_for_each(|edge| {
            metrics.expect(OPENED, edge, 0)?;
            metrics.expect(CLOSED, edge, 2)
        })
    })
}

/// Connections that no process has a descriptor of are counted while they are open: given to an io_uring, on their way through a
/// Unix socket, waiting to be accepted.
pub(super) fn without_descriptor(name: &str) -> Result<()> {
    const FOUND: &str = "netcause_sweep_connections";
    let (_net, client, server) = Net::pair(name)?;
    // What it answers arrives when the connection is hidden.
    let _late = server.serve(server.at(8080), &["--mode", "echo", "--ports", "2", "--think-ms", "1500"])?;
    let deaf = server.serve(server.at(8082), &["--mode", "never-accept"])?;
    let args = ["--sweep-cpu-percent", "100"];
    let agent =
        Agent::start(name, "agent", &Options { args: &args, without_dns: true, ..Options::default() })?;
    let mut waiting = client.hold(server.at(8082), &["--count", "2"])?;
    waiting.run_command("send 3001")?;
    let hide = |port, how| {
        let mut client = client.hold(server.at(port), &["--count", "3"])?;
        client.run_command("send 10007")?;
        client.run_command(how)?;
        Ok::<_, anyhow::Error>(client)
    };
    let hidden = [hide(8080, "hide-in-ring")?, hide(8081, "hide-in-message")?];

    let expected = [
        (Ends::v4(&client, &server, 8080), Crossed::each(3, 10_007, 10_007)),
        (Ends::v4(&client, &server, 8081), Crossed::each(3, 10_007, 10_007)),
        (Ends::v4(&client, &server, 8082), Crossed::each(2, 3001, 0)),
    ];
    agent.until("open connections have their bytes", |metrics| {
        expected.iter().try_for_each(|(ends, crossed)| crossed.expect_open(metrics, ends))?;
        let found = metrics.sum(FOUND, &[("found_by", "socket_table")]);
        ensure!(found >= 8.0, "{found} connections without a descriptor, and there are eight");
        Ok(())
    })?;
    // That resets what it has not accepted.
    deaf.finish()?;
    waiting.finish()?;
    for client in hidden {
        ensure!(client.finish()?.count("connected") == 3, "no connections");
    }
    agent.until("their close adds nothing", |metrics| {
        for (ends, crossed) in &expected[..2] {
            // Closed with unread data, they are reset.
            metrics.expect(CLOSED, &ends.client, crossed.connections)?;
            crossed.expect_bytes(metrics, ends)?;
        }
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
