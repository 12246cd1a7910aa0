//! What a Prometheus pays for an agent: series, samples and bytes of a scrape, and its memory and disk.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::process::Signal;

use super::{SWEEP_ALWAYS, scale::Scale};
use crate::lab::{
    agent::{Agent, Options},
    metrics::float,
    process::Process,
    promql::Prometheus,
    topology::Net,
};

/// How a scraper asks: its name here, and its header `Accept`.
const FORMATS: [(&str, &str); 3] = [
    ("text", "text/plain;version=0.0.4"),
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    (
        "protobuf",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    ),
];

/// `netcause-lab bench exposition`
#[derive(Args)]
pub(crate) struct Exposition {
    /// Edges, both ends of a pair counted
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(8..=65_000))]
    edges: u64,
    /// Connections of an edge
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=100))]
    connections: u64,
    /// For how long Prometheus scrapes
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(20..=86_400))]
    seconds: u64,
    /// Seconds between two scrapes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
}

impl Exposition {
    pub(super) fn run(self) -> Result<()> {
        let agent =
            Agent::start("exposition", "agent", &Options { args: &SWEEP_ALWAYS, ..Options::default() })?;
        let (_net, client, server) = Net::pair("exposition")?;
        let scale = Scale { sockets: self.edges * self.connections, edges: self.edges };
        let mut crowd = scale.crowd(&client, &server)?;
        let scraped = |name, features| {
            Prometheus::start_every(
                &format!("exposition-{name}"),
                agent.address(),
                self.interval,
                "",
                features,
            )
        };
        let (classic, native) = (scraped("classic", "")?, scraped("native", "native-histograms")?);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(self.seconds) {
            crowd.touch()?;
            thread::sleep(Duration::from_millis(500));
        }
        println!("{} edges of {} connections, all with traffic", self.edges, self.connections);
        println!("  series of the agent: {}", agent.scrape()?.samples.len());
        for (name, accept) in FORMATS {
            let (plain, packed) = (bytes(&agent, accept, false)?, bytes(&agent, accept, true)?);
            let ratio = float(plain) / float(packed);
            println!("  a scrape, {name}: {plain} bytes, {packed} with gzip (1 : {ratio:.1})");
        }
        for (name, prometheus) in
            [("text, classic histograms", &classic), ("protobuf, native histograms", &native)]
        {
            costs(name, prometheus, self.interval)?;
        }
        agent.stop(Signal::TERM)
    }
}

/// How many series of edges a Prometheus has, and how many of them are of histograms. An edge here is what has labels of its own: where
/// the agent has recognised both ends on this node, addresses are one workload.
fn of_edges(prometheus: &Prometheus) -> Result<()> {
    let count = |promql: &str| -> Result<f64> {
        let answer = prometheus.query(promql)?;
        Ok(answer.first().map_or(0.0, |(_, value)| *value))
    };
    let edge = |name: &str| {
        format!(
            "{{job=\"netcause\",reporter=~\".+\",source_workload=~\".+\",destination_workload=~\".+\",\
             destination_port=~\".+\",__name__=~\"{name}\"}}"
        )
    };
    let all = count(&format!("count({})", edge(".*")))?;
    let labels = "reporter, source_workload, destination_workload, destination_port";
    let edges = count(&format!("count(count by ({labels}) ({}))", edge(".*")))?;
    // Counters end in `_total`, so that these endings are those of histograms.
    let classic = count(&format!("count({})", edge(".*_(bucket|sum|count)")))?;
    let native = count(&format!("count({})", edge(".*_seconds")))?;
    println!(
        "    series of {edges} edges: {all}, {:.1} of each; {classic} of them of classic histograms, {native} native histograms",
        all / edges.max(1.0)
    );
    Ok(())
}

/// The size of a scrape, by curl.
fn bytes(agent: &Agent, accept: &str, packed: bool) -> Result<u64> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--output", "/dev/null", "--write-out", "%{size_download}", "--header"]);
    curl.arg(format!("Accept: {accept}"));
    // As a scraper that stores no starts.
    curl.args(["--header", "X-Prometheus-Scrape-Timeout-Seconds: 10"]);
    if packed {
        curl.args(["--header", "Accept-Encoding: gzip"]);
    }
    curl.arg(format!("http://{}/metrics", agent.address()));
    let said = Process::run("curl", &mut curl, "")?.success()?;
    said.trim().parse().with_context(|| format!("curl said {said}"))
}

/// What a Prometheus says of itself.
fn costs(name: &str, prometheus: &Prometheus, interval: u64) -> Result<()> {
    let text = prometheus.api().page("/metrics")?;
    let number = |metric: &str| -> Result<f64> {
        let value =
            text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse::<f64>().ok());
        value.with_context(|| format!("Prometheus shows no {metric}"))
    };
    let samples: f64 = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("prometheus_tsdb_head_samples_appended_total")?
                .rsplit(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .sum();
    let series = number("prometheus_tsdb_head_series")?;
    ensure!(series > 0.0 && samples > 0.0, "Prometheus has no series");
    println!(
        "  Prometheus, {name}: {series:.0} series every {interval} s, {:.0} MB resident, {:.2} s of CPU",
        number("process_resident_memory_bytes")? / 1e6,
        number("process_cpu_seconds_total")?,
    );
    of_edges(prometheus)?;
    // As a block on disk is: chunks of up to 120 samples, and an index.
    let mut snapshot = Command::new("curl");
    snapshot.args(["--silent", "--fail", "--request", "POST"]);
    snapshot.arg(format!("http://{}/api/v1/admin/tsdb/snapshot", prometheus.api().at));
    Process::run("curl", &mut snapshot, "")?.success().context("taking a snapshot of Prometheus's data")?;
    let blocks = prometheus.data().join("snapshots");
    println!(
        "    on disk {:.2} bytes a sample in chunks, of {:.0} samples of each series; {:.0} bytes a series in the index",
        float(size(&blocks, "chunks")?) / samples,
        samples / series,
        float(size(&blocks, "index")?) / series,
    );
    Ok(())
}

/// The bytes of all files below a directory that have this name on their path.
fn size(directory: &Path, name: &str) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        let is_named = path.file_name().is_some_and(|file| file == name);
        bytes += match path.is_dir() {
            true if is_named => size(&path, "")?,
            true => size(&path, name)?,
            false if is_named || name.is_empty() => fs::metadata(&path)?.len(),
            false => 0,
        };
    }
    Ok(bytes)
}
