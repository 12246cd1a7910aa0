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
