//! The HTTP endpoints of the agent.

use anyhow::{Context as _, Result, ensure};

use crate::lab::{agent, metrics::Metrics};

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
