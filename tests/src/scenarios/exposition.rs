//! The HTTP endpoints of the agent.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{self, Agent, Options},
    eventually,
    metrics::Metrics,
    topology::Net,
};

/// `/metrics` is OpenMetrics for clients that ask for it and Prometheus text 0.0.4 for all others.
pub(super) fn formats(_name: &str) -> Result<()> {
    let agent = agent::shared()?;
    // As sent by Prometheus 2.42.
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for accept in ["application/openmetrics-text; version=1.0.0; charset=utf-8", prometheus] {
        let response = agent.get("/metrics", accept)?;
        ensure!(response.status == 200, "{accept}: {}", response.status);
        ensure!(
            response.content_type.starts_with("application/openmetrics-text"),
            "{}",
            response.content_type
        );
        ensure!(response.body.ends_with("# EOF\n"), "OpenMetrics ends with # EOF");
    }
    for accept in ["text/plain;version=0.0.4", "text/plain", "*/*"] {
        let response = agent.get("/metrics", accept)?;
        ensure!(response.status == 200, "{accept}: {}", response.status);
        let kind = &response.content_type;
        ensure!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "{accept}: {kind}");
        ensure!(!response.body.contains("# EOF"), "{accept}: 0.0.4 has no # EOF");
        Metrics::parse(&response.body)?;
    }
    Ok(())
}

/// `/livez` and `/readyz` succeed, and unknown paths are not found.
pub(super) fn health(_name: &str) -> Result<()> {
    let agent = agent::shared()?;
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/nothing", 404), ("/metrics/", 404)] {
        let response = agent.get(path, "*/*")?;
        ensure!(response.status == status, "{path}: {}, not {status}", response.status);
    }
    Ok(())
}

/// The agent reports its probes, its build, its kernel and its tables.
pub(super) fn about_itself(_name: &str) -> Result<()> {
    let metrics = agent::shared()?.scrape()?;
    let named = |name: &'static str| metrics.samples.iter().filter(move |sample| sample.name == name);
    let up: Vec<_> = named("netcause_probe_up").collect();
    ensure!(!up.is_empty(), "no netcause_probe_up");
    for sample in up {
        ensure!(
            sample.value == 1.0
                || named("netcause_probe_unavailable_info")
                    .any(|info| info.labels.get("probe") == sample.labels.get("probe")),
            "down without a reason: {sample:?}"
        );
    }
    for info in ["netcause_build_info", "netcause_kernel_info"] {
        ensure!(named(info).count() == 1 && metrics.sum(info, &[]) == 1.0, "no {info}");
    }
    let entries: Vec<_> = named("netcause_map_entries").collect();
    ensure!(!entries.is_empty(), "no netcause_map_entries");
    for entry in entries {
        let map = entry.labels.get("map").context("a map without a name")?;
        let limit = metrics.sum("netcause_map_limit", &[("map", map)]);
        ensure!(limit > 0.0 && entry.value <= limit, "{map} holds {} of {limit}", entry.value);
    }
    Ok(())
}

/// A counter that begins after the agent was idle for a while, and that nobody has scraped, says in OpenMetrics when it
/// was zero last: before its first event, and long after the agent's start. A Prometheus that does not read starts gets none.
pub(super) fn starts(name: &str) -> Result<()> {
    const CREATED: &str = "netcause_tcp_connect_failures_created{";
    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    let (_net, client, server) = Net::pair(name)?;
    let begin = seconds()?;
    thread::sleep(Duration::from_secs(25));
    let before = seconds()?;
    client.connect(server.at(8085), &["--count", "3"])?;
    let created = eventually("the counter has a start", || {
        let text = agent.get("/metrics", "application/openmetrics-text; version=1.0.0")?.body;
        let ours = |line: &&str| line.starts_with(CREATED) && line.contains(client.workload());
        let line = text.lines().find(ours).context("no start")?;
        let (_, start) = line.rsplit_once(' ').context("no value")?;
        start.parse::<u64>().with_context(|| line.to_owned())
    })?;
    ensure!(
        (begin + 1..=before).contains(&created),
        "it starts at {created}, the agent was there at {begin}, and the first event came after {before}"
    );
    let text =
        agent.get("/metrics", "application/openmetrics-text\r\nX-Prometheus-Scrape-Timeout-Seconds: 10")?;
    ensure!(!text.body.contains("_created"), "starts for a Prometheus that would store them");
    agent.stop(Signal::TERM)
}

/// Seconds since 1970.
fn seconds() -> Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}
