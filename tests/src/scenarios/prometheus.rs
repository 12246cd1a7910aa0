//! A real Prometheus that scrapes the agent, and promtool, which checks the format.

mod burst;
mod dashboard;
mod late_name;
mod native;
pub(super) mod remote_write;

use std::process::Command;

use anyhow::{Result, ensure};

use crate::lab::{
    agent, eventually,
    metrics::{Edge, FAILURES, OPENED},
    process::Process,
    promql::Prometheus,
    topology::Net,
};

pub(super) use burst::{first_burst, restart};
pub(super) use dashboard::every_query as dashboard;
pub(super) use late_name::late_name;
pub(super) use native::native_histograms;

/// A real Prometheus scrapes the agent every second and answers a query with the lab's number.
pub(super) fn query(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let prometheus = Prometheus::start(name, agent.address())?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    client.connect(server.at(8080), &["--count", "17"])?;
    let promql = format!("sum({OPENED}{{reporter=\"source\",source_workload=\"{}\"}})", client.workload());
    eventually("Prometheus answers with the lab's number", || {
        let answer = prometheus.query(&promql)?;
        ensure!(matches!(answer[..], [(_, 17.0)]), "{promql} is {answer:?}");
        Ok(())
    })?;
    let up = prometheus.query("up{job=\"netcause\"}")?;
    ensure!(matches!(up[..], [(_, 1.0)]), "{up:?}");
    Ok(())
}

/// The text format passes `promtool check metrics`.
pub(super) fn promtool(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    client.connect(server.at(8080), &["--count", "2"])?;
    agent.until("there is something to check", |metrics| {
        metrics.expect(FAILURES, &Edge::at_client(&client, server.v4, 8080), 2)
    })?;
    let text = agent.get("/metrics", "text/plain;version=0.0.4")?.body;
    let end = Process::run("promtool", Command::new("promtool").args(["check", "metrics"]), &text)?;
    ensure!(end.status.success(), "{}\n{}{}", end.status, end.stdout, end.stderr);
    Ok(())
}
